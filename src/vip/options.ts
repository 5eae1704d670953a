import { MemoryLeaseStore, noObserver, silentLogger, systemClock, systemRandom } from '../core/index.js';
import type { Clock, LeaseStore, Logger, Observer, Random } from '../core/index.js';
import type { VipBgpOptions } from './bgp-announcer.js';
import { VipError } from './errors.js';
import type { VipEvent } from './events.js';
import type { VipHealth } from './health-gate.js';
import type { AnnounceTimings, ProbeTimings } from './l2/index.js';
import { managerProbe } from './lease-timing.js';
import type { VipParts } from './parts.js';
import type { VipQuiesce } from './quiescence.js';

export interface VipL2Options {
  /** For assignments that name none. */
  readonly interface?: string | undefined;
  /** What is left out: 3 probes 50 to 70 ms apart and 80 ms to listen. The same on all nodes, as `leaseTtlMs` is. */
  readonly probe?: Partial<ProbeTimings> | undefined;
  readonly announce?: Partial<AnnounceTimings> | undefined;
}

export interface VipManagerOptions {
  /** Name of this node: who a lease is held by. */
  readonly node: string;
  /** Shared by all nodes that may own an address. Default: a store in memory, which is right for one node alone. */
  readonly leases?: LeaseStore | undefined;
  /** Leases are named `<prefix><address>`: nodes of one segment share it, other segments have another one. Default `vip/`. */
  readonly leasePrefix?: string | undefined;
  readonly l2?: VipL2Options | undefined;
  readonly bgp?: VipBgpOptions | undefined;
  /** The device for addresses that are announced by BGP. Default `lo`. */
  readonly addressDevice?: string | undefined;
  /** What marks addresses as ours, 4 to 255; one per program on a machine. Default 109. */
  readonly addressTag?: number | undefined;
  /** How long the kernel keeps a BGP address after this process has died: 10 to 86 400 s. Default 60, with graceful restart 180. */
  readonly addressLifetimeSeconds?: number | undefined;
  /** Nothing is announced while it is false. A function is asked every 200 ms. Default: always healthy. */
  readonly health?: VipHealth | undefined;
  /** BGP: announced as about to go (GRACEFUL_SHUTDOWN) for so long before it is withdrawn. Default 0. */
  readonly drainMs?: number | undefined;
  /** BGP: the address stays for so long after it was withdrawn. Default 1000. */
  readonly lingerMs?: number | undefined;
  /**
   * BGP: called for an address before it is withdrawn (and before GRACEFUL_SHUTDOWN), to hold its new connections while those
   * under way end: routers are about to send their packets to another node, which would reset them. `signal` aborts when the
   * address is gone, or comes back. What it throws is logged. Default: none, and what is open is cut.
   *
   * Its price: a client whose SYN was dropped sends it again after about 1 s, and waits as long.
   */
  readonly quiesce?: VipQuiesce | undefined;
  /** BGP: withdrawn after so long, whatever `quiesce` does: 0 to 60 000. Default 500, less than that second. */
  readonly quiesceMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly observer?: Observer<VipEvent> | undefined;
  readonly logger?: Logger | undefined;
  /** @internal Simulated parts, for tests. */
  readonly parts?: VipParts | undefined;
}

export interface ResolvedVipOptions {
  readonly node: string;
  readonly leases: LeaseStore;
  readonly leasePrefix: string;
  readonly l2Interface: string | undefined;
  readonly probe: ProbeTimings;
  readonly announce: Partial<AnnounceTimings> | undefined;
  readonly addressDevice: string;
  readonly addressTag: number | undefined;
  readonly addressLifetimeSeconds: number;
  readonly health: VipHealth | undefined;
  readonly drainMs: number;
  readonly lingerMs: number;
  readonly quiesce: VipQuiesce | undefined;
  readonly quiesceMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer<VipEvent>;
  readonly logger: Logger;
}

/** Throws `VIP_CONFIGURATION_INVALID`. */
export function resolveVipOptions(options: VipManagerOptions): ResolvedVipOptions {
  const { node, leasePrefix = 'vip/', drainMs = 0, lingerMs = 1_000, clock = systemClock, bgp } = options;
  const restartSeconds = bgp?.gracefulRestart === undefined ? 0 : (bgp.gracefulRestart.restartTimeSeconds ?? 120);
  const { quiesce, quiesceMs = 500 } = options;
  const { addressLifetimeSeconds = Math.max(60, restartSeconds + 60) } = options;
  if (typeof node !== 'string' || !/^[\x21-\x7e]{1,253}$/.test(node)) {
    throw invalid('node', `1 to 253 printable ASCII characters without white space, got ${JSON.stringify(node)}`);
  }
  if (!/^[\x21-\x7e]{0,400}$/.test(leasePrefix)) throw invalid('leasePrefix', 'at most 400 printable ASCII characters');
  inBounds('drainMs', drainMs, 0, 3_600_000);
  inBounds('lingerMs', lingerMs, 0, 3_600_000);
  inBounds('quiesceMs', quiesceMs, 0, 60_000);
  if (quiesce !== undefined && typeof quiesce !== 'function')
    throw invalid('quiesce', `a function, got ${typeof quiesce}`);
  inBounds('addressLifetimeSeconds', addressLifetimeSeconds, 10, 86_400);
  const { interface: l2Interface, probe = {}, announce } = options.l2 ?? {};
  return Object.freeze({
    node,
    leases: options.leases ?? new MemoryLeaseStore({ clock }),
    leasePrefix,
    l2Interface,
    probe: Object.freeze({ ...managerProbe, ...probe }),
    announce,
    addressDevice: options.addressDevice ?? 'lo',
    addressTag: options.addressTag,
    addressLifetimeSeconds: Math.floor(addressLifetimeSeconds),
    health: options.health,
    drainMs,
    lingerMs,
    quiesce,
    quiesceMs,
    clock,
    random: options.random ?? systemRandom,
    observer: options.observer ?? noObserver,
    logger: options.logger ?? silentLogger,
  });
}

function inBounds(name: string, value: number, min: number, max: number): void {
  if (typeof value === 'number' && value >= min && value <= max) return;
  throw invalid(name, `${String(min)} to ${String(max)}, got ${String(value)}`);
}

function invalid(option: string, expected: string): VipError {
  return new VipError('VIP_CONFIGURATION_INVALID', `expected option ${option} to be ${expected}`, {
    fields: { option },
  });
}
