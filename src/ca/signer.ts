import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CaError } from './errors.js';

/** Signature algorithms of certificates, each with its object identifier and the digest to name to Node. */
export const signatureAlgorithms = Object.freeze({
  'ecdsa-with-SHA256': { oid: '1.2.840.10045.4.3.2', digest: 'sha256', keyType: 'ec' },
  'ecdsa-with-SHA384': { oid: '1.2.840.10045.4.3.3', digest: 'sha384', keyType: 'ec' },
  Ed25519: { oid: '1.3.101.112', digest: null, keyType: 'ed25519' },
} as const);

export type SignatureAlgorithm = keyof typeof signatureAlgorithms;

/** Holds one signing key and never shows it: in this process, or behind a KMS or HSM. What it returns is verified before use. */
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

/** Kinds of key that a CA signs with, and that identities have. */
export const caKeyTypes = ['P-256', 'P-384', 'Ed25519'] as const;
export type CaKeyType = (typeof caKeyTypes)[number];

/** A fresh private key from the operating system's generator. */
export function generateKey(type: CaKeyType): KeyObject {
  // Synchronous for the same reason: P-256 takes 50 µs.
  return type === 'Ed25519'
    ? generateKeyPairSync('ed25519').privateKey
    : generateKeyPairSync('ec', { namedCurve: type }).privateKey;
}

/** `signer`, with each of its signatures checked before it is used. Its failures become `CA_SIGNER_FAILED`. */
export function checkedSigner(signer: Signer): Signer {
  const { algorithm, publicKey } = signer;
  const { digest } = signatureAlgorithms[algorithm];
  return Object.freeze({
    algorithm,
    publicKey,
    sign: async (data: Uint8Array) => {
      try {
        const signature = await signer.sign(data);
        if (verify(digest, data, publicKey, signature)) return signature;
      } catch (cause) {
        throw new CaError('CA_SIGNER_FAILED', 'the external signer failed; nothing was issued', { cause });
      }
      throw new CaError('CA_SIGNER_FAILED', 'the external signer returned a signature that does not verify');
    },
  });
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
