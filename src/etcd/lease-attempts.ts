import type { AcquireOptions, LeaseOwner } from '../core/index.js';
import { EtcdError } from './errors.js';
import type { EtcdClient } from './etcd-client.js';
import type { KeyValue, TxnResponse } from './gen/etcd_pb.js';
import { encodeRecord } from './lease-records.js';
import type { LeaseKeys } from './lease-records.js';
import type { Candidacy, LeaseSession } from './lease-session.js';
import type { LeaseStanding, LeaseView } from './lease-view.js';
import { found, get, madeIn, put, remove, unchangedSince } from './requests.js';
import type { Condition, Operation } from './requests.js';

/** Each look at a name can find it changed by somebody else; more often than this in a row is a fight, and refused. */
const maxLooks = 12;

export type AttemptOutcome =
  /** `released`: the owner before gave it back. */
  | { readonly taken: true; readonly revision: bigint; readonly released: boolean }
  | { readonly taken: false; readonly owner: LeaseOwner };

/**
 * Attempts to take a lease: one transaction where the view says that it is free, which holds only if nothing was written
 * since; else, and where that fails, a look at what there is.
 */
export class LeaseAttempts {
  readonly #client: EtcdClient;
  readonly #keys: LeaseKeys;
  readonly #view: LeaseView;
  readonly #isHeld: (name: string) => boolean;

  /** `isHeld`: whether this store knows that it holds the lease. */
  constructor(client: EtcdClient, keys: LeaseKeys, view: LeaseView, isHeld: (name: string) => boolean) {
    this.#client = client;
    this.#keys = keys;
    this.#view = view;
    this.#isHeld = isHeld;
  }

  /** Throws `ETCD_UNAVAILABLE`, `ETCD_RECORD_MALFORMED`; the outcome is then unknown. */
  async run(
    name: string,
    { session, value }: Candidacy,
    { signal, holder }: Pick<AcquireOptions, 'signal' | 'holder'>,
  ): Promise<AttemptOutcome> {
    const wasThere = this.#view.lease(name) !== undefined;
    for (let look = 0; look < maxLooks; look += 1) {
      const standing = this.#standing(name, session);
      const response = standing.free
        ? await this.#tryTake(name, standing, session, value, signal)
        : await this.#look(name, standing, signal);
      if (standing.free && response.succeeded) {
        // Release deletes the key; an end leaves it for the next one to overwrite.
        const released = wasThere && standing.revision === 0n;
        return { taken: true, revision: response.header?.revision ?? 0n, released };
      }
      const now = this.#standing(name, session);
      if (session.lost) throw new EtcdError('ETCD_UNAVAILABLE', `the session of ${holder} was lost; try again`);
      // An answer was lost, and the request had taken effect.
      const revision = this.#revisionOf(name, value);
      if (revision !== undefined) return { taken: true, revision, released: false };
      if (now.free) continue;
      if (now.owner === undefined) {
        const message = `the key ${Buffer.from(this.#keys.of('lease', name)).toString()} holds something that no lease store wrote`;
        throw new EtcdError('ETCD_RECORD_MALFORMED', message, { fields: { name } });
      }
      // Held, and its session was looked at in the same answer or is known: that is final.
      if (this.#view.sessionMadeIn(now.record.session) !== undefined) {
        return { taken: false, owner: now.owner };
      }
    }
    throw new EtcdError('ETCD_UNAVAILABLE', `the lease ${name} changed hands at every look; try again`);
  }

  /** What an earlier attempt of this session got without knowing it is free to this session. */
  #standing(name: string, session: LeaseSession): LeaseStanding {
    const standing = this.#view.standing(name);
    if (standing.free || standing.owner === undefined || this.#isHeld(name)) return standing;
    if (standing.record.session !== session.id) return standing;
    return { free: true, revision: standing.owner.fencingToken, ended: undefined };
  }

  /** Of the lease, where it holds just this value. */
  #revisionOf(name: string, value: Uint8Array): bigint | undefined {
    const lease = this.#view.lease(name);
    if (lease?.record === undefined) return undefined;
    return Buffer.from(encodeRecord(lease.record)).equals(value) ? lease.revision : undefined;
  }

  async #tryTake(
    name: string,
    standing: Extract<LeaseStanding, { free: true }>,
    session: LeaseSession,
    value: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<TxnResponse> {
    const key = this.#keys.of('lease', name);
    const compare: Condition[] = [unchangedSince(key, standing.revision), madeIn(session.key, session.madeIn)];
    const success: Operation[] = [put(key, value), put(session.key, session.value)];
    const failure: Operation[] = [get(key), get(session.key)];
    const { ended } = standing;
    const endedKey = ended === undefined ? undefined : this.#keys.of('session', ended.id);
    if (ended !== undefined && endedKey !== undefined) {
      compare.push(unchangedSince(endedKey, ended.revision));
      success.push(remove(endedKey));
      failure.push(get(endedKey));
    }
    const response = await this.#client.txn({ compare, success, failure }, signal);
    const revision = response.header?.revision ?? 0n;
    if (response.succeeded) {
      session.markMade(revision);
      if (endedKey !== undefined) this.#view.sawNothing(endedKey, revision);
      return response;
    }
    this.#feed(key, found(response.responses, 0), revision);
    const own = found(response.responses, 1);
    if ((own?.createRevision ?? 0n) !== session.madeIn) session.markLost();
    this.#feed(session.key, own, revision);
    if (endedKey !== undefined) this.#feed(endedKey, found(response.responses, 2), revision);
    return response;
  }

  /** Reads the lease and, as far as it is known, its session. */
  async #look(
    name: string,
    standing: Extract<LeaseStanding, { free: false }>,
    signal: AbortSignal | undefined,
  ): Promise<TxnResponse> {
    const key = this.#keys.of('lease', name);
    const sessionKey = standing.record === undefined ? undefined : this.#keys.of('session', standing.record.session);
    const success = [get(key), ...(sessionKey === undefined ? [] : [get(sessionKey)])];
    const response = await this.#client.txn({ success }, signal);
    const revision = response.header?.revision ?? 0n;
    this.#feed(key, found(response.responses, 0), revision);
    if (sessionKey !== undefined) this.#feed(sessionKey, found(response.responses, 1), revision);
    return response;
  }

  #feed(key: Uint8Array, pair: KeyValue | undefined, revision: bigint): void {
    if (pair === undefined) this.#view.sawNothing(key, revision);
    else this.#view.saw(pair);
  }
}
