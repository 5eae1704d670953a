import type { EtcdClient } from './etcd-client.js';
import type { LeaseKeys, SessionRecord } from './lease-records.js';
import { encodeRecord } from './lease-records.js';
import type { LeaseView } from './lease-view.js';
import { found, get, holds, madeIn, put, remove } from './requests.js';

/** What is to be deleted at the next renewal: a lease that could not be given back, or that an attempt may have got. */
interface Leftover {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** What a lease is to hold, and the session that keeps it. */
export interface Candidacy {
  readonly session: LeaseSession;
  readonly value: Uint8Array;
}

/**
 * The session of one holder and time-to-live: a key written anew at each renewal, for all its leases at once. It is made
 * with the first one, and when it was deleted (its leases were taken over) it stays lost.
 */
export class LeaseSession {
  readonly id: string;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly #client: EtcdClient;
  readonly #view: LeaseView;
  readonly #leftovers = new Map<string, Leftover>();
  #madeIn: bigint | undefined;
  #lost = false;
  /** Settles when an attempt to make the key has ended, either way. */
  #making: Promise<void> | undefined;
  /** An attempt was begun: after that, `#make` finds out what became of it. */
  #mayExist = false;
  #renewing: Promise<boolean> | undefined;
  #next: Promise<boolean> | undefined;
  #clearing = false;

  constructor(id: string, record: SessionRecord, keys: LeaseKeys, client: EtcdClient, view: LeaseView) {
    this.id = id;
    this.key = keys.of('session', id);
    this.value = encodeRecord(record);
    this.#client = client;
    this.#view = view;
  }

  get lost(): boolean {
    return this.#lost;
  }

  /** The revision that made it; 0 before: the key is absent, as far as anybody knows. */
  get madeIn(): bigint {
    return this.#madeIn ?? 0n;
  }

  /** Makes the key, once. */
  async ensure(): Promise<void> {
    // Again where a task that was to make it did not.
    while (this.#madeIn === undefined) await (this.#making ?? this.#makeBy(() => this.#make()));
  }

  /**
   * Runs `task` with the key made, or makes the key by it: the first task of a session that was never used runs at once, and
   * its transaction is to make the key (`markMade`), which saves a round trip where that counts most, in a node that takes
   * over its first lease. Others wait for it.
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#madeIn === undefined && this.#making === undefined && !this.#mayExist) {
      this.#mayExist = true;
      let result: Promise<T> | undefined;
      await this.#makeBy(async () => {
        result = task();
        await result.catch(() => undefined);
      });
      if (result !== undefined) return result;
    }
    await this.ensure();
    return task();
  }

  markMade(revision: bigint): void {
    this.#madeIn ??= revision;
  }

  markLost(): void {
    this.#lost = true;
  }

  /** What to delete once etcd can be reached again. */
  leaveBehind(leftover: Leftover): void {
    const { key, value } = leftover;
    this.#leftovers.set(Buffer.concat([key, value]).toString('latin1'), leftover);
  }

  /**
   * Extends all leases of the session; false when it is lost. Calls made while nothing was sent yet share one request; one
   * that is under way already is never shared, as it began before the caller asked.
   */
  renew(): Promise<boolean> {
    if (this.#lost) return Promise.resolve(false);
    if (this.#next !== undefined) return this.#next;
    const before = this.#renewing;
    const run = async (): Promise<boolean> => {
      // A turn of the queue at least, so that renewals of one tick come together.
      await before?.catch(() => undefined);
      this.#renewing = next;
      this.#next = undefined;
      return this.#renewNow();
    };
    const next = Promise.resolve().then(run);
    this.#next = next;
    return next;
  }

  /** Deletes the key, and so ends all leases of the session at once. */
  async end(signal: AbortSignal | undefined): Promise<void> {
    this.#lost = true;
    if (this.#madeIn === undefined) return;
    await this.#client.txn({ compare: [madeIn(this.key, this.#madeIn)], success: [remove(this.key)] }, signal);
  }

  #makeBy(make: () => Promise<void>): Promise<void> {
    const making = make().finally(() => {
      this.#making = undefined;
    });
    this.#making = making;
    return making;
  }

  async #make(): Promise<void> {
    this.#mayExist = true;
    const request = { compare: [madeIn(this.key, 0n)], success: [put(this.key, this.value)], failure: [get(this.key)] };
    const { succeeded, header, responses } = await this.#client.txn(request, undefined);
    // Already there: an earlier attempt took effect and its answer was lost. Nobody else knows the id.
    const revision = succeeded ? header?.revision : found(responses, 0)?.createRevision;
    if (revision === undefined) throw new Error('etcd answered a transaction without a revision');
    this.markMade(revision);
  }

  async #renewNow(): Promise<boolean> {
    if (this.#lost) return false;
    await this.ensure();
    const request = { compare: [madeIn(this.key, this.madeIn)], success: [put(this.key, this.value)] };
    const { succeeded, header } = await this.#client.txn(request, undefined);
    if (!succeeded) {
      this.#lost = true;
      this.#view.sawNothing(this.key, header?.revision ?? 0n);
      return false;
    }
    if (this.#leftovers.size > 0 && !this.#clearing) void this.#clearLeftovers();
    return true;
  }

  /** The renewal stands whatever becomes of these: they are tried again at the next one. */
  async #clearLeftovers(): Promise<void> {
    this.#clearing = true;
    try {
      for (const [id, { key, value }] of this.#leftovers) {
        await this.#client.txn({ compare: [holds(key, value)], success: [remove(key)] }, undefined);
        this.#leftovers.delete(id);
      }
    } catch {
      // At the next renewal.
    } finally {
      this.#clearing = false;
    }
  }
}
