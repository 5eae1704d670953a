/** Public keys as JWK (RFC 7517): the members that make the key, and its `kid`, and nothing else. */
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { requireAllowedKey } from './algorithms.js';
import { SpiffeError } from './errors.js';

const base64url = z.string().regex(/^[A-Za-z0-9_-]{1,1400}$/);
const kid = z.string().min(1).max(256);

/** `z.object` drops what it does not list (alg, use, key_ops); private members are refused before. */
const jwkSchema = z.discriminatedUnion('kty', [
  z.object({ kty: z.literal('EC'), kid, crv: z.enum(['P-256', 'P-384']), x: base64url, y: base64url }).readonly(),
  z.object({ kty: z.literal('OKP'), kid, crv: z.literal('Ed25519'), x: base64url }).readonly(),
  z.object({ kty: z.literal('RSA'), kid, n: base64url, e: base64url }).readonly(),
]);

/** A public key with a key ID. */
export type Jwk = z.output<typeof jwkSchema>;

const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** Takes the public key out of a JWK and checks it. Throws `SPIFFE_BUNDLE_MALFORMED`, never quoting the key. */
export function readPublicJwk(value: unknown): Jwk {
  if (typeof value === 'object' && value !== null && secretMembers.some((member) => Object.hasOwn(value, member))) {
    throw malformed('it has private members: take that key out of service, it has been published');
  }
  const result = jwkSchema.safeParse(value);
  if (!result.success) {
    throw malformed(
      result.error.issues.map((issue) => `${issue.path.join('.') || 'key'}: ${issue.message}`).join('; '),
    );
  }
  importPublicJwk(result.data);
  return Object.freeze(result.data);
}

/** Throws `SPIFFE_BUNDLE_MALFORMED` when the members are no key, e.g. a point off the curve. */
export function importPublicJwk(jwk: Jwk): KeyObject {
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    requireAllowedKey(key);
    return key;
  } catch (cause) {
    throw malformed('its members are not an allowed key', cause);
  }
}

function malformed(why: string, cause?: unknown): SpiffeError {
  return new SpiffeError('SPIFFE_BUNDLE_MALFORMED', `expected a public JWK with a kid in a trust bundle, but ${why}`, {
    cause,
  });
}
