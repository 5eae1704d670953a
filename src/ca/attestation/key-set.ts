import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';

/** A public key of a JSON Web Key Set (RFC 7517) that may have signed a token. */
export interface VerificationKey {
  readonly key: KeyObject;
  /** The one algorithm it is for, when the set says so. */
  readonly algorithm: string | undefined;
}

/** By key ID. */
export type KeySet = ReadonlyMap<string, VerificationKey>;

const text = z.string().max(4096);
const keySchema = z.looseObject({
  kty: text,
  kid: text.min(1).optional(),
  use: text.optional(),
  alg: text.optional(),
  d: z.never().optional(),
});
const setSchema = z.looseObject({ keys: z.array(keySchema).max(64) });
const rsaSchema = z.looseObject({ n: text, e: text });
const ecSchema = z.looseObject({ crv: z.enum(['P-256', 'P-384', 'P-521']), x: text, y: text });

/**
 * Reads a key set. Keys that are for something else (another use, another type, no key ID) are left out; a set in which
 * two keys have one key ID, a private key, or nothing that can be used, is refused as a whole. One key may be there twice:
 * API servers list it for each file that they were given it in. Throws an `Error` that quotes nothing of the set.
 */
export function parseKeySet(document: unknown): KeySet {
  const parsed = setSchema.safeParse(document);
  if (!parsed.success) throw new Error('expected a JSON Web Key Set of at most 64 public keys, got something else');
  const keys = new Map<string, VerificationKey>();
  for (const jwk of parsed.data.keys) {
    const { kid, use, alg } = jwk;
    const key = use === undefined || use === 'sig' ? importKey(jwk) : undefined;
    if (kid === undefined || key === undefined) continue;
    const known = keys.get(kid);
    if (known !== undefined && !(known.key.equals(key) && known.algorithm === alg)) {
      throw new Error('a key set has two keys of one key ID');
    }
    keys.set(kid, Object.freeze({ key, algorithm: alg }));
  }
  if (keys.size === 0) throw new Error('a key set has no RSA or EC signing key with a key ID');
  return keys;
}

/** `undefined` for a kind that is not accepted. Throws for one that is broken. */
function importKey(jwk: z.output<typeof keySchema>): KeyObject | undefined {
  const schema = jwk.kty === 'RSA' ? rsaSchema : jwk.kty === 'EC' ? ecSchema : undefined;
  const members = schema?.safeParse(jwk);
  if (members?.success !== true) return undefined;
  let key: KeyObject;
  try {
    key = createPublicKey({ key: { ...members.data, kty: jwk.kty }, format: 'jwk' });
  } catch {
    throw new Error('a key of the key set is no public key');
  }
  const bits = key.asymmetricKeyDetails?.modulusLength;
  return bits === undefined || (bits >= 2048 && bits <= 8192) ? key : undefined;
}
