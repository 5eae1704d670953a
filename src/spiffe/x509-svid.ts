import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readPem, writePem } from '../internal/der/pem.js';
import { readCertificate } from './certificate.js';
import { SpiffeError } from './errors.js';
import { keyThumbprint } from './key-thumbprint.js';
import type { SpiffeId } from './spiffe-id.js';
import { leafSpiffeId, requireLeafProfile } from './x509-profile.js';

export interface X509SvidPem {
  /** PEM certificates, leaf first, then intermediates. The root does not belong here. */
  readonly chainPem: string;
  /** PKCS#8 (or SEC1) PEM of the leaf's key. Give this or `privateKey`. */
  readonly privateKeyPem?: string | undefined;
  readonly privateKey?: KeyObject | undefined;
}

/**
 * An identity of one's own: a certificate chain with its private key. Immutable; renewal makes a new one.
 *
 * Whether it is valid now, or trusted by anybody, is not its business: `verifyX509Svid` answers that. `toJSON` and
 * `inspect` output leave the key out.
 */
export class X509Svid {
  readonly spiffeId: SpiffeId;
  /** The leaf alone. */
  readonly certificatePem: string;
  /** Leaf first, then intermediates. */
  readonly chainPem: string;
  /** DER, leaf first. */
  readonly certificates: readonly Uint8Array[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Hexadecimal, lower case. */
  readonly serialNumber: string;
  /** RFC 7638 thumbprint of the public key; what workload tokens for this identity are bound to. */
  readonly keyThumbprint: string;
  readonly #privateKey: KeyObject;

  private constructor(certificates: readonly Uint8Array[], privateKey: KeyObject) {
    const [leafDer] = certificates;
    if (leafDer === undefined) throw malformed('the chain has no certificate');
    const leaf = readCertificate(leafDer);
    this.spiffeId = leafSpiffeId(leaf);
    requireLeafProfile(leaf);
    for (const der of certificates.slice(1)) readCertificate(der);
    if (!leaf.x509.checkPrivateKey(privateKey)) {
      throw new SpiffeError(
        'SPIFFE_SVID_KEY_MISMATCH',
        `expected the private key of the certificate of ${this.spiffeId.toString()}, got another key`,
      );
    }
    this.certificates = Object.freeze([...certificates]);
    this.certificatePem = writePem(leafDer, 'CERTIFICATE');
    this.chainPem = certificates.map((der) => writePem(der, 'CERTIFICATE')).join('');
    this.notBefore = new Date(leaf.notBeforeMs);
    this.notAfter = new Date(leaf.notAfterMs);
    this.serialNumber = leaf.serialNumber;
    this.keyThumbprint = keyThumbprint(leaf.publicKey);
    this.#privateKey = privateKey;
    Object.freeze(this);
  }

  /**
   * Loads one. Throws `SPIFFE_SVID_MALFORMED`, `SPIFFE_SVID_KEY_MISMATCH`, and the `SPIFFE_X509_…` codes of the leaf's
   * own profile (exactly one URI name, not a CA, key usages, algorithm).
   */
  static fromPem(pem: X509SvidPem): X509Svid {
    let certificates: readonly Uint8Array[];
    try {
      certificates = readPem(pem.chainPem, 'CERTIFICATE');
    } catch (cause) {
      throw malformed('the chain is not PEM', cause);
    }
    if ((pem.privateKey === undefined) === (pem.privateKeyPem === undefined)) {
      throw malformed('give privateKeyPem or privateKey, one of them');
    }
    const key = pem.privateKey ?? parsePrivateKey(pem.privateKeyPem ?? '');
    if (key.type !== 'private') throw malformed('the key is not a private key');
    return new X509Svid(certificates, key);
  }

  get privateKey(): KeyObject {
    return this.#privateKey;
  }

  /** PKCS#8 PEM. Secret: for `tls` and for files of mode 0600 only. */
  get privateKeyPem(): string {
    return this.#privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
  }

  /** What logs may show. */
  toJSON(): Readonly<Record<string, string>> {
    return {
      spiffeId: this.spiffeId.toString(),
      serialNumber: this.serialNumber,
      notBefore: this.notBefore.toISOString(),
      notAfter: this.notAfter.toISOString(),
    };
  }
}

function parsePrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is dropped: what a parser says of a key might quote it.
    throw malformed('the private key is not an unencrypted PEM key');
  }
}

function malformed(why: string, cause?: unknown): SpiffeError {
  return new SpiffeError(
    'SPIFFE_SVID_MALFORMED',
    `expected a PEM chain, leaf first, with the private key of the leaf: ${why}`,
    { cause },
  );
}
