import type { SpiffeErrorCode } from '../spiffe/index.js';
import { derBitString, derSequence } from '../internal/der/writer.js';
import { TestCa, testIdentity } from './test-ca.js';
import type { TestIdentity } from './test-ca.js';
import { testCertificate, testPrivateKey } from './test-certificate.js';

export interface TestCertificateDefect {
  /** The code of the `SpiffeError` that it is refused with. */
  readonly code: SpiffeErrorCode;
  /** A certificate that would be the ID's X.509-SVID, but for this one defect. */
  readonly issue: (ca: TestCa, spiffeId: string) => TestIdentity;
}

const hourMs = 3_600_000;
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

/**
 * Wrong certificates by name: run your verifier or listener over all of them. Times are
 * relative to the CA's clock. `trailingByte` alone cannot be presented in TLS: OpenSSL refuses to load it.
 *
 * ```ts
 * import { TestCa, testCertificateDefects } from 'meshwright/testing';
 *
 * const ca = TestCa.create();
 * for (const [name, { code, issue }] of Object.entries(testCertificateDefects)) {
 *   const identity = issue(ca, 'spiffe://cluster.local/agent/node-a');
 *   console.log(name, code, identity.certificates.length);
 * }
 * ```
 */
export const testCertificateDefects = Object.freeze({
  expired: defect('SPIFFE_X509_EXPIRED', (ca, id) => ca.identity(id, span(ca, -2 * hourMs, -1000))),
  notYetValid: defect('SPIFFE_X509_NOT_YET_VALID', (ca, id) => ca.identity(id, span(ca, hourMs, 2 * hourMs))),
  otherTrustDomain: defect('SPIFFE_X509_TRUST_DOMAIN', (ca, id) =>
    ca.identity(id, { uriNames: [id.replace(ca.trustDomain.name, `not-${ca.trustDomain.name}`)] }),
  ),
  noUriName: defect('SPIFFE_X509_URI_SAN', (ca, id) => ca.identity(id, { uriNames: [] })),
  dnsNameOnly: defect('SPIFFE_X509_URI_SAN', (ca, id) => ca.identity(id, { uriNames: [], dnsNames: ['localhost'] })),
  twoUriNames: defect('SPIFFE_X509_URI_SAN', (ca, id) => ca.identity(id, { uriNames: [id, `${id}-2`] })),
  sameUriNameTwice: defect('SPIFFE_X509_URI_SAN', (ca, id) => ca.identity(id, { uriNames: [id, id] })),
  commaInUriName: defect('SPIFFE_X509_SPIFFE_ID', (ca, id) => ca.identity(id, { uriNames: [`${id}, URI:${id}-2`] })),
  nulInUriName: defect('SPIFFE_X509_SPIFFE_ID', (ca, id) => ca.identity(id, { uriNames: [`${id}\0.example.org`] })),
  otherScheme: defect('SPIFFE_X509_SPIFFE_ID', (ca, id) =>
    ca.identity(id, { uriNames: [id.replace('spiffe://', 'https://')] }),
  ),
  trustDomainOnly: defect('SPIFFE_X509_SPIFFE_ID', (ca, id) =>
    ca.identity(id, { uriNames: [`spiffe://${ca.trustDomain.name}`] }),
  ),
  caLeaf: defect('SPIFFE_X509_CA', (ca, id) => ca.identity(id, { ca: { isCa: true } })),
  noKeyUsage: defect('SPIFFE_X509_KEY_USAGE', (ca, id) => ca.identity(id, { keyUsage: undefined })),
  noDigitalSignature: defect('SPIFFE_X509_KEY_USAGE', (ca, id) => ca.identity(id, { keyUsage: [2] })),
  keyCertSign: defect('SPIFFE_X509_KEY_USAGE', (ca, id) => ca.identity(id, { keyUsage: [0, 5] })),
  crlSign: defect('SPIFFE_X509_KEY_USAGE', (ca, id) => ca.identity(id, { keyUsage: [0, 6] })),
  serverAuthOnly: defect('SPIFFE_X509_EXTENDED_KEY_USAGE', (ca, id) =>
    ca.identity(id, { extendedKeyUsage: [serverAuth] }),
  ),
  clientAuthOnly: defect('SPIFFE_X509_EXTENDED_KEY_USAGE', (ca, id) =>
    ca.identity(id, { extendedKeyUsage: [clientAuth] }),
  ),
  unknownCriticalExtension: defect('SPIFFE_X509_CRITICAL_EXTENSION', (ca, id) =>
    ca.identity(id, { extraExtensions: [{ oid: '1.3.6.1.4.1.99999.1', critical: true, value: derSequence() }] }),
  ),
  extensionTwice: defect('SPIFFE_X509_MALFORMED', (ca, id) =>
    ca.identity(id, {
      extraExtensions: [{ oid: '2.5.29.15', critical: true, value: derBitString(Uint8Array.of(0x80), 7) }],
    }),
  ),
  keyOnP521: defect('SPIFFE_X509_ALGORITHM', (ca, id) => ca.identity(id, {}, { keyType: 'P-521' })),
  shortRsaKey: defect('SPIFFE_X509_ALGORITHM', (ca, id) => ca.identity(id, {}, { keyType: 'RSA-1024' })),
  sha1Signature: defect('SPIFFE_X509_ALGORITHM', (ca, id) => ca.identity(id, { sha1: true })),
  forgedSignature: defect('SPIFFE_X509_SIGNATURE', (ca, id) => ca.identity(id, { signingKey: testPrivateKey() })),
  unknownIssuer: defect('SPIFFE_X509_UNTRUSTED', (ca, id) =>
    ca.identity(id, { issuer: 'nobody', signingKey: testPrivateKey() }),
  ),
  selfSigned: defect('SPIFFE_X509_UNTRUSTED', (ca, id) => {
    const privateKey = testPrivateKey();
    return ca.identity(id, { issuer: 'test leaf', signingKey: privateKey }, { privateKey });
  }),
  ownRoot: defect('SPIFFE_X509_UNTRUSTED', (ca, id) => {
    // The root of another CA of the same trust domain name, sent along as if that made it trusted.
    const other = TestCa.create({ trustDomain: ca.trustDomain.name, clock: ca.clock });
    const { certificates, privateKey } = other.identity(id, { issuer: 'own root' });
    const root = testCertificate({
      subject: 'own root',
      issuer: 'own root',
      publicKey: other.rootKey,
      signingKey: other.rootKey,
      ca: { isCa: true },
      keyUsage: [5],
      ...span(ca, -hourMs, hourMs),
    });
    return testIdentity([...certificates, root], privateKey);
  }),
  signedByLeaf: defect('SPIFFE_X509_CA', (ca, id) => {
    const leaf = ca.identity(id, { subject: 'good leaf' });
    const forged = ca.identity(id, { issuer: 'good leaf', signingKey: leaf.privateKey });
    return testIdentity([...forged.certificates.slice(0, 1), ...leaf.certificates], forged.privateKey);
  }),
  trailingByte: defect('SPIFFE_X509_MALFORMED', (ca, id) => {
    const { certificates, privateKey } = ca.identity(id);
    return testIdentity(
      certificates.map((der) => Uint8Array.of(...der, 0)),
      privateKey,
    );
  }),
} satisfies Readonly<Record<string, TestCertificateDefect>>);

export type TestCertificateDefectName = keyof typeof testCertificateDefects;

function defect(code: SpiffeErrorCode, issue: TestCertificateDefect['issue']): TestCertificateDefect {
  return Object.freeze({ code, issue });
}

function span(ca: TestCa, fromMs: number, toMs: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(ca.now() + fromMs), notAfter: new Date(ca.now() + toMs) };
}
