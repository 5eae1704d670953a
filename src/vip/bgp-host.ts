import { describeError, isMeshwrightError, notify, sleep } from '../core/index.js';
import type { Clock, Logger, Observer, Random } from '../core/index.js';
import { Backoff } from '../internal/backoff.js';
import type { BgpAnnouncer } from './bgp-announcer.js';
import type { BgpPeerState, BgpRoute } from './bgp/index.js';
import type { VipManagerEvent } from './events.js';
import type { HealthGate } from './health-gate.js';
import type { AddressPart } from './parts.js';
import { Quiescence } from './quiescence.js';
import type { VipQuiesce } from './quiescence.js';
import type { StatusBoard, VipReport } from './status-board.js';
import { hostPrefix } from './vip-assignment.js';
import type { BgpVipAssignment } from './vip-assignment.js';
import { aborted, following, until } from './wait.js';

export interface BgpHostOptions {
  readonly address: string;
  /** Name of the device: `lo` or a dummy. */
  readonly device: string;
  /** How long the kernel keeps the address when this process is gone. */
  readonly lifetimeSeconds: number;
  /** Announced as about to go for so long, before it is withdrawn. */
  readonly drainMs: number;
  /** The address stays for so long after it was withdrawn, for what is on its way. */
  readonly lingerMs: number;
  /** Holds new connections, before routers choose anew. */
  readonly quiesce: VipQuiesce | undefined;
  /** Waited for no longer. */
  readonly quiesceMs: number;
  readonly announcer: BgpAnnouncer;
  readonly addresses: AddressPart;
  readonly health: HealthGate;
  readonly board: StatusBoard;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer<VipManagerEvent>;
  readonly logger: Logger;
}

const failureBackoff = { firstMs: 100, maxMs: 5_000 };

/** For a router that honours GRACEFUL_SHUTDOWN to choose anew. With `quiesceMs` less than the second after which a SYN is sent again. */
const shutdownHoldMs = 250;

/**
 * One address announced by BGP from this node:
 *
 *     pending --healthy, address set, a peer is established--> announcing --unhealthy--> draining --> pending
 *                                                                  +------stop---------> draining --> withdrawn
 *
 * On gaining: address, then announcement. On losing: drain (while the peers are told to prefer others), withdrawal, a pause for
 * what is on its way, then the address. Connections that are open when routers choose anew are cut, since their packets then
 * go to another node: new ones are held before, and let in no more until the address is gone.
 */
export class BgpHost {
  readonly #options: BgpHostOptions;
  readonly #stop = new AbortController();
  readonly #destroyed = new AbortController();
  readonly #prefix: string;
  #assignment: BgpVipAssignment;
  #running: Promise<void> | undefined;
  #isPlaced = false;
  #isAnnounced = false;

  constructor(assignment: BgpVipAssignment, options: BgpHostOptions) {
    this.#assignment = assignment;
    this.#options = options;
    this.#prefix = hostPrefix(options.address);
  }

  start(): void {
    if (!this.#stop.signal.aborted) this.#running ??= this.#run();
  }

  /** Other attributes or another name, without a withdrawal in between. */
  update(assignment: BgpVipAssignment): void {
    this.#assignment = assignment;
    if (this.#isAnnounced) {
      this.#options.announcer.announce(this.#route());
      this.#reportPeers(this.#options.announcer.peers.current);
    }
  }

  /** Drains, withdraws and removes; resolves when that is done. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('no longer assigned to this node'));
    await this.#running;
  }

  destroy(): void {
    this.#destroyed.abort(new Error('destroyed'));
    this.#stop.abort(new Error('destroyed'));
  }

  /** Starts the address's lifetime in the kernel over. */
  refresh(): void {
    const { address, addresses, device, lifetimeSeconds, logger } = this.#options;
    if (!this.#isPlaced) return;
    addresses.refresh({ ip: address, device }, lifetimeSeconds).catch((error: unknown) => {
      logger.warn('a virtual IP could not be refreshed on its device', { address, error: describeError(error) });
    });
  }

  async #run(): Promise<void> {
    const { address, clock, health, random, observer } = this.#options;
    const { signal } = this.#stop;
    const backoff = new Backoff(failureBackoff, random);
    while (!signal.aborted) {
      try {
        if (!health.healthy.current) {
          this.#report({ state: 'pending', reason: 'this node is not healthy' });
          await until(health.healthy, (healthy) => healthy, signal);
        }
        await this.#announceWhileHealthy(signal);
        backoff.reset();
      } catch (error) {
        if (signal.aborted) break;
        this.#report({ state: 'pending', reason: describeError(error) });
        const code = isMeshwrightError(error) ? error.code : 'unknown';
        notify(observer, { type: 'vip.failure', name: this.#assignment.name, address, code });
        await sleep(clock, backoff.nextMs(), { signal }).catch(() => undefined);
      }
    }
    this.#report({ state: 'withdrawn', reason: describeError(signal.reason) });
  }

  async #announceWhileHealthy(signal: AbortSignal): Promise<void> {
    const { address, addresses, announcer, device, health, lifetimeSeconds } = this.#options;
    if (!announcer.configured) throw new Error('no BGP speaker is configured on this node');
    using end = following([signal]);
    const unhealthy = health.healthy.subscribe((healthy) => {
      if (!healthy) end.abort(new Error('this node is not healthy'));
    });
    try {
      await addresses.add({ ip: address, device }, lifetimeSeconds);
      this.#isPlaced = true;
      end.signal.throwIfAborted();
      announcer.announce(this.#route());
      this.#isAnnounced = true;
      using _ = announcer.peers.subscribe((peers) => this.#reportPeers(peers));
      this.#reportPeers(announcer.peers.current);
      await aborted(end.signal);
    } finally {
      unhealthy[Symbol.dispose]();
      if (!this.#destroyed.signal.aborted) await this.#end(describeError(end.signal.reason));
    }
  }

  async #end(reason: string): Promise<void> {
    const { address, addresses, device } = this.#options;
    using _ = this.#isAnnounced ? await this.#withdraw(reason) : undefined;
    if (!this.#isPlaced || this.#destroyed.signal.aborted) return;
    this.#isPlaced = false;
    await addresses.remove({ ip: address, device });
  }

  /** Returns what holds new connections. */
  async #withdraw(reason: string): Promise<Disposable> {
    const { announcer, clock, drainMs, lingerMs } = this.#options;
    this.#isAnnounced = false;
    this.#report({ state: 'draining', reason });
    // A node that is not healthy must not get one more connection.
    if (drainMs > 0 && this.#stop.signal.aborted) await this.#drain();
    const held = await this.#quiesce();
    if (this.#destroyed.signal.aborted) return held;
    announcer.withdraw(this.#prefix);
    if (lingerMs > 0) await sleep(clock, lingerMs, { keepAlive: true });
    return held;
  }

  async #drain(): Promise<void> {
    const { announcer, clock, drainMs, quiesce } = this.#options;
    // Routers that honour it choose anew now, and not at the withdrawal; others would send to a node that is held for long.
    const heldMs = quiesce === undefined ? 0 : Math.min(drainMs, shutdownHoldMs);
    {
      using _ = await this.#quiesce();
      if (this.#destroyed.signal.aborted) return;
      announcer.drain(this.#prefix);
      if (heldMs > 0) await sleep(clock, heldMs, { keepAlive: true });
    }
    if (drainMs > heldMs) await sleep(clock, drainMs - heldMs, { keepAlive: true });
  }

  #quiesce(): Promise<Quiescence> {
    const { address, quiesce, quiesceMs, clock, observer, logger } = this.#options;
    const { name } = this.#assignment;
    const { signal } = this.#destroyed;
    return Quiescence.begin({ name, address, quiesce, quiesceMs, clock, observer, logger, signal });
  }

  #route(): BgpRoute {
    const { communities, largeCommunities, localPreference, med, prepend, peers } = this.#assignment;
    return {
      prefix: this.#prefix,
      attributes: { communities, largeCommunities, localPreference, med, prepend },
      peers,
    };
  }

  #reportPeers(states: readonly BgpPeerState[]): void {
    if (!this.#isAnnounced) return;
    const { peers } = this.#assignment;
    const mine = states.filter(({ address, name }) => peers?.includes(name) !== false || peers.includes(address));
    const established = mine.filter(({ state }) => state === 'established');
    const reason = `announced to ${String(established.length)} of ${String(mine.length)} BGP peers`;
    this.#report({ state: established.length > 0 ? 'announcing' : 'pending', reason });
  }

  #report(report: VipReport): void {
    const { address, board, device } = this.#options;
    board.set(address, { name: this.#assignment.name, mode: 'bgp', device }, report);
  }
}
