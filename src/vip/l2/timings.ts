import { VipError } from '../errors.js';

/** How an address is probed before it is claimed; names and meaning are those of RFC 5227 section 1.1, in ms. */
export interface ProbeTimings {
  /** Random delay before the first probe, 0 to this (PROBE_WAIT). */
  readonly waitMs: number;
  /** Probes sent (PROBE_NUM), 1 to 20. */
  readonly count: number;
  /** Between probes: random, from `minIntervalMs` (PROBE_MIN) to `maxIntervalMs` (PROBE_MAX). */
  readonly minIntervalMs: number;
  readonly maxIntervalMs: number;
  /** Listening after the last probe before the address counts as free (ANNOUNCE_WAIT). */
  readonly listenMs: number;
}

export type ProbeTimingsChoice = 'fast' | 'rfc5227' | Partial<ProbeTimings>;

export interface AnnounceTimings {
  /** Announcements that follow the first. Default 5. */
  readonly burst: number;
  /** Between those. Default 1000. */
  readonly burstIntervalMs: number;
  /** After them, for as long as the address is announced: random, from `minRepeatMs` to `maxRepeatMs`. Default 30,000 and 60,000. */
  readonly minRepeatMs: number;
  readonly maxRepeatMs: number;
  /** At most one defence per this (DEFEND_INTERVAL of RFC 5227). Default 10,000. */
  readonly defendIntervalMs: number;
  /** Announcements of all addresses of the link together, per second; more wait their turn. Default 1000. */
  readonly perSecond: number;
}

/**
 * `fast` departs from RFC 5227: its 4 to 7 seconds would be the failover time, and it was written for links on which a
 * station may take seconds to answer. At most 380 ms in all.
 */
const probePresets: Readonly<Record<'fast' | 'rfc5227', ProbeTimings>> = {
  fast: { waitMs: 20, count: 3, minIntervalMs: 80, maxIntervalMs: 120, listenMs: 120 },
  rfc5227: { waitMs: 1000, count: 3, minIntervalMs: 1000, maxIntervalMs: 2000, listenMs: 2000 },
};

const announceDefaults: AnnounceTimings = {
  burst: 5,
  burstIntervalMs: 1000,
  minRepeatMs: 30_000,
  maxRepeatMs: 60_000,
  defendIntervalMs: 10_000,
  perSecond: 1000,
};

/** Fills in what is left out (from `fast`) and checks bounds. Throws `VIP_CONFIGURATION_INVALID`. */
export function resolveProbeTimings(choice: ProbeTimingsChoice = 'fast'): ProbeTimings {
  if (typeof choice === 'string' && !Object.hasOwn(probePresets, choice)) {
    throw invalid('probe', `"fast", "rfc5227" or timings, got ${JSON.stringify(choice)}`);
  }
  const timings =
    typeof choice === 'string' ? probePresets[choice] : { ...probePresets.fast, ...withoutUndefined(choice) };
  const { waitMs, count, minIntervalMs, maxIntervalMs, listenMs } = timings;
  for (const [name, value] of Object.entries({ waitMs, minIntervalMs, maxIntervalMs, listenMs }))
    bounded(`probe.${name}`, value, 0, 60_000);
  if (!Number.isInteger(count) || count < 1 || count > 20)
    throw invalid('probe.count', `1 to 20, got ${String(count)}`);
  if (maxIntervalMs < minIntervalMs) throw invalid('probe.maxIntervalMs', 'at least minIntervalMs');
  return Object.freeze({ ...timings });
}

/** Fills in defaults and checks bounds. Throws `VIP_CONFIGURATION_INVALID`. */
export function resolveAnnounceTimings(choice: Partial<AnnounceTimings> = {}): AnnounceTimings {
  const timings = { ...announceDefaults, ...withoutUndefined(choice) };
  if (!Number.isInteger(timings.burst) || timings.burst < 0 || timings.burst > 100)
    throw invalid('announce.burst', `0 to 100, got ${String(timings.burst)}`);
  bounded('announce.burstIntervalMs', timings.burstIntervalMs, 50, 60_000);
  bounded('announce.minRepeatMs', timings.minRepeatMs, 100, 86_400_000);
  bounded('announce.maxRepeatMs', timings.maxRepeatMs, timings.minRepeatMs, 86_400_000);
  bounded('announce.defendIntervalMs', timings.defendIntervalMs, 100, 3_600_000);
  bounded('announce.perSecond', timings.perSecond, 1, 100_000);
  return Object.freeze(timings);
}

function withoutUndefined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

function bounded(name: string, value: number, least: number, most: number): void {
  if (!(typeof value === 'number' && value >= least && value <= most))
    throw invalid(name, `${String(least)} to ${String(most)} ms, got ${String(value)}`);
}

function invalid(name: string, expected: string): VipError {
  return new VipError('VIP_CONFIGURATION_INVALID', `expected option ${name} to be ${expected}`);
}
