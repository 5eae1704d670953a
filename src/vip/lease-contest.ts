import { describeError } from '../core/index.js';
import type { Clock, Lease, LeaseOwner, LeaseStore, Logger } from '../core/index.js';
import { abandonOnAbort } from '../internal/single-flight.js';
import { following } from './wait.js';

/** What became of the one before us: gave the lease back, let it end, or nobody was seen. */
export type FormerOwner = 'left' | 'vanished' | 'none';

export interface LeaseContestOptions {
  readonly leases: LeaseStore;
  readonly leaseName: string;
  readonly node: string;
  readonly ttlMs: number;
  /** An owner that was seen for less may never have announced the address: it may have found another station there. */
  readonly provenAfterMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called for each owner that is seen while we wait. */
  readonly onOwner: (owner: LeaseOwner) => void;
}

export interface WonLease {
  readonly lease: Lease;
  /** Monotonic time before the request from which the lease lasts. */
  readonly sentMs: number;
  readonly before: FormerOwner;
}

/** The lease may be had by who asks first, or was handed to us. */
export type LeaseChance = { readonly lastOwner: SeenOwner | undefined } | { readonly won: WonLease };

/** Who had the lease until now. */
export interface SeenOwner {
  readonly fencingToken: bigint;
  /** Monotonic time. */
  readonly sinceMs: number;
}

/** How soon after the release was seen we may follow without a probe. */
const handoverWithinMs = 1_000;

/** How a node gets the lease of an address: waits, stands by meanwhile to be handed it, else takes it when it is free. */
export class LeaseContest {
  readonly #options: LeaseContestOptions;

  constructor(options: LeaseContestOptions) {
    this.#options = options;
  }

  /** Waits for the lease to be free, or ours. */
  async chance(signal: AbortSignal): Promise<LeaseChance> {
    const { clock, leaseName, leases, onOwner } = this.#options;
    let lastOwner: SeenOwner | undefined;
    let isFree = false;
    let standing: Promise<WonLease | undefined> | undefined;
    // Ended together with the wait, so that nothing goes on watching.
    using watching = following([signal]);
    try {
      for await (const owner of leases.watch(leaseName, { signal: watching.signal })) {
        isFree = owner === undefined;
        if (owner === undefined) break;
        const { fencingToken } = owner;
        if (fencingToken !== lastOwner?.fencingToken) lastOwner = { fencingToken, sinceMs: clock.monotonicMs() };
        standing ??= this.#standBy(watching);
        onOwner(owner);
      }
    } finally {
      watching.abort();
    }
    const won = await standing;
    if (won !== undefined) return { won };
    if (isFree) return { lastOwner };
    signal.throwIfAborted();
    throw new Error('the lease store stopped watching');
  }

  /** Takes a lease that was seen free; resolves with its owner where somebody else was faster. */
  async take(lastOwner: SeenOwner | undefined): Promise<WonLease | LeaseOwner> {
    const { clock, leaseName, leases, node, provenAfterMs, ttlMs } = this.#options;
    const sentMs = clock.monotonicMs();
    const late = new AbortController();
    const timer = clock.timer(ttlMs, () => late.abort(new Error('the lease store did not answer in time')));
    // Not given up when we are stopped: the outcome would be unknown.
    const acquiring = leases.acquire(leaseName, { holder: node, ttlMs, signal: late.signal });
    const result = await abandonOnAbort(acquiring, late.signal).finally(() => timer.cancel());
    if (!result.acquired) return result;
    const followsAtOnce = clock.monotonicMs() - sentMs < handoverWithinMs;
    const wasProven = lastOwner !== undefined && sentMs - lastOwner.sinceMs >= provenAfterMs;
    const hasLeft = result.released === true && followsAtOnce && wasProven;
    return { lease: result.lease, sentMs, before: lastOwner === undefined ? 'none' : hasLeft ? 'left' : 'vanished' };
  }

  /** Ends `watching` when the lease is ours. */
  async #standBy(watching: AbortController): Promise<WonLease | undefined> {
    const { clock, leaseName, leases, logger, node, ttlMs } = this.#options;
    const { signal } = watching;
    let sentMs = clock.monotonicMs();
    const onSend = (): void => void (sentMs = clock.monotonicMs());
    try {
      const lease = await leases.standBy?.(leaseName, { holder: node, ttlMs, signal, onSend });
      if (lease === undefined) return undefined;
      watching.abort();
      return { lease, sentMs, before: 'left' };
    } catch (error) {
      if (signal.aborted) return undefined;
      const message = 'not standing by for the lease of a virtual IP: it is taken when it is free';
      logger.warn(message, { lease: leaseName, error: describeError(error) });
      return undefined;
    }
  }
}
