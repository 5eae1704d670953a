import { createHash, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CaError } from './errors.js';
import { spkiOf } from './public-key.js';

/**
 * A pin names a root by its public key: `sha256:` and the SHA-256 of its SubjectPublicKeyInfo in lower-case hex, the form
 * kubeadm uses. It goes to a new node together with its join token, so that the node knows the mesh before it speaks to it.
 */
export function rootPinOf(publicKey: KeyObject): string {
  return `sha256:${createHash('sha256').update(spkiOf(publicKey)).digest('hex')}`;
}

/** Whether `text` has the form of a pin. */
export function isRootPin(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** Whether `publicKey` is the pinned one. Throws `CA_REQUEST_INVALID` for a pin that does not parse. */
export function matchesRootPin(publicKey: KeyObject, pin: string): boolean {
  if (!isRootPin(pin)) {
    throw new CaError('CA_REQUEST_INVALID', 'expected a root pin of the form sha256:<64 hex digits, lower case>');
  }
  return timingSafeEqual(Buffer.from(rootPinOf(publicKey)), Buffer.from(pin));
}
