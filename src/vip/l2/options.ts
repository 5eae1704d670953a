import { noObserver, silentLogger, systemClock, systemRandom } from '../../core/index.js';
import type { Clock, Logger, Observer, Random } from '../../core/index.js';
import { VipError } from '../errors.js';
import type { L2Event } from './events.js';
import { resolveAnnounceTimings, resolveProbeTimings } from './timings.js';
import type { AnnounceTimings, ProbeTimings, ProbeTimingsChoice } from './timings.js';
import { openNativeTransport } from './transport.js';
import type { OpenTransport } from './transport.js';

export interface L2LinkOptions {
  /** Name of the interface that is to carry the addresses: the bridge or bond itself, not a port of it. */
  readonly interface: string;
  /** `fast` (default, at most 380 ms), `rfc5227` (4 to 7 s), or own timings; what these leave out is that of `fast`. */
  readonly probe?: ProbeTimingsChoice | undefined;
  readonly announce?: Partial<AnnounceTimings> | undefined;
  /** Packets about our addresses that are looked at per second and protocol; more are dropped and reported. Default 2000. */
  readonly maxPacketsPerSecond?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly observer?: Observer<L2Event> | undefined;
  readonly logger?: Logger | undefined;
  /** @internal Tests put a simulated link in place of the kernel's. */
  readonly openTransport?: OpenTransport | undefined;
}

export interface ResolvedL2LinkOptions {
  readonly interface: string;
  readonly probe: ProbeTimings;
  readonly announce: AnnounceTimings;
  readonly maxPacketsPerSecond: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer<L2Event>;
  readonly logger: Logger;
  readonly openTransport: OpenTransport;
}

/** Throws `VIP_CONFIGURATION_INVALID`. */
export function resolveL2LinkOptions(options: L2LinkOptions): ResolvedL2LinkOptions {
  const { maxPacketsPerSecond = 2000 } = options;
  // What the kernel takes as a name (dev_valid_name).
  if (typeof options.interface !== 'string' || !/^(?!\.{1,2}$)[^/:\s]{1,15}$/.test(options.interface)) {
    throw new VipError(
      'VIP_CONFIGURATION_INVALID',
      `expected option interface to be the name of a network interface, got ${JSON.stringify(options.interface)}`,
    );
  }
  if (!(maxPacketsPerSecond >= 10 && maxPacketsPerSecond <= 1_000_000)) {
    throw new VipError(
      'VIP_CONFIGURATION_INVALID',
      `expected option maxPacketsPerSecond to be 10 to 1000000, got ${String(maxPacketsPerSecond)}`,
    );
  }
  return Object.freeze({
    interface: options.interface,
    probe: resolveProbeTimings(options.probe),
    announce: resolveAnnounceTimings(options.announce),
    maxPacketsPerSecond,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    observer: options.observer ?? noObserver,
    logger: options.logger ?? silentLogger,
    openTransport: options.openTransport ?? openNativeTransport,
  });
}
