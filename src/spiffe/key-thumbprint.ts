import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { SpiffeError } from './errors.js';

/**
 * The RFC 7638 thumbprint (SHA-256, base64url, 43 characters) of a public key: what `cnf.jkt` of a workload token holds.
 * Given a private key, that of its public half. Throws `SPIFFE_X509_ALGORITHM` for key types other than EC, Ed25519, RSA.
 *
 * By hand, since jose's is asynchronous and this runs in the middle of a handshake.
 */
export function keyThumbprint(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const { kty, crv, x, y, n, e } = publicKey.export({ format: 'jwk' });
  // Required members only, in lexicographic order (RFC 7638 section 3.2, RFC 8037 section 2).
  const members =
    kty === 'EC' ? { crv, kty, x, y } : kty === 'OKP' ? { crv, kty, x } : kty === 'RSA' ? { e, kty, n } : undefined;
  if (members === undefined) {
    throw new SpiffeError('SPIFFE_X509_ALGORITHM', `expected an EC, Ed25519 or RSA key, got ${String(kty)}`);
  }
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}
