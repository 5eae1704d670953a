/** JWT-SVIDs (SPIFFE JWT-SVID standard): what a workload shows where it cannot show a certificate. */
import type { KeyObject } from 'node:crypto';
import { compactVerify, decodeJwt } from 'jose';
import { z } from 'zod';
import { bundleFor, trustedNames } from './bundle-set.js';
import type { BundleSet } from './bundle-set.js';
import { compactJwsDefect, readJwsHeader } from '../internal/compact-jws.js';
import type { JwsHeader } from '../internal/compact-jws.js';
import { SpiffeError } from './errors.js';
import { shown } from '../internal/shown.js';
import { SpiffeId } from './spiffe-id.js';
import { jwtKeysOf } from './trust-bundle.js';
import type { TrustBundle } from './trust-bundle.js';
import { defaultClockSkewMs, requireTimes } from './verify-x509-svid.js';

/** Longest lifetime that an issuer should give, in ms. Verifiers do not insist: it is the issuer's decision. */
export const maxJwtSvidLifetimeMs = 24 * 60 * 60 * 1000;

/** Keys tried for a token that names none. */
const maxUnnamedKeys = 8;

/** Section 2.1: the algorithms a JWT-SVID may have, each with the keys that make it. ES512 fits no key of ours. */
const algorithms: Readonly<Record<string, string>> = Object.freeze({
  RS256: 'rsa',
  RS384: 'rsa',
  RS512: 'rsa',
  PS256: 'rsa',
  PS384: 'rsa',
  PS512: 'rsa',
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
});

export interface VerifyJwtSvidOptions {
  /** What is trusted: one trust domain's bundle, or several, of which the one of the subject's trust domain counts. */
  readonly bundle: TrustBundle | BundleSet;
  /** Who this receiver is. Must be among the token's audiences. Not empty. */
  readonly audience: string;
  /** Wall time in ms since the epoch. */
  readonly now: number;
  /** How far nbf and iat may lie in the future, in ms, >= 0. Default 60 000. exp is exact. */
  readonly clockSkewMs?: number | undefined;
}

export interface VerifiedJwtSvid {
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  readonly expiresAt: Date;
  readonly issuedAt: Date | undefined;
  /** Every claim, those above included. */
  readonly claims: Readonly<Record<string, unknown>>;
}

const seconds = z.number().min(0).max(8_640_000_000_000);
const audienceName = z.string().min(1).max(2048);
const claimsSchema = z.looseObject({
  sub: z.string(),
  aud: z.union([audienceName, z.array(audienceName).min(1).max(32)]),
  exp: seconds,
  iat: seconds.optional(),
  nbf: seconds.optional(),
});
type Claims = z.output<typeof claimsSchema>;

/**
 * Verifies a JWT-SVID to the SPIFFE JWT-SVID standard: compact JWS; `typ`, when there, `JWT` or `JOSE`; an algorithm of
 * the standard's list; `sub` a SPIFFE ID with a path; the signature by a JWT-SVID key of that ID's own trust domain
 * (workload token keys never count); `exp`, and `nbf` and `iat` when there; and this audience. Nothing is cached.
 *
 * A JWT-SVID is a bearer token: whoever reads it can use it until it ends, at any receiver of its audience.
 *
 * Rejects with `SpiffeError`: `SPIFFE_JWT_MALFORMED`, `_TYPE`, `_SUBJECT`, `_TRUST_DOMAIN`, `_SIGNATURE`, `_EXPIRED`,
 * `_NOT_YET_VALID`, `_AUDIENCE`, `_DENIED`. The token never appears in a message.
 */
export async function verifyJwtSvid(token: string, options: VerifyJwtSvidOptions): Promise<VerifiedJwtSvid> {
  const { audience, now, clockSkewMs = defaultClockSkewMs } = options;
  requireTimes(now, clockSkewMs);
  if (typeof audience !== 'string' || audience === '') throw new RangeError('expected an audience that is not empty');
  const defect = compactJwsDefect(token);
  if (defect !== undefined) throw malformed(defect);
  const header = requireType(readJwsHeader(token));
  // Read before the signature is checked, because the subject says whose keys may have made it; used only after.
  const claims = readClaims(token);
  const spiffeId = readSubject(claims);
  const bundle = bundleFor(options.bundle, spiffeId.trustDomain);
  if (bundle === undefined) {
    throw new SpiffeError(
      'SPIFFE_JWT_TRUST_DOMAIN',
      `expected a JWT-SVID of trust domain ${trustedNames(options.bundle)}, got one for ${shown(spiffeId.toString())}`,
    );
  }
  await requireSignature(token, header, bundle);
  requireCurrent(claims, now, clockSkewMs);
  const audiences = Object.freeze(typeof claims.aud === 'string' ? [claims.aud] : [...claims.aud]);
  if (!audiences.includes(audience)) {
    throw new SpiffeError(
      'SPIFFE_JWT_AUDIENCE',
      `expected a JWT-SVID for ${shown(audience)}, got one for ${shown(audiences.join(' '))}`,
    );
  }
  const denied = bundle.denied.reasonFor({ spiffeId });
  if (denied !== undefined) {
    throw new SpiffeError('SPIFFE_JWT_DENIED', `expected a subject that is not on the deny list, but ${denied}`);
  }
  return Object.freeze({
    spiffeId,
    audience: audiences,
    expiresAt: new Date(claims.exp * 1000),
    issuedAt: claims.iat === undefined ? undefined : new Date(claims.iat * 1000),
    claims: Object.freeze({ ...claims }),
  });
}

function requireType(header: JwsHeader | undefined): JwsHeader & { readonly alg: string } {
  if (header === undefined) throw malformed('its header is not JSON');
  const { typ, alg } = header;
  const known = typeof alg === 'string' && Object.hasOwn(algorithms, alg);
  if (known && (typ === undefined || typ === 'JWT' || typ === 'JOSE')) return { ...header, alg };
  throw new SpiffeError(
    'SPIFFE_JWT_TYPE',
    `expected a token of typ JWT or JOSE, or none, with RS, PS or ES and SHA-2 as alg, got typ ${shown(typ)} and alg ${shown(alg)}`,
  );
}

function readClaims(token: string): Claims {
  let payload: unknown;
  try {
    payload = decodeJwt(token);
  } catch {
    throw malformed('its payload is not a JSON object');
  }
  const result = claimsSchema.safeParse(payload);
  if (result.success) return result.data;
  const wrong = result.error.issues.map((issue) => issue.path.slice(0, 1).join('.')).join(', ');
  throw malformed(`these claims are missing or of the wrong type: ${wrong}`);
}

function readSubject(claims: Claims): SpiffeId {
  try {
    const id = SpiffeId.parse(claims.sub);
    if (id.path !== '') return id;
  } catch {
    // Reported below.
  }
  throw new SpiffeError(
    'SPIFFE_JWT_SUBJECT',
    `expected the subject of a JWT-SVID to be a SPIFFE ID with a path, got ${shown(claims.sub)}`,
  );
}

async function requireSignature(
  token: string,
  { alg, kid }: JwsHeader & { readonly alg: string },
  bundle: TrustBundle,
): Promise<void> {
  for (const key of candidates(jwtKeysOf(bundle), alg, kid)) {
    try {
      await compactVerify(token, key, { algorithms: [alg] });
      return;
    } catch {
      // The next key may be the one, where the token names none.
    }
  }
  throw new SpiffeError(
    'SPIFFE_JWT_SIGNATURE',
    `expected a JWT-SVID signed by a JWT-SVID key of the bundle of ${bundle.trustDomain.name}, got one with key ID ${shown(kid)} that does not verify`,
  );
}

/** The key that `kid` names, or without one (it is optional, section 2.2) a few that could have made the signature. */
function candidates(keys: ReadonlyMap<string, KeyObject>, alg: string, kid: unknown): readonly KeyObject[] {
  const named = typeof kid === 'string' ? [keys.get(kid)] : kid === undefined ? [...keys.values()] : [];
  return named
    .filter((key) => key !== undefined)
    .filter((key) => (key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType) === algorithms[alg])
    .slice(0, maxUnnamedKeys);
}

function requireCurrent({ exp, nbf = 0, iat = 0 }: Claims, now: number, clockSkewMs: number): void {
  if (now >= exp * 1000) {
    throw new SpiffeError(
      'SPIFFE_JWT_EXPIRED',
      `expected a JWT-SVID valid at ${isoTime(now)}, got one that ended at ${isoTime(exp * 1000)}`,
    );
  }
  const begins = Math.max(nbf, iat) * 1000;
  if (now + clockSkewMs < begins) {
    throw new SpiffeError(
      'SPIFFE_JWT_NOT_YET_VALID',
      `expected a JWT-SVID valid at ${isoTime(now)}, got one that begins at ${isoTime(begins)}`,
    );
  }
}

function malformed(why: string): SpiffeError {
  return new SpiffeError('SPIFFE_JWT_MALFORMED', `expected a JWT-SVID, but ${why}`);
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
