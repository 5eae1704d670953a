import type { X509Certificate } from 'node:crypto';
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
 * From a little before `nowMs` until `ttlMs` after it, within the issuer's life, in whole seconds as X.509 has them: the
 * beginning rounded down, the end up, so that a lifetime of seconds is never cut short by rounding.
 * Throws `CA_AUTHORITY_EXPIRED` when the issuer has less than two seconds left.
 */
export function leafValidity(issuer: X509Certificate, nowMs: number, ttlMs: number): Validity {
  const issuerFromMs = Date.parse(issuer.validFrom);
  const issuerToMs = Date.parse(issuer.validTo);
  if (nowMs < issuerFromMs || issuerToMs - nowMs < shortestMs) {
    const message = `the CA's root is valid from ${issuer.validFrom} to ${issuer.validTo}, and it is ${new Date(nowMs).toISOString()}`;
    throw new CaError('CA_AUTHORITY_EXPIRED', `${message}: rotate the root, or correct the clock`);
  }
  const fromMs = Math.floor((nowMs - Math.min(backdateMs, ttlMs)) / 1000) * 1000;
  const toMs = Math.ceil((nowMs + ttlMs) / 1000) * 1000;
  return { notBefore: new Date(Math.max(fromMs, issuerFromMs)), notAfter: new Date(Math.min(toMs, issuerToMs)) };
}
