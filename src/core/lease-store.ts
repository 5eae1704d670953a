/**
 * Ownership for a time: who may act as the one owner of `name`, among processes that share a store.
 *
 * A lease is judged by monotonic clocks alone, never by wall time, and no clock is compared with another one's:
 *
 * - its holder takes it as valid until `ttlMs` after the moment BEFORE the request (the `acquire`, or the last `renew` that
 *   answered true) was sent;
 * - a store gives it to somebody else only once `ttlMs` have passed since that request reached it, or after a release.
 *
 * So two processes never both take it as valid, however slow the requests are and whatever wall clocks do, as long as
 * their clocks run equally fast and go on running (a suspended machine's may stand still).
 */
export interface Lease {
  /** What is owned: 1 to 512 printable ASCII characters without white space. */
  readonly name: string;
  /** Who owns it. For people and logs: two leases with the same holder are still two leases. */
  readonly holder: string;
  /** Grows strictly with every change of owner of `name`; whoever is handed two can tell the older. */
  readonly fencingToken: bigint;
  readonly ttlMs: number;
}

/** Who owns a name now. */
export interface LeaseOwner {
  readonly holder: string;
  readonly fencingToken: bigint;
}

export type LeaseAcquisition =
  | {
      readonly acquired: true;
      readonly lease: Lease;
      /** The owner before gave it back, and did not let it end. Undefined or false: it ended, nobody had it, or unknown. */
      readonly released?: boolean | undefined;
    }
  | ({ readonly acquired: false } & LeaseOwner);

export interface LeaseRequestOptions {
  /** Gives up the wait; the outcome in the store is then unknown. */
  readonly signal?: AbortSignal | undefined;
}

export interface AcquireOptions extends LeaseRequestOptions {
  readonly holder: string;
  /** How long the lease lasts without renewal: 100 to 86 400 000 ms. */
  readonly ttlMs: number;
}

export interface StandByOptions extends AcquireOptions {
  /** Until when to stand by: what was handed over after that is given back. */
  readonly signal: AbortSignal;
  /** Called right before a request is sent from which a lease that is then handed over lasts its `ttlMs`. The last call counts. */
  readonly onSend?: (() => void) | undefined;
}

/**
 * Where leases are kept. A promise that rejects means that the outcome is unknown, and a holder then goes by its clock. After
 * an `acquire` that rejected, the store gives back by itself what it may have got, at the latest when the lease ends.
 */
export interface LeaseStore {
  /**
   * Takes the lease if it is free, or ended. One that is held is refused to everybody, its holder included. Of any number of
   * concurrent calls at most one gets it.
   */
  acquire(name: string, options: AcquireOptions): Promise<LeaseAcquisition>;
  /** Extends it by its `ttlMs`. False: it is lost for good, and only `acquire` can get it back. */
  renew(lease: Lease, options?: LeaseRequestOptions): Promise<boolean>;
  /** Gives it back at once. Idempotent, and never releases somebody else's. */
  release(lease: Lease, options?: LeaseRequestOptions): Promise<void>;
  /**
   * Yields who owns `name` now, and every change after that; `undefined` when it is free to be acquired, as after a release
   * and when it ended without renewal. May leave out states in between, never the last. Goes on by itself when the store was
   * away, and ends when `signal` aborts.
   */
  watch(name: string, options: { readonly signal: AbortSignal }): AsyncIterable<LeaseOwner | undefined>;

  /**
   * Says that the lease is about to be given back, and resolves with true once somebody who stands by is to have it: `release`
   * then hands it to them in one step, and nobody else gets in between. It is held, and to be renewed, until then. False: it is
   * not held. Rejects with the signal's reason; the offer stands all the same. Optional, like `standBy`: a store may have
   * neither, and `release` is enough.
   */
  offer?(lease: Lease, options: { readonly signal: AbortSignal }): Promise<boolean>;
  /**
   * Waits for the lease to be handed over by an owner that offers it. One that ends, or is released to nobody, is not taken:
   * that is for `acquire`. Rejects with the signal's reason.
   */
  standBy?(name: string, options: StandByOptions): Promise<Lease>;
}

export const leaseTtlLimits = Object.freeze({ minMs: 100, maxMs: 86_400_000 });
