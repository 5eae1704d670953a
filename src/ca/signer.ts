import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** Signature algorithms of certificates, each with its object identifier and the digest to name to Node. */
export const signatureAlgorithms = Object.freeze({
  'ecdsa-with-SHA256': { oid: '1.2.840.10045.4.3.2', digest: 'sha256', keyType: 'ec' },
  'ecdsa-with-SHA384': { oid: '1.2.840.10045.4.3.3', digest: 'sha384', keyType: 'ec' },
  Ed25519: { oid: '1.3.101.112', digest: null, keyType: 'ed25519' },
} as const);

export type SignatureAlgorithm = keyof typeof signatureAlgorithms;

/** Holds one signing key and never shows it: in this process, or behind a KMS or HSM. */
export interface Signer {
  readonly algorithm: SignatureAlgorithm;
  readonly publicKey: KeyObject;
  /** The signature in the form X.509 carries it: DER `Ecdsa-Sig-Value`, or the 64 bytes of Ed25519. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** A signer over a private key in memory. */
export function localSigner(privateKey: KeyObject): Signer {
  const algorithm = algorithmOf(privateKey);
  return Object.freeze({
    algorithm,
    publicKey: createPublicKey(privateKey),
    // Synchronous on purpose: a P-256 signature takes 30 µs, a trip to the thread pool longer.
    sign: (data: Uint8Array) => Promise.resolve(sign(signatureAlgorithms[algorithm].digest, data, privateKey)),
  });
}

/** A fresh ECDSA P-256 private key from the operating system's generator. */
export function generateP256Key(): KeyObject {
  // Synchronous for the same reason: it takes 50 µs.
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function algorithmOf(key: KeyObject): SignatureAlgorithm {
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519';
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === 'prime256v1') return 'ecdsa-with-SHA256';
  if (curve === 'secp384r1') return 'ecdsa-with-SHA384';
  throw new TypeError(
    `expected an ECDSA P-256, ECDSA P-384 or Ed25519 signing key, got ${key.asymmetricKeyType ?? 'none'}`,
  );
}
