/** The keys and signature algorithms that identities may use: one table, read by everything that verifies. */
import type { KeyObject } from 'node:crypto';
import { SpiffeError } from './errors.js';

/** Signature algorithm OID -> the key type that makes such signatures. SHA-1, MD5, DSA and RSA-PSS are left out on purpose. */
const signerKeyType: Readonly<Record<string, string>> = Object.freeze({
  '1.2.840.10045.4.3.2': 'ec',
  '1.2.840.10045.4.3.3': 'ec',
  '1.2.840.10045.4.3.4': 'ec',
  '1.3.101.112': 'ed25519',
  '1.2.840.113549.1.1.11': 'rsa',
  '1.2.840.113549.1.1.12': 'rsa',
  '1.2.840.113549.1.1.13': 'rsa',
});

/** Throws `SPIFFE_X509_ALGORITHM` unless the key is EC on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits. */
export function requireAllowedKey(key: KeyObject): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519') return;
  if (type === 'ec' && (details?.namedCurve === 'prime256v1' || details?.namedCurve === 'secp384r1')) return;
  const bits = details?.modulusLength ?? 0;
  if (type === 'rsa' && bits >= 2048 && bits <= 8192) return;
  const got = details?.namedCurve ?? (bits > 0 ? `${String(bits)} bits` : 'other parameters');
  throw new SpiffeError(
    'SPIFFE_X509_ALGORITHM',
    `expected a key on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits, got ${String(type)} with ${got}`,
  );
}

/** Throws `SPIFFE_X509_ALGORITHM` unless the algorithm is allowed and is one that `issuerKey` can make. */
export function requireAllowedSignature(algorithmOid: string, issuerKey: KeyObject): void {
  const needed = Object.hasOwn(signerKeyType, algorithmOid) ? signerKeyType[algorithmOid] : undefined;
  if (needed !== undefined && needed === issuerKey.asymmetricKeyType) return;
  throw new SpiffeError(
    'SPIFFE_X509_ALGORITHM',
    `expected a signature by ECDSA, Ed25519 or RSA with SHA-2 that fits the issuer's key, got algorithm ${algorithmOid} and a key of type ${String(issuerKey.asymmetricKeyType)}`,
  );
}
