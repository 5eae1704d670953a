import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CaError } from './errors.js';

/** A public key as callers have it: Node's object, PEM (SPKI), or the DER of a SubjectPublicKeyInfo. */
export type PublicKeyInput = KeyObject | string | Uint8Array;

/** Kinds of key that a certificate is issued for. Named curves only: explicit parameters could hide a weak curve. */
const acceptedCurves: Readonly<Record<string, string>> = { prime256v1: 'ECDSA P-256', secp384r1: 'ECDSA P-384' };

/** The kind of `key` as people call it, such as `ECDSA P-256`; `undefined` when it is not accepted. */
export function keyTypeName(key: KeyObject): string | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519';
  if (key.asymmetricKeyType !== 'ec') return undefined;
  return acceptedCurves[key.asymmetricKeyDetails?.namedCurve ?? ''];
}

/** Reads `input` as a public key of an accepted kind. Throws `CA_KEY_REFUSED`. A private key is refused, not reduced. */
export function acceptedPublicKey(input: PublicKeyInput): KeyObject {
  const key = parsePublicKey(input);
  if (key.type !== 'public') throw new CaError('CA_KEY_REFUSED', `expected a public key, got a ${key.type} one`);
  if (keyTypeName(key) === undefined) {
    const curve = key.asymmetricKeyDetails?.namedCurve;
    const found = `${key.asymmetricKeyType ?? 'unknown'}${curve === undefined ? '' : ` ${curve}`}`;
    throw new CaError('CA_KEY_REFUSED', `expected an ECDSA P-256, ECDSA P-384 or Ed25519 key, got ${found}`);
  }
  return key;
}

function parsePublicKey(input: PublicKeyInput): KeyObject {
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) return input;
  // createPublicKey would take a private key in PEM and give its public half.
  if (typeof input === 'string' && !/^\s*-----BEGIN PUBLIC KEY-----/.test(input)) {
    throw new CaError('CA_KEY_REFUSED', 'expected a public key in PEM, starting with -----BEGIN PUBLIC KEY-----');
  }
  try {
    return typeof input === 'string'
      ? createPublicKey({ key: input, format: 'pem' })
      : createPublicKey({ key: Buffer.from(input), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new CaError('CA_KEY_REFUSED', 'expected a public key as SubjectPublicKeyInfo, which this is not', { cause });
  }
}

/** The DER of the key's SubjectPublicKeyInfo. */
export function spkiOf(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'spki' });
}
