import type { Validity } from './certificate.js';
import { CaError } from './errors.js';

/** How far back a certificate's life begins, for peers whose clock is behind. */
const backdateMs = 60_000;
const shortestMs = 2000;
const longestMs = 100 * 366 * 24 * 60 * 60 * 1000;

/** Throws `CA_REQUEST_INVALID` unless `ttlMs` is 2 000 ms to 100 years. */
export function requireTtl(ttlMs: number): number {
  if (ttlMs >= shortestMs && ttlMs <= longestMs) return ttlMs;
  throw new CaError('CA_REQUEST_INVALID', `expected a certificate lifetime of 2000 ms or more, got ${String(ttlMs)}`);
}

/**
 * From a little before `nowMs` until `ttlMs` after it, within the lives of all its `issuers`, in whole seconds as X.509 has
 * them: the beginning rounded down, the end up, so that a lifetime of seconds is never cut short by rounding.
 * Throws `CA_AUTHORITY_EXPIRED` when an issuer has less than two seconds left.
 */
export function leafValidity(issuers: Validity, nowMs: number, ttlMs: number): Validity {
  const issuerFromMs = issuers.notBefore.getTime();
  const issuerToMs = issuers.notAfter.getTime();
  if (nowMs < issuerFromMs || issuerToMs - nowMs < shortestMs) {
    const life = `from ${issuers.notBefore.toISOString()} to ${issuers.notAfter.toISOString()}`;
    const message = `the CA's certificates are valid ${life}, and it is ${new Date(nowMs).toISOString()}`;
    throw new CaError('CA_AUTHORITY_EXPIRED', `${message}: rotate the root, or correct the clock`);
  }
  const fromMs = Math.floor((nowMs - Math.min(backdateMs, ttlMs)) / 1000) * 1000;
  const toMs = Math.ceil((nowMs + ttlMs) / 1000) * 1000;
  return { notBefore: new Date(Math.max(fromMs, issuerFromMs)), notAfter: new Date(Math.min(toMs, issuerToMs)) };
}
