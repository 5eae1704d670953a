/**
 * Workload tokens: which workload speaks through a node's tunnel. A JWT that the mesh CA signs for an attested agent,
 * bound to that agent's TLS key (`cnf.jkt`, RFC 9449 form). Not a JWT-SVID, not a WIT-SVID, and never accepted as one:
 * own `typ`, own signing keys.
 */
import { timingSafeEqual } from 'node:crypto';
import { compactVerify } from 'jose';
import { z } from 'zod';
import { compactJwsDefect, readJsonPayload, readJwsHeader } from '../internal/compact-jws.js';
import { SpiffeError } from './errors.js';
import { readWorkloadId } from './mesh-ids.js';
import { shown } from '../internal/shown.js';
import { SpiffeId } from './spiffe-id.js';
import { workloadTokenKeyOf } from './trust-bundle.js';
import type { TrustBundle } from './trust-bundle.js';
import { defaultClockSkewMs, requireTimes } from './verify-x509-svid.js';

/** `typ` of the protected header. */
export const workloadTokenType = 'meshwright-workload+jwt';
/** The HTTP header that carries it in a tunnel's CONNECT. Not `authorization`: that one is the application's. */
export const workloadTokenHeader = 'x-meshwright-workload-token';
/** `aud` of tokens for the mesh's own tunnels. */
export const defaultWorkloadTokenAudience = 'meshwright-tunnel';
/** The one algorithm. */
export const workloadTokenAlgorithm = 'ES256';
/** Issuers should stay far below; one hour is the default. */
export const maxWorkloadTokenLifetimeMs = 24 * 60 * 60 * 1000;

export interface VerifyWorkloadTokenOptions {
  readonly bundle: TrustBundle;
  /** Who this receiver is; the mesh's tunnels use `meshwright-tunnel`. */
  readonly audience: string;
  /** Wall time in ms since the epoch. */
  readonly now: number;
  /** The node of the TLS peer that presents the token, from its verified SPIFFE ID. */
  readonly node: string;
  /** The thumbprint of that TLS peer's key, from its verified certificate. */
  readonly keyThumbprint: string;
  /** How far nbf and iat may lie in the future, in ms, >= 0. Default 60 000. exp is exact. */
  readonly clockSkewMs?: number | undefined;
}

export interface VerifiedWorkloadToken {
  readonly workload: SpiffeId;
  readonly node: string;
  readonly keyThumbprint: string;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly jti: string;
  /** `kid` of the key that signed it: it is worth nothing once the bundle no longer has that key. */
  readonly keyId: string;
}

const seconds = z.number().min(0).max(8_640_000_000_000);
const claimsSchema = z.object({
  iss: z.string(),
  sub: z.string(),
  aud: z.union([z.string(), z.array(z.string()).min(1).max(16)]),
  node: z.string().min(1),
  cnf: z.object({ jkt: z.string().length(43) }),
  iat: seconds,
  nbf: seconds,
  exp: seconds,
  jti: z.string().min(1).max(256),
});
type Claims = z.output<typeof claimsSchema>;

/**
 * Verifies a workload token that `node` presented over a TLS session with the key of `keyThumbprint`: type, signature by
 * a workload token key of the bundle, issuer, audience, times, subject, node, key. Nothing is cached. Replay on another
 * session of the same node is allowed by design; on another node's it is not.
 *
 * Rejects with `SpiffeError`: `SPIFFE_TOKEN_MALFORMED`, `_TYPE`, `_SIGNATURE`, `_ISSUER`, `_AUDIENCE`, `_NOT_YET_VALID`,
 * `_EXPIRED`, `_LIFETIME`, `_SUBJECT`, `_NODE_MISMATCH`, `_KEY_MISMATCH`, `_DENIED`. The token never appears in a message.
 */
export async function verifyWorkloadToken(
  token: string,
  options: VerifyWorkloadTokenOptions,
): Promise<VerifiedWorkloadToken> {
  const { bundle, audience, now, node, keyThumbprint, clockSkewMs = defaultClockSkewMs } = options;
  requireTimes(now, clockSkewMs);
  const { payload, keyId } = await verifiedPayload(token, bundle);
  const claims = readClaims(payload);
  requireIssuer(claims, bundle);
  requireAudience(claims, audience);
  requireCurrent(claims, now, clockSkewMs);
  const workload = readSubject(claims, bundle);
  if (!sameText(claims.node, node)) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_NODE_MISMATCH',
      `expected a workload token issued to the node that presents it, ${shown(node)}, got one of ${shown(claims.node)}`,
      { fields: { node, tokenNode: claims.node, workload: workload.toString() } },
    );
  }
  if (!sameText(claims.cnf.jkt, keyThumbprint)) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_KEY_MISMATCH',
      `expected a workload token bound to the key of the TLS peer, got one bound to another key, for ${workload.toString()} on ${shown(node)}`,
      { fields: { node, workload: workload.toString() } },
    );
  }
  const denied = bundle.denied.reasonFor({ spiffeId: workload, node });
  if (denied !== undefined) {
    throw new SpiffeError('SPIFFE_TOKEN_DENIED', `expected a source that is not on the deny list, but ${denied}`, {
      fields: { node, workload: workload.toString() },
    });
  }
  return Object.freeze({
    workload,
    node,
    keyThumbprint,
    issuedAt: new Date(claims.iat * 1000),
    expiresAt: new Date(claims.exp * 1000),
    jti: claims.jti,
    keyId,
  });
}

/** Header first, so that a token of another kind is told from a forged one; nothing of the payload is read before the signature holds. */
async function verifiedPayload(
  token: string,
  bundle: TrustBundle,
): Promise<{ readonly payload: Uint8Array; readonly keyId: string }> {
  const defect = compactJwsDefect(token);
  if (defect !== undefined) throw malformed(defect);
  const header = readJwsHeader(token);
  if (header === undefined) throw malformed('its header is not JSON');
  if (header.typ !== workloadTokenType || header.alg !== workloadTokenAlgorithm) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_TYPE',
      `expected a token of typ ${workloadTokenType} and alg ${workloadTokenAlgorithm}, got typ ${shown(header.typ)} and alg ${shown(header.alg)}`,
    );
  }
  const keyId = typeof header.kid === 'string' ? header.kid : '';
  const key = workloadTokenKeyOf(bundle, keyId);
  if (key === undefined) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_SIGNATURE',
      `expected a token signed by a workload token key of the bundle of ${bundle.trustDomain.name}, got key ID ${shown(header.kid)}`,
    );
  }
  try {
    const { payload } = await compactVerify(token, key, { algorithms: [workloadTokenAlgorithm] });
    return { payload, keyId };
  } catch (cause) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_SIGNATURE',
      'expected a token with a valid signature, got one that does not verify',
      { cause },
    );
  }
}

function readClaims(payload: Uint8Array): Claims {
  const value = readJsonPayload(payload);
  if (value === undefined) throw malformed('its payload is not JSON');
  const result = claimsSchema.safeParse(value);
  if (result.success) return result.data;
  throw malformed(
    `these claims are missing or of the wrong type: ${result.error.issues.map((issue) => issue.path.join('.')).join(', ')}`,
  );
}

function requireIssuer(claims: Claims, bundle: TrustBundle): void {
  const expected = `spiffe://${bundle.trustDomain.name}`;
  if (claims.iss === expected) return;
  throw new SpiffeError(
    'SPIFFE_TOKEN_ISSUER',
    `expected a workload token issued by ${expected}, got ${shown(claims.iss)}`,
  );
}

function requireAudience(claims: Claims, audience: string): void {
  const audiences = typeof claims.aud === 'string' ? [claims.aud] : claims.aud;
  if (audiences.includes(audience)) return;
  throw new SpiffeError(
    'SPIFFE_TOKEN_AUDIENCE',
    `expected a workload token for ${shown(audience)}, got one for ${shown(audiences.join(' '))}`,
  );
}

function requireCurrent(claims: Claims, now: number, clockSkewMs: number): void {
  const times = { nbf: claims.nbf * 1000, iat: claims.iat * 1000, exp: claims.exp * 1000 };
  if (times.exp <= times.nbf || times.exp - Math.min(times.iat, times.nbf) > maxWorkloadTokenLifetimeMs) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_LIFETIME',
      'expected a workload token made for at most 24 hours that ends after it begins, got another span',
    );
  }
  if (now >= times.exp) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_EXPIRED',
      `expected a workload token valid at ${isoTime(now)}, got one that ended at ${isoTime(times.exp)}`,
    );
  }
  const begins = Math.max(times.nbf, times.iat);
  if (now + clockSkewMs < begins) {
    throw new SpiffeError(
      'SPIFFE_TOKEN_NOT_YET_VALID',
      `expected a workload token valid at ${isoTime(now)}, got one that begins at ${isoTime(begins)}`,
    );
  }
}

function readSubject(claims: Claims, bundle: TrustBundle): SpiffeId {
  let id: SpiffeId | undefined;
  try {
    id = SpiffeId.parse(claims.sub);
  } catch {
    // Reported below, as every other wrong subject is.
  }
  if (id !== undefined && id.memberOf(bundle.trustDomain) && readWorkloadId(id) !== undefined) return id;
  throw new SpiffeError(
    'SPIFFE_TOKEN_SUBJECT',
    `expected the subject to be spiffe://${bundle.trustDomain.name}/ns/<namespace>/sa/<service account>, got ${shown(claims.sub)}`,
  );
}

/** In time that depends on the lengths only. */
function sameText(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function malformed(why: string): SpiffeError {
  return new SpiffeError('SPIFFE_TOKEN_MALFORMED', `expected a workload token, but ${why}`);
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
