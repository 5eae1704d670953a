import { describeError, isMeshwrightError, notify, sleep } from '../core/index.js';
import type { Clock, LeaseOwner, LeaseStore, Logger, Observer, Random } from '../core/index.js';
import { Backoff } from '../internal/backoff.js';
import { abandonOnAbort } from '../internal/single-flight.js';
import type { VipManagerEvent } from './events.js';
import type { HealthGate } from './health-gate.js';
import type { HeldLease, LeaseKeeper } from './held-lease.js';
import { kernelLifetimeMs } from './addresses/index.js';
import { LeaseContest } from './lease-contest.js';
import type { FormerOwner } from './lease-contest.js';
import type { LeaseTiming } from './lease-timing.js';
import type { LinkPool } from './link-pool.js';
import type { AddressPart, LinkPart } from './parts.js';
import type { StatusBoard, VipReport } from './status-board.js';
import { aborted, following, until } from './wait.js';

export interface L2OwnerOptions {
  readonly node: string;
  readonly address: string;
  /** Name of the interface. */
  readonly device: string;
  readonly timing: LeaseTiming;
  readonly leaseName: string;
  readonly leases: LeaseStore;
  readonly keeper: LeaseKeeper;
  readonly links: LinkPool;
  readonly addresses: AddressPart;
  readonly health: HealthGate;
  readonly board: StatusBoard;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer<VipManagerEvent>;
  readonly logger: Logger;
}

/** Another station has the address. */
class Conflict extends Error {
  readonly mac: string;
  readonly when: 'probing' | 'announcing';

  constructor(mac: string, when: 'probing' | 'announcing') {
    super(`another station has the address: ${mac}`);
    this.mac = mac;
    this.when = when;
  }
}

/** Looks at a conflict while announcing, before even the station with the lower MAC address yields. */
const conflictLooks = 4;
const releaseWithinMs = 1_000;
/** How long an owner that leaves in order waits for somebody to hand over to. */
const successorWithinMs = 100;
const failureBackoff = { firstMs: 100, maxMs: 5_000 };
const conflictBackoff = { firstMs: 1_000, maxMs: 120_000 };

/** How long the kernel of an owner that vanished may keep the address after the lease (addresses/lifetime.ts). */
const lateKernelMs = 1_000;
const reprobeMs = 50;

/**
 * One address on layer 2, on this node:
 *
 *     pending --lease--> probing --free--> announcing --lease ended, unhealthy, link down, stop--> pending, withdrawn
 *                           |                  |
 *                           +--taken--> conflicted <--other station goes on--+        (after a pause: pending)
 *
 * The order is what keeps two nodes apart. On gaining: lease, probe, a renewal not older than what the address's lifetime in
 * the kernel allows, address, announcement. On losing: announcement and address first, then the lease. Who leaves in order
 * offers the lease before that, so that its release hands it to a node that stands by: one request between the two.
 */
export class L2Owner {
  name: string;
  readonly #options: L2OwnerOptions;
  readonly #contest: LeaseContest;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  /** While the address is announced. */
  #announced: HeldLease | undefined;
  /** Set while the address may be on the device: takes it away, and sends that request before it returns. */
  #takeAway: (() => Promise<void>) | undefined;
  #comeBack: (() => void) | undefined;
  /** Until then the kernel certainly has the address. */
  #keptUntilMs = -Infinity;
  #isLeaving = false;
  #judging = false;

  constructor(name: string, options: L2OwnerOptions) {
    this.name = name;
    this.#options = options;
    const { leases, leaseName, node, clock, logger, timing } = options;
    const onOwner = (owner: LeaseOwner): void => this.#report(ownedBy(owner));
    const { ttlMs, provenAfterMs } = timing;
    this.#contest = new LeaseContest({ leases, leaseName, node, clock, logger, ttlMs, provenAfterMs, onOwner });
  }

  start(): void {
    if (!this.#stop.signal.aborted) this.#running ??= this.#run();
  }

  /** Withdraws, removes and releases; resolves when that is done. */
  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      if (this.#announced !== undefined) await this.#offer(this.#announced);
      this.#stop.abort(new Error('no longer assigned'));
      await this.#running;
    })();
    return this.#stopping;
  }

  /** Takes the address away at once and leaves the rest to time. */
  destroy(): void {
    this.#stop.abort(new Error('destroyed'));
    void this.#takeAway?.();
  }

  /** The name of the assignment has changed, nothing else. */
  rename(name: string): void {
    this.name = name;
    const status = this.#options.board.get(this.#options.address);
    if (status !== undefined) this.#report(status);
  }

  async #run(): Promise<void> {
    const { clock, random, observer, address } = this.#options;
    const { signal } = this.#stop;
    const afterFailure = new Backoff(failureBackoff, random);
    const afterConflict = new Backoff(conflictBackoff, random);
    this.#report({ state: 'pending', reason: 'starting' });
    while (!signal.aborted) {
      try {
        if (await this.#turn(signal)) {
          afterFailure.reset();
          afterConflict.reset();
        }
      } catch (error) {
        if (signal.aborted) break;
        let delayMs: number;
        if (error instanceof Conflict) {
          const { mac, when } = error;
          delayMs = afterConflict.nextMs();
          this.#report({ state: 'conflicted', reason: `${error.message}; tried again later` });
          notify(observer, { type: 'vip.conflict', name: this.name, address, mac, when });
        } else {
          delayMs = afterFailure.nextMs();
          this.#report({ state: 'pending', reason: describeError(error) });
          const code = isMeshwrightError(error) ? error.code : 'unknown';
          notify(observer, { type: 'vip.failure', name: this.name, address, code });
        }
        await sleep(clock, delayMs, { signal }).catch(() => undefined);
      }
    }
    this.#report({ state: 'withdrawn', reason: 'no longer assigned to this node' });
  }

  /** Once from wanting the address to having lost it. True when it was announced in between. */
  async #turn(signal: AbortSignal): Promise<boolean> {
    const { device, health, links } = this.#options;
    if (!health.healthy.current) {
      this.#report({ state: 'pending', reason: 'this node is not healthy' });
      await until(health.healthy, (healthy) => healthy, signal);
    }
    const link = await links.use(device);
    try {
      if (!link.state.current.up) {
        this.#report({ state: 'pending', reason: `the interface ${device} is down or away` });
        await until(link.state, ({ up }) => up, signal);
      }
      return await this.#contend(link, signal);
    } finally {
      await links.release(device);
    }
  }

  async #contend(link: LinkPart, signal: AbortSignal): Promise<boolean> {
    const { board, address, health, keeper, timing } = this.#options;
    const first = board.get(address);
    if (first?.owner === undefined) this.#report({ state: 'pending', reason: 'waiting for the lease store' });
    const chance = await this.#contest.chance(signal);
    const isFit = health.healthy.current && link.state.current.up;
    if (!isFit && !('won' in chance)) return false;
    const won = 'won' in chance ? chance.won : await this.#contest.take(chance.lastOwner);
    if (!('lease' in won)) {
      this.#report(ownedBy(won));
      return false;
    }
    const { lease, sentMs, before } = won;
    this.#notifyLease('acquired', lease.fencingToken);
    const held = keeper.hold(lease, timing, sentMs, () => this.#refresh(held));
    if (isFit) return this.#ownWhile(held, link, before, signal);
    await this.#letGo(held);
    return false;
  }

  /** Waits for somebody who stands by to answer, if anybody does. */
  async #offer(held: HeldLease): Promise<void> {
    const { clock, leases, node } = this.#options;
    if (leases.offer === undefined) return;
    this.#report({ state: 'draining', reason: 'no longer assigned; looking for a successor', owner: node });
    using end = following([this.#stop.signal, held.ended]);
    const timer = clock.timer(successorWithinMs, () => end.abort(new Error('nobody stands by')));
    try {
      await abandonOnAbort(leases.offer(held.lease, { signal: end.signal }), end.signal);
    } catch {
      // Then it is given back to nobody, and taken by whoever comes first.
    } finally {
      timer.cancel();
    }
  }

  async #ownWhile(held: HeldLease, link: LinkPart, before: FormerOwner, signal: AbortSignal): Promise<boolean> {
    const { health } = this.#options;
    using end = following([signal, held.ended]);
    const unhealthy = health.healthy.subscribe((healthy) => {
      if (!healthy) end.abort(new Error('this node is not healthy'));
    });
    const linkDown = link.state.subscribe(({ up }) => {
      if (!up) end.abort(new Error(`the interface ${this.#options.device} went down`));
    });
    try {
      return await this.#own(held, link, before, end);
    } finally {
      unhealthy[Symbol.dispose]();
      linkDown[Symbol.dispose]();
      await this.#letGo(held);
    }
  }

  async #own(held: HeldLease, link: LinkPart, before: FormerOwner, end: AbortController): Promise<boolean> {
    const { address, addresses, device, keeper, node, timing } = this.#options;
    if (before !== 'left') {
      this.#report({
        state: 'probing',
        reason: 'owned; asking the segment whether somebody else has the address',
        owner: node,
      });
      await this.#untilUnused(link, before, end.signal);
    }
    if (!held.mayRefresh) await keeper.renewNow(held);
    end.signal.throwIfAborted();
    if (!held.mayRefresh) {
      const message = `the lease store is too slow for a lease of ${String(timing.ttlMs)} ms: raise leaseTtlMs`;
      throw new Error(message);
    }
    const own = { ip: address, device };
    const announced: { by?: ReturnType<LinkPart['announce']> } = {};
    let isPlaced = false;
    let removing: Promise<void> | undefined;
    this.#keptUntilMs = this.#lifetimeEndMs();
    const adding = addresses.add(own, timing.lifetimeSeconds);
    this.#comeBack = () => announced.by?.reannounce();
    this.#isLeaving = false;
    this.#takeAway = () => {
      this.#isLeaving = true;
      announced.by?.stop();
      // What was refused is not there, or is somebody else's.
      removing ??= isPlaced ? addresses.remove(own) : adding.then(() => addresses.remove(own), rethrowUnknown);
      return removing;
    };
    // The very moment that something ends it: no promise in between.
    const onEnd = (): void => void this.#takeAway?.().catch(() => undefined);
    end.signal.addEventListener('abort', onEnd, { once: true });
    await adding;
    isPlaced = true;
    end.signal.throwIfAborted();
    announced.by = link.announce(address, {
      // Renewals may come, and each too late to refresh the address: the kernel may have dropped it then.
      mayAnnounce: () => held.valid && !end.signal.aborted && this.#options.clock.monotonicMs() < this.#keptUntilMs,
      onConflict: ({ mac }) => void this.#judge(mac, link, () => announced.by?.reannounce(), end),
    });
    this.#announced = held;
    this.#report({ state: 'announcing', reason: before === 'left' ? 'owned; handed over' : 'owned', owner: node });
    await aborted(end.signal);
    if (end.signal.reason instanceof Conflict) throw end.signal.reason;
    this.#report({ state: 'pending', reason: describeError(end.signal.reason) });
    return true;
  }

  /**
   * Probes until nobody uses the address. One whose owner vanished may still be there: an idle machine's kernel can be late in
   * removing it. Throws a `Conflict` where it stays.
   */
  async #untilUnused(link: LinkPart, before: FormerOwner, signal: AbortSignal): Promise<void> {
    const { address, clock } = this.#options;
    const lateUntilMs = clock.monotonicMs() + (before === 'vanished' ? lateKernelMs : 0);
    for (;;) {
      const result = await link.probe(address, { signal });
      if (result.free) return;
      if (clock.monotonicMs() >= lateUntilMs) throw new Conflict(result.mac, 'probing');
      await sleep(clock, reprobeMs, { signal });
    }
  }

  /** A lifetime that starts now ends no sooner: 20 ms early at the most, and the time that the request takes is ours to lose. */
  #lifetimeEndMs(): number {
    return this.#options.clock.monotonicMs() + 1000 * this.#options.timing.lifetimeSeconds - 20;
  }

  /** After each renewal: the kernel keeps the address for another lifetime, if there is room for that. */
  #refresh(held: HeldLease): void {
    const { address, addresses, clock, device, timing, logger } = this.#options;
    // A renewal may be answered while the address is being removed: that must not bring it back.
    if (this.#takeAway === undefined || this.#isLeaving || !held.mayRefresh) return;
    const wasAway = clock.monotonicMs() >= this.#keptUntilMs;
    const keptUntilMs = this.#lifetimeEndMs();
    addresses.refresh({ ip: address, device }, timing.lifetimeSeconds).then(
      () => {
        this.#keptUntilMs = keptUntilMs;
        if (wasAway) this.#comeBack?.();
      },
      (error: unknown) => {
        logger.warn('a virtual IP could not be refreshed on its device', { address, error: describeError(error) });
      },
    );
  }

  /**
   * Another station goes on using the address. An owner that lost its lease is gone after a lease's time; whoever is still
   * there then does not share our lease store. Of two such stations the one with the higher MAC address yields, the other one
   * only to somebody who never does.
   */
  async #judge(mac: string, link: LinkPart, reannounce: () => void, end: AbortController): Promise<void> {
    const { address, clock, timing } = this.#options;
    if (this.#judging) return;
    this.#judging = true;
    try {
      for (let look = 1; look <= conflictLooks; look += 1) {
        await sleep(clock, kernelLifetimeMs(timing.lifetimeSeconds) + timing.probeMs, { signal: end.signal });
        const result = await link.probe(address, { signal: end.signal });
        if (result.free) return;
        const ours = link.state.current.mac;
        if (ours === undefined || ours > result.mac || look === conflictLooks) {
          end.abort(new Conflict(result.mac, 'announcing'));
          return;
        }
        reannounce();
      }
    } catch (error) {
      if (!end.signal.aborted) {
        this.#options.logger.warn('a conflict could not be looked into', { address, mac, error: describeError(error) });
      }
    } finally {
      this.#judging = false;
    }
  }

  /** Address first, then the lease; a lease whose address may still be there is left to end by itself. */
  async #letGo(held: HeldLease): Promise<void> {
    const { clock, keeper, leases, logger, address } = this.#options;
    let isGone = true;
    this.#announced = undefined;
    try {
      await this.#takeAway?.();
    } catch (error) {
      isGone = false;
      logger.error('a virtual IP could not be removed; the kernel does it when its lifetime ends', {
        ...{ address, error: describeError(error) },
      });
    }
    this.#takeAway = undefined;
    this.#comeBack = undefined;
    keeper.drop(held);
    const { fencingToken } = held.lease;
    if (held.end === 'lost' || held.end === 'expired') this.#notifyLease(held.end, fencingToken);
    if (!isGone || held.end === 'lost') return;
    const late = new AbortController();
    const timer = clock.timer(releaseWithinMs, () => late.abort(new Error('the lease store did not answer in time')));
    try {
      await abandonOnAbort(leases.release(held.lease, { signal: late.signal }), late.signal);
      this.#notifyLease('released', fencingToken);
    } catch (error) {
      logger.warn('a lease could not be given back; it ends by itself', { address, error: describeError(error) });
    } finally {
      timer.cancel();
    }
  }

  #notifyLease(change: 'acquired' | 'released' | 'lost' | 'expired', fencingToken: bigint): void {
    const { address, observer } = this.#options;
    notify(observer, { type: 'vip.lease', name: this.name, address, change, fencingToken });
  }

  #report(report: VipReport): void {
    const { address, board, device } = this.#options;
    board.set(address, { name: this.name, mode: 'l2', device }, report);
  }
}

/** An error of ours says that the address was not put on; after any other one it may have been. */
function rethrowUnknown(error: unknown): void {
  if (!isMeshwrightError(error)) throw error;
}

function ownedBy({ holder }: LeaseOwner): VipReport {
  return { state: 'pending', reason: `owned by ${holder}`, owner: holder };
}
