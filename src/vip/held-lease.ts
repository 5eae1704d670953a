import { setMaxListeners } from 'node:events';
import type { Clock, Lease, LeaseStore, Timer } from '../core/index.js';
import { abandonOnAbort } from '../internal/single-flight.js';
import { mayRefresh } from './lease-timing.js';
import type { LeaseTiming } from './lease-timing.js';

/** Why a lease is no longer held. */
export type LeaseEnd = 'lost' | 'expired' | 'dropped';

/** A lease that is held, renewed by its keeper. */
export class HeldLease {
  readonly lease: Lease;
  readonly timing: LeaseTiming;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  readonly #onRenewed: () => void;
  #validUntilMs: number;
  #end: LeaseEnd | undefined;
  #timer: Timer | undefined;
  /** @internal A renewal is under way. */
  renewing = false;

  /** @internal `sentMs`: monotonic time before the request that got it was sent. */
  constructor(lease: Lease, timing: LeaseTiming, sentMs: number, clock: Clock, onRenewed: () => void) {
    this.lease = lease;
    this.timing = timing;
    this.#clock = clock;
    this.#onRenewed = onRenewed;
    this.#validUntilMs = sentMs + timing.ttlMs;
    this.#arm();
  }

  /** Whether we own it now: asked before anything is said to the outside. */
  get valid(): boolean {
    return this.#end === undefined && this.#clock.monotonicMs() < this.#validUntilMs - this.timing.guardMs;
  }

  /** Whether the address may be put on, or kept, for its kernel lifetime from now. */
  get mayRefresh(): boolean {
    return this.valid && mayRefresh(this.#clock.monotonicMs(), this.#validUntilMs, this.timing);
  }

  /** Aborts when it is no longer held. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get end(): LeaseEnd | undefined {
    return this.#end;
  }

  /** @internal */
  renewed(sentMs: number): void {
    if (this.#end !== undefined) return;
    // A renewal that took longer than the lease does not bring it back: it may have had another owner meanwhile.
    if (this.#clock.monotonicMs() >= this.#validUntilMs - this.timing.guardMs) {
      this.finish('expired');
      return;
    }
    this.#validUntilMs = Math.max(this.#validUntilMs, sentMs + this.timing.ttlMs);
    this.#onRenewed();
  }

  /** @internal */
  finish(end: LeaseEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#timer?.cancel();
    this.#ended.abort(new Error(reasons[end]));
  }

  #arm(): void {
    const leftMs = this.#validUntilMs - this.timing.guardMs - this.#clock.monotonicMs();
    // Not moved at each renewal: when it fires too early, it is set for the rest.
    this.#timer = this.#clock.timer(Math.max(0, leftMs), () => {
      if (this.valid) this.#arm();
      else this.finish('expired');
    });
  }
}

const reasons: Readonly<Record<LeaseEnd, string>> = {
  lost: 'the lease was lost to another owner',
  expired: 'the lease could not be renewed in time',
  dropped: 'the lease is given back',
};

/** Leases of one time-to-live, renewed in one go. */
interface Round {
  readonly members: Set<HeldLease>;
  timer: Timer | undefined;
}

/** Renews held leases, all of one time-to-live at the same moment, so that a store can do it by one request. */
export class LeaseKeeper {
  readonly #store: LeaseStore;
  readonly #clock: Clock;
  readonly #rounds = new Map<number, Round>();

  constructor(store: LeaseStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Keeps `lease` until it ends, or `drop`. `onRenewed` is called after each renewal. */
  hold(lease: Lease, timing: LeaseTiming, sentMs: number, onRenewed: () => void): HeldLease {
    const held = new HeldLease(lease, timing, sentMs, this.#clock, onRenewed);
    const round = this.#rounds.get(timing.ttlMs) ?? { members: new Set(), timer: undefined };
    this.#rounds.set(timing.ttlMs, round);
    round.members.add(held);
    held.ended.addEventListener('abort', () => this.#forget(held), { once: true });
    round.timer ??= this.#timer(round, timing.renewEveryMs);
    return held;
  }

  /** Renews it no more. It is still held in the store, until it ends or is released. */
  drop(held: HeldLease): void {
    held.finish('dropped');
  }

  /** One renewal now, beside the regular ones. False when it failed or the lease is gone. */
  async renewNow(held: HeldLease): Promise<boolean> {
    const before = held.end;
    await this.#renew([held], held.timing);
    return before === undefined && held.valid;
  }

  /** Stops renewing everything. */
  close(): void {
    for (const { members, timer } of this.#rounds.values()) {
      timer?.cancel();
      for (const held of [...members]) held.finish('dropped');
    }
  }

  #timer(round: Round, everyMs: number): Timer {
    return this.#clock.timer(everyMs, () => {
      const [first] = round.members;
      round.timer = first === undefined ? undefined : this.#timer(round, everyMs);
      const due = [...round.members].filter(({ renewing }) => !renewing);
      if (first !== undefined) void this.#renew(due, first.timing);
    });
  }

  async #renew(due: readonly HeldLease[], { renewWithinMs }: LeaseTiming): Promise<void> {
    const late = new AbortController();
    setMaxListeners(0, late.signal);
    const timer = this.#clock.timer(renewWithinMs, () =>
      late.abort(new Error('the lease store did not answer in time')),
    );
    const sentMs = this.#clock.monotonicMs();
    await Promise.all(
      due.map(async (held) => {
        held.renewing = true;
        try {
          const renewing = this.#store.renew(held.lease, { signal: late.signal });
          if (await abandonOnAbort(renewing, late.signal)) held.renewed(sentMs);
          else held.finish('lost');
        } catch {
          // Unknown: the clock decides.
        } finally {
          held.renewing = false;
        }
      }),
    );
    timer.cancel();
  }

  #forget(held: HeldLease): void {
    const round = this.#rounds.get(held.timing.ttlMs);
    round?.members.delete(held);
    if (round?.members.size !== 0) return;
    round.timer?.cancel();
    this.#rounds.delete(held.timing.ttlMs);
  }
}
