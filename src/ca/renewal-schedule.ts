import type { BackoffOptions } from '../internal/backoff.js';
import type { Random } from '../core/index.js';

/** When an identity of a given lifetime is renewed, and how hard it is tried; everything scales with the lifetime. */
export interface RenewalSchedule {
  readonly renewAtMs: number;
  readonly backoff: BackoffOptions;
  /** From here on failures are warnings: the first attempts were news at most. */
  readonly lateFromMs: number;
  /** From here on failures are errors, and a candidate is published even if it could not be prepared for. */
  readonly urgentFromMs: number;
}

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

/** At 80 % of the lifetime, up to 2 % earlier so that agents that joined together do not renew together. */
export function renewalSchedule(receivedAtMs: number, notAfterMs: number, random: Random): RenewalSchedule {
  const lifetimeMs = Math.max(0, notAfterMs - receivedAtMs);
  return {
    renewAtMs: Math.floor(receivedAtMs + lifetimeMs * (0.8 - 0.02 * random.fraction())),
    lateFromMs: receivedAtMs + lifetimeMs * 0.85,
    urgentFromMs: receivedAtMs + lifetimeMs * 0.9,
    backoff: {
      firstMs: clamp(lifetimeMs * 0.01, 20, 5000),
      maxMs: clamp(lifetimeMs * 0.04, 100, 60_000),
    },
  };
}

/** How long one attempt may take when the identity ends in `leftMs`: there must be time for another. */
export function attemptTimeoutMs(leftMs: number): number {
  return clamp(leftMs / 2, 250, 15_000);
}
