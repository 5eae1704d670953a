import { notify } from '../core/index.js';
import type { Clock, Observer } from '../core/index.js';
import { writePem } from '../internal/der/pem.js';
import type { SpiffeId } from '../spiffe/index.js';
import type { AuditEntry } from './audit-record.js';
import { publicKeyOfCsr } from './csr.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';
import { issueLeaf } from './leaf-certificate.js';
import { leafValidity, requireTtl } from './leaf-validity.js';
import { acceptedPublicKey } from './public-key.js';
import type { PublicKeyInput, SubjectKey } from './public-key.js';
import { newSerialNumber } from './serial-number.js';
import type { SigningRoot } from './signing-root.js';

export interface X509SvidRequest {
  /** Of this CA's trust domain, with a path. */
  readonly spiffeId: SpiffeId | string;
  /** ECDSA P-256, ECDSA P-384 or Ed25519. Give this or `csr`. */
  readonly publicKey?: PublicKeyInput | undefined;
  /** PKCS #10, PEM or DER: only its public key is used, after its proof of possession was checked. */
  readonly csr?: string | Uint8Array | undefined;
  /** 2 000 ms or more; cut to the end of the certificates above it. Default: the CA's `svidTtlMs`. */
  readonly ttlMs?: number | undefined;
  /** Who asked, verified: for the audit log. Default `operator`. */
  readonly requester?: string | undefined;
}

export interface IssuedX509Svid {
  readonly spiffeId: SpiffeId;
  /** The leaf alone. */
  readonly certificatePem: string;
  /** Leaf first, then intermediates, without the root. */
  readonly chainPem: string;
  /** DER of the same chain. */
  readonly certificates: readonly Uint8Array[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Hexadecimal, lower case. */
  readonly serialNumber: string;
}

/** What the issuer needs of its CA. */
export interface X509SvidAuthority {
  readonly clock: Clock;
  readonly observer: Observer<CaEvent>;
  /** How long an SVID lives when a request does not say. */
  readonly svidTtlMs: number;
  /** What signs now. Throws `CA_CLOSED`. */
  readonly root: () => SigningRoot;
  /** The same, once the store knows that what it signs lives that long. */
  readonly rootUntil: (endMs: number) => Promise<SigningRoot>;
  /** Throws `CA_SPIFFE_ID_REFUSED`. */
  readonly ownId: (input: SpiffeId | string) => SpiffeId;
  /** Throws `CA_DENIED`. */
  readonly requireAllowed: (spiffeId: SpiffeId) => void;
  readonly record: (entry: AuditEntry) => Promise<void>;
}

/** Issues X.509-SVIDs for a CA; see `SpiffeCA.issueX509Svid`. */
export class X509SvidIssuer {
  readonly #authority: X509SvidAuthority;

  constructor(authority: X509SvidAuthority) {
    this.#authority = authority;
  }

  async issue(request: X509SvidRequest): Promise<IssuedX509Svid> {
    const { clock, observer } = this.#authority;
    const { validity: now } = this.#authority.root();
    const spiffeId = this.#authority.ownId(request.spiffeId);
    const { spki } = requestedKey(request);
    this.#authority.requireAllowed(spiffeId);
    const ttlMs = requireTtl(request.ttlMs ?? this.#authority.svidTtlMs);
    const endsMs = leafValidity(now, clock.now(), ttlMs).notAfter.getTime();
    const root = await this.#authority.rootUntil(endsMs);
    const validity = leafValidity(root.validity, clock.now(), ttlMs);
    const serialNumber = newSerialNumber();
    const der = await issueLeaf(root, {
      ...validity,
      serialNumber,
      subjectPublicKeyInfo: spki,
      spiffeId: spiffeId.toString(),
    });
    const certificatePem = writePem(der, 'CERTIFICATE');
    const issued: IssuedX509Svid = Object.freeze({
      spiffeId,
      certificatePem,
      chainPem: `${certificatePem}${root.intermediatesPem}`,
      certificates: Object.freeze([der, ...root.intermediates]),
      ...validity,
      serialNumber: Buffer.from(serialNumber)
        .toString('hex')
        .replace(/^(00)+/, ''),
    });
    await this.#authority.record({
      event: 'issued',
      operation: 'x509-svid',
      who: request.requester ?? 'operator',
      subject: spiffeId.toString(),
      serial: issued.serialNumber,
      notAfter: issued.notAfter.toISOString(),
    });
    notify(observer, {
      type: 'ca-svid-issued',
      spiffeId: spiffeId.toString(),
      serialNumber: issued.serialNumber,
      notAfter: issued.notAfter,
    });
    return issued;
  }
}

function requestedKey(request: X509SvidRequest): SubjectKey {
  if (request.csr !== undefined && request.publicKey === undefined) return publicKeyOfCsr(request.csr);
  if (request.publicKey !== undefined && request.csr === undefined) return acceptedPublicKey(request.publicKey);
  throw new CaError('CA_REQUEST_INVALID', 'expected exactly one of publicKey and csr');
}
