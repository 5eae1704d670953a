import { systemClock } from './clock.js';
import type { Clock, Timer } from './clock.js';
import { CoreError } from './errors.js';
import { LatestValueCell } from './latest-value.js';
import { leaseTtlLimits } from './lease-store.js';
import type {
  AcquireOptions,
  Lease,
  LeaseAcquisition,
  LeaseOwner,
  LeaseRequestOptions,
  LeaseStore,
  StandByOptions,
} from './lease-store.js';

/** Somebody who stands by. */
interface Waiting {
  readonly options: StandByOptions;
  readonly take: (lease: Lease) => void;
}

interface Entry {
  /** The last one given out; the next is greater. Kept when the lease ends, so that tokens grow strictly. */
  token: bigint;
  lease: Lease | undefined;
  /** How the last one ended. */
  released: boolean;
  endsAtMs: number;
  timer: Timer | undefined;
  /** Tells who offers it that there is a successor; set while it is offered and nobody stands by. */
  onSuccessor: (() => void) | undefined;
  /** Who gets it at the release, to last from then on. */
  successor: { readonly waiting: Waiting; readonly sinceMs: number } | undefined;
  /** In the order in which they came. */
  readonly waiting: Set<Waiting>;
  readonly owner: LatestValueCell<LeaseOwner | undefined>;
}

export interface MemoryLeaseStoreOptions {
  readonly clock?: Clock | undefined;
  /** What every fencing token is greater than. Default 0; to keep them growing over restarts, hand in a greater one each time. */
  readonly fencingFloor?: bigint | undefined;
}

/** Leases within one process: for tests, for a node that shares its addresses with nobody, and for one that hands them out. */
export class MemoryLeaseStore implements LeaseStore {
  readonly #clock: Clock;
  readonly #floor: bigint;
  readonly #entries = new Map<string, Entry>();

  constructor(options: MemoryLeaseStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#floor = options.fencingFloor ?? 0n;
  }

  /** Throws `CORE_OPTION_INVALID` for a name, holder or time-to-live out of bounds. */
  async acquire(name: string, options: AcquireOptions): Promise<LeaseAcquisition> {
    options.signal?.throwIfAborted();
    checkLeaseRequest(name, options);
    const entry = this.#entry(name);
    const current = this.#current(entry);
    if (current !== undefined) return { acquired: false, holder: current.holder, fencingToken: current.fencingToken };
    entry.token += 1n;
    const { holder, ttlMs } = options;
    const lease: Lease = Object.freeze({ name, holder, fencingToken: entry.token, ttlMs });
    this.#extend(entry, lease);
    entry.owner.set(Object.freeze({ holder, fencingToken: lease.fencingToken }));
    return { acquired: true, lease, released: entry.released };
  }

  async renew(lease: Lease, options: LeaseRequestOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    const entry = this.#entry(lease.name);
    const current = this.#current(entry);
    if (current?.fencingToken !== lease.fencingToken) return false;
    this.#extend(entry, current);
    return true;
  }

  async release(lease: Lease, options: LeaseRequestOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const entry = this.#entry(lease.name);
    if (this.#current(entry)?.fencingToken !== lease.fencingToken) return;
    const { successor } = entry;
    if (successor === undefined) {
      this.#end(entry, true);
      return;
    }
    const { waiting, sinceMs } = successor;
    entry.waiting.delete(waiting);
    this.#withdrawOffer(entry);
    entry.token += 1n;
    const { holder, ttlMs } = waiting.options;
    const next: Lease = Object.freeze({ name: lease.name, holder, fencingToken: entry.token, ttlMs });
    this.#extend(entry, next, sinceMs);
    entry.owner.set(Object.freeze({ holder, fencingToken: next.fencingToken }));
    waiting.take(next);
  }

  async offer(lease: Lease, { signal }: { readonly signal: AbortSignal }): Promise<boolean> {
    signal.throwIfAborted();
    const entry = this.#entry(lease.name);
    if (this.#current(entry)?.fencingToken !== lease.fencingToken) return false;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      entry.onSuccessor = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#chooseSuccessor(entry);
    });
    return this.#current(entry)?.fencingToken === lease.fencingToken;
  }

  standBy(name: string, options: StandByOptions): Promise<Lease> {
    const { signal } = options;
    const entry = this.#entry(name);
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      checkLeaseRequest(name, options);
      const onAbort = (): void => {
        entry.waiting.delete(waiting);
        if (entry.successor?.waiting === waiting) entry.successor = undefined;
        reject(signal.reason as Error);
      };
      const take = (lease: Lease): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(lease);
      };
      const waiting: Waiting = { options, take };
      signal.addEventListener('abort', onAbort, { once: true });
      entry.waiting.add(waiting);
      if (entry.onSuccessor !== undefined) this.#chooseSuccessor(entry);
    });
  }

  watch(name: string, options: { readonly signal: AbortSignal }): AsyncIterable<LeaseOwner | undefined> {
    const entry = this.#entry(name);
    this.#current(entry);
    return entry.owner.changes(options);
  }

  #entry(name: string): Entry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const owner = new LatestValueCell<LeaseOwner | undefined>(undefined);
    const entry: Entry = {
      token: this.#floor,
      lease: undefined,
      released: false,
      endsAtMs: 0,
      timer: undefined,
      onSuccessor: undefined,
      successor: undefined,
      waiting: new Set(),
      owner,
    };
    this.#entries.set(name, entry);
    return entry;
  }

  /** The lease, if it has not ended: a timer that is late must not keep it alive. */
  #current(entry: Entry): Lease | undefined {
    if (entry.lease !== undefined && this.#clock.monotonicMs() >= entry.endsAtMs) this.#end(entry, false);
    return entry.lease;
  }

  #extend(entry: Entry, lease: Lease, sinceMs = this.#clock.monotonicMs()): void {
    entry.timer?.cancel();
    entry.lease = lease;
    entry.endsAtMs = sinceMs + lease.ttlMs;
    this.#armTimer(entry);
  }

  /** Timers may be some fraction of a millisecond early. */
  #armTimer(entry: Entry): void {
    const leftMs = Math.max(1, entry.endsAtMs - this.#clock.monotonicMs());
    entry.timer = this.#clock.timer(leftMs, () => {
      if (this.#current(entry) !== undefined) this.#armTimer(entry);
    });
  }

  #chooseSuccessor(entry: Entry): void {
    const [first] = entry.waiting;
    if (first === undefined) return;
    const chosen = entry.onSuccessor;
    entry.onSuccessor = undefined;
    entry.successor = { waiting: first, sinceMs: this.#clock.monotonicMs() };
    first.options.onSend?.();
    chosen?.();
  }

  #withdrawOffer(entry: Entry): void {
    entry.onSuccessor?.();
    entry.onSuccessor = undefined;
    entry.successor = undefined;
  }

  #end(entry: Entry, released: boolean): void {
    this.#withdrawOffer(entry);
    entry.released = released;
    entry.timer?.cancel();
    entry.timer = undefined;
    entry.lease = undefined;
    entry.owner.set(undefined);
  }
}

/** Throws `CORE_OPTION_INVALID` unless name, holder and time-to-live are within the bounds that every store keeps. */
export function checkLeaseRequest(name: string, { holder, ttlMs }: Pick<AcquireOptions, 'holder' | 'ttlMs'>): void {
  for (const [what, text] of [
    ['name', name],
    ['holder', holder],
  ] as const) {
    if (typeof text === 'string' && /^[\x21-\x7e]{1,512}$/.test(text)) continue;
    throw new CoreError(
      'CORE_OPTION_INVALID',
      `expected the ${what} of a lease to be 1 to 512 printable ASCII characters without white space, got ${JSON.stringify(text)}`,
    );
  }
  const { minMs, maxMs } = leaseTtlLimits;
  if (typeof ttlMs === 'number' && ttlMs >= minMs && ttlMs <= maxMs) return;
  throw new CoreError(
    'CORE_OPTION_INVALID',
    `expected the ttlMs of a lease to be ${String(minMs)} to ${String(maxMs)}, got ${String(ttlMs)}`,
  );
}
