import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { writePem } from '../internal/der/pem.js';
import { TrustBundle, TrustDomain, X509Svid, defaultWorkloadTokenAudience } from '../spiffe/index.js';
import type { Jwk, SpiffeId, WorkloadTokenSource } from '../spiffe/index.js';
import { testCertificate, testPrivateKey } from './test-certificate.js';
import type { TestCertificateFields, TestKeyType } from './test-certificate.js';
import { testJws, testTokenId } from './test-token.js';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const serverAndClient = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];

export interface TestCaOptions {
  /** Default `cluster.local`. */
  readonly trustDomain?: string | undefined;
  /** Where "now" comes from. Default the real clock, which real TLS handshakes need. */
  readonly clock?: Clock | undefined;
  /** Key type of root and intermediate. Default `P-256`. */
  readonly keyType?: TestKeyType | undefined;
  /** Signs leaves with an intermediate, which their chains then carry. Default false. */
  readonly intermediate?: boolean | undefined;
  /** Lifetime of root and intermediate, in ms. Default 24 h. */
  readonly rootTtlMs?: number | undefined;
}

/** What a leaf differs in from a good one. */
export type TestLeafChanges = Partial<TestCertificateFields>;

export interface TestSvidOptions {
  /** In ms from now. Default one hour. */
  readonly ttlMs?: number | undefined;
  /** Default `P-256`. */
  readonly keyType?: TestKeyType | undefined;
  /** The key to certify. Default a fresh one. */
  readonly privateKey?: KeyObject | undefined;
}

/** A certificate that may be wrong, so that it is not an `X509Svid`. Fits `tls` options as `cert` and `key`. */
export interface TestIdentity {
  readonly chainPem: string;
  readonly privateKeyPem: string;
  readonly privateKey: KeyObject;
  /** DER, leaf first. */
  readonly certificates: readonly Uint8Array[];
}

export interface TestTokenOptions {
  readonly workload: SpiffeId | string;
  readonly node: string;
  /** Thumbprint of the agent's key: `svid.keyThumbprint`. */
  readonly keyThumbprint: string;
  /** Default `meshwright-tunnel`. */
  readonly audience?: string | undefined;
  /** In ms from now; negative for one that has ended. Default one hour. */
  readonly ttlMs?: number | undefined;
  /** Merged over the claims; a member of `undefined` removes that claim. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** Merged over the protected header. */
  readonly header?: Readonly<Record<string, unknown>> | undefined;
  /** Signs with another key than the CA's token key, under its key ID. */
  readonly signingKey?: KeyObject | undefined;
}

export interface TestJwtSvidOptions {
  readonly spiffeId: SpiffeId | string;
  readonly audience: string | readonly string[];
  /** In ms from now; negative for one that has ended. Default five minutes. */
  readonly ttlMs?: number | undefined;
  /** Merged over the claims; a member of `undefined` removes that claim. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** Merged over the protected header. */
  readonly header?: Readonly<Record<string, unknown>> | undefined;
  /** Signs with another P-256 key than the CA's JWT-SVID key, under its key ID. */
  readonly signingKey?: KeyObject | undefined;
}

/**
 * A CA for tests: synchronous, in memory, and willing to issue what no real CA would. Needs no test runner.
 *
 * ```ts
 * import { TestCa } from 'meshwright/testing';
 * import { verifyX509Svid } from 'meshwright/spiffe';
 *
 * const ca = TestCa.create();
 * const svid = ca.svid('spiffe://cluster.local/agent/node-a');
 * const peer = verifyX509Svid({ certificates: svid.certificates, bundle: ca.bundle, now: Date.now() });
 * console.log(peer.spiffeId.toString());
 * ```
 *
 * `testCertificateDefects` lists wrong certificates by name, each with the error code it must be refused with.
 */
export class TestCa {
  readonly trustDomain: TrustDomain;
  /** Trusts this CA's root, its workload token key and its JWT-SVID key. */
  readonly bundle: TrustBundle;
  readonly rootPem: string;
  readonly rootKey: KeyObject;
  /** The key and the name that leaves are signed with: the intermediate's, or the root's. */
  readonly issuerKey: KeyObject;
  readonly issuerName: string;
  /** DER of the intermediates that go with leaves. */
  readonly intermediates: readonly Uint8Array[];
  /** Signs workload tokens. */
  readonly tokenKey: KeyObject;
  readonly tokenKeyId: string;
  /** Signs JWT-SVIDs. */
  readonly jwtKey: KeyObject;
  readonly jwtKeyId: string;
  readonly clock: Clock;

  private constructor(options: TestCaOptions) {
    const { trustDomain = 'cluster.local', clock = systemClock, keyType = 'P-256', rootTtlMs = 24 * hourMs } = options;
    this.clock = clock;
    this.trustDomain = TrustDomain.parse(trustDomain);
    this.rootKey = testPrivateKey(keyType);
    const rootName = `${trustDomain} test root`;
    const signer = {
      publicKey: this.rootKey,
      notBefore: new Date(clock.now() - hourMs),
      notAfter: new Date(clock.now() + rootTtlMs),
      uriNames: [`spiffe://${trustDomain}`],
      ca: { isCa: true },
      keyUsage: [5, 6],
    };
    const root = testCertificate({ ...signer, subject: rootName, issuer: rootName, signingKey: this.rootKey });
    this.rootPem = writePem(root, 'CERTIFICATE');
    this.issuerKey = options.intermediate === true ? testPrivateKey(keyType) : this.rootKey;
    this.issuerName = options.intermediate === true ? `${trustDomain} test intermediate` : rootName;
    this.intermediates =
      options.intermediate === true
        ? [
            testCertificate({
              ...signer,
              publicKey: this.issuerKey,
              subject: this.issuerName,
              issuer: rootName,
              signingKey: this.rootKey,
              ca: { isCa: true, pathLength: 0 },
            }),
          ]
        : [];
    this.tokenKey = testPrivateKey('P-256');
    this.tokenKeyId = testTokenId();
    this.jwtKey = testPrivateKey('P-256');
    this.jwtKeyId = testTokenId();
    this.bundle = TrustBundle.create({
      trustDomain,
      x509Authorities: [root],
      workloadTokenKeys: [publicJwk(this.tokenKey, this.tokenKeyId)],
      jwtAuthorities: [publicJwk(this.jwtKey, this.jwtKeyId)],
    });
  }

  static create(options: TestCaOptions = {}): TestCa {
    return new TestCa(options);
  }

  /** Wall time on the CA's clock. */
  now(): number {
    return this.clock.now();
  }

  /** A good X.509-SVID. */
  svid(spiffeId: SpiffeId | string, options: TestSvidOptions = {}): X509Svid {
    const { chainPem, privateKey } = this.identity(spiffeId, {}, options);
    return X509Svid.fromPem({ chainPem, privateKey });
  }

  /** A leaf with `changes` in whatever fields the test wants wrong. */
  identity(spiffeId: SpiffeId | string, changes: TestLeafChanges = {}, options: TestSvidOptions = {}): TestIdentity {
    const privateKey = options.privateKey ?? testPrivateKey(options.keyType);
    const now = this.clock.now();
    const leaf = testCertificate({
      subject: 'test leaf',
      issuer: this.issuerName,
      publicKey: privateKey,
      signingKey: this.issuerKey,
      notBefore: new Date(now - minuteMs),
      notAfter: new Date(now + (options.ttlMs ?? hourMs)),
      uriNames: [spiffeId.toString()],
      ca: { isCa: false },
      keyUsage: [0],
      extendedKeyUsage: serverAndClient,
      ...changes,
    });
    return testIdentity([leaf, ...this.intermediates], privateKey);
  }

  /** A workload token; wrong in whatever `claims`, `header` and `signingKey` make wrong. */
  token(options: TestTokenOptions): string {
    const nowSeconds = Math.floor(this.clock.now() / 1000);
    const { ttlMs = hourMs, audience = defaultWorkloadTokenAudience } = options;
    const expiresAtSeconds = nowSeconds + Math.ceil(ttlMs / 1000);
    const begins = Math.min(nowSeconds, expiresAtSeconds - 60);
    return testJws({
      key: options.signingKey ?? this.tokenKey,
      keyId: this.tokenKeyId,
      header: options.header,
      claims: {
        iss: `spiffe://${this.trustDomain.name}`,
        sub: options.workload.toString(),
        aud: audience,
        node: options.node,
        cnf: { jkt: options.keyThumbprint },
        iat: begins,
        nbf: begins,
        exp: expiresAtSeconds,
        jti: testTokenId(),
        ...options.claims,
      },
    });
  }

  /** A JWT-SVID; wrong in whatever `claims`, `header` and `signingKey` make wrong. */
  jwtSvid(options: TestJwtSvidOptions): string {
    const nowSeconds = Math.floor(this.clock.now() / 1000);
    const expiresAtSeconds = nowSeconds + Math.ceil((options.ttlMs ?? 5 * minuteMs) / 1000);
    return testJws({
      key: options.signingKey ?? this.jwtKey,
      keyId: this.jwtKeyId,
      header: { typ: 'JWT', ...options.header },
      claims: {
        sub: options.spiffeId.toString(),
        aud: options.audience,
        iat: Math.min(nowSeconds, expiresAtSeconds - 60),
        exp: expiresAtSeconds,
        jti: testTokenId(),
        ...options.claims,
      },
    });
  }

  /** Hands out good tokens for any workload on `node`, a fresh one each time. */
  tokenSource(node: string, options: Pick<TestTokenOptions, 'audience' | 'ttlMs'> = {}): WorkloadTokenSource {
    return {
      token: (workload, binding) =>
        Promise.resolve(this.token({ ...options, workload, node, keyThumbprint: binding.keyThumbprint })),
    };
  }
}

/** Puts the parts together; checks nothing. */
export function testIdentity(certificates: readonly Uint8Array[], privateKey: KeyObject): TestIdentity {
  return {
    certificates,
    privateKey,
    chainPem: certificates.map((der) => writePem(der, 'CERTIFICATE')).join(''),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}

function publicJwk(privateKey: KeyObject, kid: string): Jwk {
  const publicKey = createPublicKey(privateKey);
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  return { kty: 'EC', kid, crv: 'P-256', x, y };
}
