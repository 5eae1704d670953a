import { setMaxListeners } from 'node:events';
import { checkLeaseRequest } from '../core/index.js';
import type {
  AcquireOptions,
  Closable,
  Lease,
  LeaseAcquisition,
  LeaseOwner,
  LeaseRequestOptions,
  LeaseStore,
  StandByOptions,
} from '../core/index.js';
import { abandonOnAbort } from '../internal/single-flight.js';
import { EtcdError } from './errors.js';
import { EtcdClient } from './etcd-client.js';
import { LeaseAttempts } from './lease-attempts.js';
import { LeaseHandovers } from './lease-handovers.js';
import { LeaseKeys, encodeRecord } from './lease-records.js';
import { LeaseSession } from './lease-session.js';
import type { Candidacy } from './lease-session.js';
import { LeaseView } from './lease-view.js';
import { LeaseWatch } from './lease-watch.js';
import { resolveEtcdOptions } from './options.js';
import type { EtcdLeaseStoreOptions, ResolvedEtcdOptions } from './options.js';

interface Held {
  readonly lease: Lease;
  readonly session: LeaseSession;
  readonly value: Uint8Array;
}

/**
 * Leases in etcd (3.4 or newer), shared by every process that has the same endpoints and prefix.
 *
 * A lease ends by what those who want it have seen, not by etcd's own leases, which last 2 s at the least: see docs/etcd.md.
 * One key is written per renewal of all leases of the same time-to-live together. Fencing tokens are etcd revisions: they
 * grow over all names.
 *
 * The constructor reaches no server: the store may be opened before etcd runs. Requests reject with `ETCD_UNAVAILABLE`
 * (nothing answered), `ETCD_REFUSED` (user or role), `ETCD_RECORD_MALFORMED`, `ETCD_CLOSED`, or the signal's reason.
 *
 * ```ts
 * await using leases = new EtcdLeaseStore({ endpoints: ['https://10.0.0.1:2379'], tls: { ca } });
 * const taken = await leases.acquire('vip/203.0.113.10', { holder: 'node-a', ttlMs: 1200 });
 * ```
 */
export class EtcdLeaseStore implements LeaseStore, Closable {
  readonly #options: ResolvedEtcdOptions;
  readonly #keys: LeaseKeys;
  readonly #client: EtcdClient;
  readonly #view: LeaseView;
  readonly #attempts: LeaseAttempts;
  readonly #handovers: LeaseHandovers;
  readonly #sessions = new Map<string, LeaseSession>();
  readonly #held = new Map<string, Held>();
  readonly #acquiring = new Map<string, Promise<LeaseAcquisition>>();
  readonly #watchers = new Map<string, number>();
  readonly #closed = new AbortController();
  #watch: LeaseWatch | undefined;
  #closing: Promise<void> | undefined;

  /** Throws `ETCD_CONFIGURATION_INVALID`. */
  constructor(options: EtcdLeaseStoreOptions) {
    this.#options = resolveEtcdOptions(options);
    // One per watch.
    setMaxListeners(0, this.#closed.signal);
    this.#keys = new LeaseKeys(this.#options.prefix);
    this.#client = new EtcdClient(this.#options);
    this.#view = new LeaseView(this.#keys, this.#options.clock);
    this.#attempts = new LeaseAttempts(this.#client, this.#keys, this.#view, (name) => this.#held.has(name));
    this.#handovers = new LeaseHandovers(this.#client, this.#keys, this.#view);
  }

  async acquire(name: string, options: AcquireOptions): Promise<LeaseAcquisition> {
    this.#closed.signal.throwIfAborted();
    checkLeaseRequest(name, options);
    // One at a time per name: two of one process would not tell each other's half-done attempts from their own.
    const before = this.#acquiring.get(name);
    const acquiring = (async () => {
      await before?.catch(() => undefined);
      return this.#acquire(name, options);
    })();
    this.#acquiring.set(name, acquiring);
    try {
      return await acquiring;
    } finally {
      if (this.#acquiring.get(name) === acquiring) this.#acquiring.delete(name);
    }
  }

  async renew(lease: Lease, options: LeaseRequestOptions = {}): Promise<boolean> {
    this.#closed.signal.throwIfAborted();
    const held = this.#held.get(lease.name);
    if (held?.lease.fencingToken !== lease.fencingToken) return false;
    const renewing = held.session.renew();
    const renewed = await (options.signal === undefined ? renewing : abandonOnAbort(renewing, options.signal));
    // Somebody deleted or rewrote the key by hand, without the session: it is no longer ours all the same.
    const seen = this.#view.lease(lease.name);
    const stands = seen === undefined || seen.revision <= lease.fencingToken;
    if (renewed && stands && this.#held.get(lease.name) === held) return true;
    if (this.#held.get(lease.name) === held) this.#held.delete(lease.name);
    return false;
  }

  async release(lease: Lease, options: LeaseRequestOptions = {}): Promise<void> {
    this.#closed.signal.throwIfAborted();
    const held = this.#held.get(lease.name);
    if (held?.lease.fencingToken !== lease.fencingToken) return;
    this.#held.delete(lease.name);
    try {
      await this.#handovers.release(lease, options.signal);
    } catch (error) {
      held.session.leaveBehind({ key: this.#keys.of('lease', lease.name), value: held.value });
      throw error;
    }
  }

  async *watch(
    name: string,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<LeaseOwner | undefined, void, undefined> {
    this.#closed.signal.throwIfAborted();
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    const watch = this.#watching();
    const owner = this.#view.watch(name);
    this.#watchers.set(name, (this.#watchers.get(name) ?? 0) + 1);
    try {
      await abandonOnAbort(watch.loaded, signal);
      yield* owner.changes({ signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      const others = (this.#watchers.get(name) ?? 1) - 1;
      if (others > 0) {
        this.#watchers.set(name, others);
      } else {
        this.#watchers.delete(name);
        this.#view.unwatch(name);
      }
    }
  }

  async offer(lease: Lease, { signal }: { readonly signal: AbortSignal }): Promise<boolean> {
    const either = AbortSignal.any([signal, this.#closed.signal]);
    either.throwIfAborted();
    const held = this.#held.get(lease.name);
    if (held?.lease.fencingToken !== lease.fencingToken) return false;
    await abandonOnAbort(this.#watching().loaded, either);
    return this.#handovers.offer(lease, either);
  }

  async standBy(name: string, options: StandByOptions): Promise<Lease> {
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    signal.throwIfAborted();
    checkLeaseRequest(name, options);
    await abandonOnAbort(this.#watching().loaded, signal);
    const candidacy = (): Candidacy => {
      const session = this.#session(options);
      return { session, value: this.#record(options, session) };
    };
    const { onSend } = options;
    const { session, value, revision } = await this.#handovers.standBy(name, candidacy, { signal, onSend });
    return this.#taken(name, options, session, value, revision);
  }

  /** Gives back all leases (as far as etcd can be reached) and closes the connections. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes at once: leases end by themselves. */
  destroy(reason?: Error): void {
    this.#closed.abort(reason ?? closedError());
    this.#view.close();
    this.#client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const wasOpen = !this.#closed.signal.aborted;
    this.#closed.abort(closedError());
    if (wasOpen) await Promise.allSettled([...this.#sessions.values()].map((session) => session.end(undefined)));
    this.destroy();
    await this.#watch?.close();
  }

  async #acquire(name: string, options: AcquireOptions): Promise<LeaseAcquisition> {
    const held = this.#held.get(name);
    if (held !== undefined && !held.session.lost) return refusal(held.lease);
    this.#held.delete(name);
    const session = this.#session(options);
    const value = this.#record(options, session);
    try {
      const outcome = await session.run(() => this.#attempts.run(name, { session, value }, options));
      if (!outcome.taken) return { acquired: false, ...outcome.owner };
      const lease = this.#taken(name, options, session, value, outcome.revision);
      return { acquired: true, lease, released: outcome.released };
    } catch (error) {
      // It may have taken effect: what nobody knows of must not live as long as the session does.
      session.leaveBehind({ key: this.#keys.of('lease', name), value });
      throw error;
    }
  }

  #taken(
    name: string,
    { holder, ttlMs }: AcquireOptions,
    session: LeaseSession,
    value: Uint8Array,
    fencingToken: bigint,
  ): Lease {
    const lease: Lease = Object.freeze({ name, holder, fencingToken, ttlMs });
    this.#held.set(name, { lease, session, value });
    return lease;
  }

  #session({ holder, ttlMs }: AcquireOptions): LeaseSession {
    const key = `${String(ttlMs)} ${holder}`;
    const known = this.#sessions.get(key);
    if (known !== undefined && !known.lost) return known;
    const session = new LeaseSession(this.#newId(), { holder, ttlMs }, this.#keys, this.#client, this.#view);
    this.#sessions.set(key, session);
    return session;
  }

  #record({ holder, ttlMs }: AcquireOptions, session: LeaseSession): Uint8Array {
    return encodeRecord({ holder, session: session.id, ttlMs, nonce: this.#newId() });
  }

  #watching(): LeaseWatch {
    return (this.#watch ??= new LeaseWatch(this.#client, this.#view, this.#keys, this.#options));
  }

  #newId(): string {
    return Buffer.from(this.#options.random.bytes(12)).toString('hex');
  }
}

function refusal(lease: Lease): LeaseAcquisition {
  return { acquired: false, holder: lease.holder, fencingToken: lease.fencingToken };
}

function closedError(): EtcdError {
  return new EtcdError('ETCD_CLOSED', 'the etcd store is closed');
}
