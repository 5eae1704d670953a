import { isDeepStrictEqual } from 'node:util';
import { CoreError, describeError, notify } from '../core/index.js';
import type { Closable, LatestValue, Timer } from '../core/index.js';
import { AddressTable } from './addresses/index.js';
import { BfdService } from './bfd/index.js';
import { BgpAnnouncer } from './bgp-announcer.js';
import type { VipBgpOptions } from './bgp-announcer.js';
import { BgpHost } from './bgp-host.js';
import { BgpSpeaker } from './bgp/index.js';
import type { BgpPeerState } from './bgp/index.js';
import { VipError } from './errors.js';
import { HealthGate } from './health-gate.js';
import { LeaseKeeper } from './held-lease.js';
import { L2Link } from './l2/index.js';
import { L2Owner } from './l2-owner.js';
import { leaseTiming } from './lease-timing.js';
import { LinkPool } from './link-pool.js';
import { resolveVipOptions } from './options.js';
import type { ResolvedVipOptions, VipManagerOptions } from './options.js';
import type { AddressPart, VipParts } from './parts.js';
import { StatusBoard } from './status-board.js';
import { leaseTtlBounds, validateVipAssignments } from './vip-assignment.js';
import type { BgpVipAssignment, L2VipAssignment, VipAssignment } from './vip-assignment.js';
import type { VipStatus } from './vip-status.js';

/** What works for one address. What differs between two assignments and cannot be changed in place is in `identity`. */
interface Worker {
  readonly identity: unknown;
  readonly worker: L2Owner | BgpHost;
}

/** Addresses on `lo` are refreshed three times in their lifetime. */
const refreshesPerLifetime = 3;

/**
 * Virtual IPs of one node. Give every node of a cluster the same assignments (or to each those that it may serve): on layer 2
 * one of them owns each address at a time, by BGP all of them announce it.
 *
 * ```ts
 * await using vips = await VipManager.create({ node: 'node-a', leases, l2: { interface: 'eth0' } });
 * await vips.apply([{ name: 'shop/web', addresses: ['192.0.2.10'], mode: 'l2' }]);
 * for await (const { address, state, reason } of vips.changes()) console.log(address, state, reason);
 * ```
 *
 * Layer 2 keeps to: no address is announced by two nodes at a time, as long as they share a lease store and their clocks run
 * equally fast; after the death of an owner the next one announces within `leaseTtlMs` and 0.3 s (1.5 s by default), later only
 * where the dead machine's kernel is late in removing the address.
 *
 * Needs Linux, the native addon, CAP_NET_ADMIN (addresses), CAP_NET_RAW (layer 2), and CAP_NET_BIND_SERVICE to listen on BGP's
 * port. What is missing is named in the reason of the state, and tried again.
 */
export class VipManager implements Closable {
  readonly #options: ResolvedVipOptions;
  readonly #addresses: AddressPart;
  readonly #announcer: BgpAnnouncer;
  readonly #health: HealthGate;
  readonly #keeper: LeaseKeeper;
  readonly #links: LinkPool;
  readonly #board: StatusBoard;
  readonly #workers = new Map<string, Worker>();
  readonly #stopping = new Map<string, { readonly worker: Worker['worker']; readonly stopped: Promise<void> }>();
  /** One change of the BGP configuration at a time. */
  #turn: Promise<void> = Promise.resolve();
  #refresher: Timer | undefined;
  #leftoversKept: boolean;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  private constructor(options: ResolvedVipOptions, parts: VipParts, leftoversKept: boolean) {
    const { clock, observer, logger } = options;
    this.#options = options;
    this.#leftoversKept = leftoversKept;
    this.#addresses = parts.openAddresses();
    this.#announcer = new BgpAnnouncer(parts, logger);
    this.#links = new LinkPool((name) => parts.openLink(name));
    this.#keeper = new LeaseKeeper(options.leases, clock);
    this.#board = new StatusBoard(clock, observer, logger);
    this.#health = new HealthGate(options.health, clock, logger);
  }

  /**
   * Removes what an earlier run left on the devices, and starts the BGP speaker, if there is one. Throws
   * `VIP_CONFIGURATION_INVALID`, `VIP_CAPABILITY_MISSING`, `VIP_BGP_LISTEN_FAILED`, `VIP_BFD_WORKER_FAILED`,
   * `VIP_BFD_WORKER_MISSING`, `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`.
   */
  static async create(options: VipManagerOptions): Promise<VipManager> {
    const resolved = resolveVipOptions(options);
    // After a graceful restart the routers still send traffic to these; the first `apply` says which are to stay.
    const isRestarting = options.bgp?.gracefulRestart?.restarting === true;
    const manager = new VipManager(resolved, options.parts ?? realParts(resolved), isRestarting);
    try {
      await manager.#sweep(({ device }) => isRestarting && device === resolved.addressDevice);
      if (options.bgp !== undefined) await manager.#announcer.configure(options.bgp);
    } catch (error) {
      manager.destroy();
      throw error;
    }
    return manager;
  }

  /** Every assigned address as it is now. */
  get state(): readonly VipStatus[] {
    return this.#board.all;
  }

  /** The BGP peers; none without `bgp`. */
  get peers(): LatestValue<readonly BgpPeerState[]> {
    return this.#announcer.peers;
  }

  /** Yields the status of every address now, then each change; the newest per address where the reader is slow. Ends when `signal` aborts. */
  changes(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterable<VipStatus> {
    return this.#board.changes(options.signal);
  }

  /**
   * Makes the assignments these: starts what is new, withdraws what is gone, changes in place what can be. Nothing is done to
   * what is the same. Resolves when what is gone is withdrawn; what is new goes on by itself, see `state`.
   *
   * Throws `VIP_CONFIGURATION_INVALID` before anything has changed, and `CORE_CLOSED`.
   */
  async apply(assignments: readonly VipAssignment[]): Promise<void> {
    const wanted = new Map(
      validateVipAssignments(assignments).flatMap((assignment) =>
        assignment.addresses.map((address) => [address, this.#plan(address, assignment)] as const),
      ),
    );
    this.#checkOpen();
    const stopping: Promise<void>[] = [];
    for (const [address, { identity, worker }] of [...this.#workers]) {
      if (isDeepStrictEqual(wanted.get(address)?.identity, identity)) continue;
      this.#workers.delete(address);
      stopping.push(this.#stopWorker(address, worker));
    }
    for (const [address, plan] of wanted) {
      const existing = this.#workers.get(address);
      if (existing !== undefined) {
        plan.update(existing.worker);
        continue;
      }
      const worker = plan.make();
      this.#workers.set(address, { identity: plan.identity, worker });
      // Never two at work on one address.
      const before = this.#stopping.get(address);
      if (before === undefined) worker.start();
      else void before.stopped.then(() => worker.start());
    }
    this.#afterApply(wanted);
    await Promise.all(stopping);
  }

  /**
   * Replaces the BGP configuration; undefined ends BGP. Peers are changed one by one: those that are the same keep their
   * session. Another AS, router id or port makes a new speaker. Throws as `create`, and `CORE_CLOSED`.
   */
  configureBgp(bgp: VipBgpOptions | undefined): Promise<void> {
    const turn = this.#turn
      .catch(() => undefined)
      .then(() => {
        this.#checkOpen();
        return this.#announcer.configure(bgp);
      });
    this.#turn = turn;
    return turn;
  }

  /** Withdraws everything in order (see `drainMs`), gives back all leases, removes all addresses. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Layer 2 addresses are removed and nothing else is done: leases and BGP sessions end as after a crash. */
  destroy(_reason?: Error): void {
    this.#isClosed = true;
    for (const { worker } of [...this.#workers.values(), ...this.#stopping.values()]) worker.destroy();
    this.#end();
    this.#announcer.destroy();
    this.#links.destroy();
    this.#addresses.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    await this.#turn.catch(() => undefined);
    const stopping = [...this.#stopping.values()].map(({ stopped }) => stopped);
    await Promise.all([...stopping, ...[...this.#workers.values()].map(({ worker }) => worker.stop())]);
    this.#end();
    await this.#announcer.close();
    this.#addresses.close();
  }

  #end(): void {
    this.#refresher?.cancel();
    this.#keeper.close();
    this.#health.close();
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new CoreError('CORE_CLOSED', 'the VIP manager is closed');
  }

  #stopWorker(address: string, worker: Worker['worker']): Promise<void> {
    const stopped = worker.stop().finally(() => {
      if (this.#stopping.get(address)?.stopped === stopped) this.#stopping.delete(address);
      if (!this.#workers.has(address)) this.#board.forget(address);
    });
    this.#stopping.set(address, { worker, stopped });
    return stopped;
  }

  #plan(address: string, assignment: VipAssignment): Plan {
    return assignment.mode === 'l2' ? this.#l2Plan(address, assignment) : this.#bgpPlan(address, assignment);
  }

  #l2Plan(address: string, assignment: L2VipAssignment): Plan {
    const { clock, random, observer, logger, leases, leasePrefix, node, probe, l2Interface } = this.#options;
    const { name, leaseTtlMs = leaseTtlBounds.defaultMs, interface: device = l2Interface } = assignment;
    if (device === undefined) {
      const message = `virtual IP ${JSON.stringify(name)}: interface is missing, and the manager has no l2.interface`;
      throw new VipError('VIP_CONFIGURATION_INVALID', message, { fields: { vip: name, field: 'interface' } });
    }
    const timing = leaseTiming(leaseTtlMs, probe);
    return {
      identity: { mode: 'l2', device, leaseTtlMs },
      update: (worker) => {
        if (worker instanceof L2Owner && worker.name !== name) worker.rename(name);
      },
      make: () =>
        new L2Owner(name, {
          ...{ node, address, device, timing, leases, clock, random, observer, logger },
          leaseName: leasePrefix + address,
          ...{ keeper: this.#keeper, links: this.#links, addresses: this.#addresses },
          ...{ health: this.#health, board: this.#board },
        }),
    };
  }

  #bgpPlan(address: string, assignment: BgpVipAssignment): Plan {
    const { clock, random, observer, logger, addressDevice, addressLifetimeSeconds } = this.#options;
    const { drainMs, lingerMs, quiesce, quiesceMs } = this.#options;
    return {
      identity: { mode: 'bgp' },
      update: (worker) => {
        if (worker instanceof BgpHost) worker.update(assignment);
      },
      make: () =>
        new BgpHost(assignment, {
          ...{ address, drainMs, lingerMs, quiesce, quiesceMs, clock, random, observer, logger },
          ...{ device: addressDevice, lifetimeSeconds: addressLifetimeSeconds },
          ...{ announcer: this.#announcer, addresses: this.#addresses, health: this.#health, board: this.#board },
        }),
    };
  }

  #afterApply(wanted: ReadonlyMap<string, unknown>): void {
    const { clock, addressLifetimeSeconds } = this.#options;
    if (this.#leftoversKept) {
      this.#leftoversKept = false;
      this.#sweep(({ ip }) => wanted.has(ip)).catch((error: unknown) => {
        this.#options.logger.error('left-over virtual IPs could not be removed', { error: describeError(error) });
      });
      this.#announcer.routesComplete();
    }
    const everyMs = (1000 * addressLifetimeSeconds) / refreshesPerLifetime;
    const refresh = (): void => {
      for (const { worker } of this.#workers.values()) if (worker instanceof BgpHost) worker.refresh();
      this.#refresher = clock.timer(everyMs, refresh);
    };
    this.#refresher ??= clock.timer(everyMs, refresh);
  }

  async #sweep(keep: (address: { readonly ip: string; readonly device: string }) => boolean): Promise<void> {
    const { logger, observer } = this.#options;
    for (const { ip, device } of await this.#addresses.sweep(keep)) {
      logger.warn('removed a virtual IP that an earlier run had left', { address: ip, device });
      notify(observer, { type: 'vip.swept', address: ip, device });
    }
  }
}

interface Plan {
  readonly identity: unknown;
  update(worker: Worker['worker']): void;
  make(): Worker['worker'];
}

function realParts(options: ResolvedVipOptions): VipParts {
  const { clock, random, observer, logger, probe, announce, addressTag } = options;
  return {
    openLink: (name) => L2Link.open({ interface: name, probe, announce, clock, random, observer, logger }),
    openAddresses: () => new AddressTable({ tag: addressTag }),
    createSpeaker: (speaker) => BgpSpeaker.create({ ...speaker, clock, random, observer, logger }),
    createBfd: () => BfdService.create({ clock, observer, logger }),
  };
}
