import { kernelLifetimeMs, largestLifetimeSeconds } from './addresses/index.js';
import { VipError } from './errors.js';
import type { ProbeTimings } from './l2/index.js';

/**
 * The times of one ownership, reckoned so that the kernel of a dead or frozen owner has removed the address before the next
 * owner puts it on. All from one monotonic clock; docs/adr/0015-an-address-outlives-no-lease.md has the arithmetic.
 *
 *     sent ---------------- ttl ----------------|-- probe ---|
 *       |-- answered, refreshed --- kernel lifetime at most --|
 */
export interface LeaseTiming {
  readonly ttlMs: number;
  readonly renewEveryMs: number;
  /** A renewal that takes longer is given up. */
  readonly renewWithinMs: number;
  /** So long before its end we act as if it had ended. */
  readonly guardMs: number;
  /** The address's lifetime in the kernel. */
  readonly lifetimeSeconds: number;
  /** How long any next owner probes at the least, after the lease has ended. */
  readonly probeMs: number;
  /** A new owner may hold the lease so long at the most, find another station, and give it back without having announced. */
  readonly provenAfterMs: number;
}

/** What a renewal may take, and the address still be refreshed after it. */
const answerMs = (ttlMs: number): number => Math.max(100, Math.min(5_000, ttlMs * 0.08));

/**
 * `fast` of `L2Link`, shortened: the probe is part of the failover time, and a station that is alive answers within
 * milliseconds. 180 to 230 ms in all.
 */
export const managerProbe: ProbeTimings = Object.freeze({
  waitMs: 10,
  count: 3,
  minIntervalMs: 50,
  maxIntervalMs: 70,
  listenMs: 80,
});

/** The shortest that a probe with these timings takes. */
export function shortestProbeMs({ count, minIntervalMs, listenMs }: ProbeTimings): number {
  return (count - 1) * minIntervalMs + listenMs;
}

export function longestProbeMs({ count, waitMs, maxIntervalMs, listenMs }: ProbeTimings): number {
  return waitMs + (count - 1) * maxIntervalMs + listenMs;
}

/** Throws `VIP_CONFIGURATION_INVALID` where the lease is too short for a kernel that counts in seconds. */
export function leaseTiming(ttlMs: number, probe: ProbeTimings): LeaseTiming {
  const probeMs = shortestProbeMs(probe);
  const lifetimeSeconds = largestLifetimeSeconds(ttlMs + probeMs - answerMs(ttlMs));
  if (lifetimeSeconds < 1) {
    const message = `a lease of ${String(ttlMs)} ms is too short with a probe of ${String(probeMs)} ms: together they must be at least ${String(Math.ceil(kernelLifetimeMs(1) + answerMs(ttlMs)))} ms`;
    throw new VipError('VIP_CONFIGURATION_INVALID', message, { fields: { leaseTtlMs: ttlMs } });
  }
  return Object.freeze({
    ttlMs,
    renewEveryMs: Math.min(10_000, ttlMs / 4),
    renewWithinMs: ttlMs / 3,
    guardMs: Math.min(50, ttlMs / 24),
    lifetimeSeconds,
    probeMs,
    // An acquisition and a renewal that are answered late, the probes with the pause for a late kernel, a slow release.
    provenAfterMs: 2 * ttlMs + 2 * longestProbeMs(probe) + 2_500,
  });
}

/** Whether an address that is refreshed now is certainly gone before the next owner has it, if nothing more is heard of us. */
export function mayRefresh(nowMs: number, validUntilMs: number, timing: LeaseTiming): boolean {
  return nowMs + kernelLifetimeMs(timing.lifetimeSeconds) <= validUntilMs + timing.probeMs;
}

/** From the death of an owner to the next one's first announcement, at most; `requestMs` is what a request to the store takes. */
export function failoverBoundMs(ttlMs: number, probe: ProbeTimings, requestMs: number): number {
  // What stores add so that clocks need not run equally fast; see LeaseView of meshwright/etcd.
  const storeMarginMs = 5 + ttlMs / 200;
  return ttlMs + storeMarginMs + longestProbeMs(probe) + 2 * requestMs;
}
