import type { Clock, LeaseOwner, Timer } from '../core/index.js';
import { LatestValueCell } from '../core/index.js';
import type { KeyValue } from './gen/etcd_pb.js';
import { HandoverView } from './handover-view.js';
import { decodeLease, decodeSession } from './lease-records.js';
import type { LeaseKeyKind, LeaseKeys, LeaseRecord, SessionRecord } from './lease-records.js';

/** A key as last seen: `revision` is that of its last write, or one at which it was known to be absent. */
interface Seen<T> {
  readonly revision: bigint;
  /** Of the write that made it; 0 when absent. */
  readonly createRevision: bigint;
  /** Undefined: absent. */
  readonly record: T | 'malformed' | undefined;
}

interface SeenSession extends Seen<SessionRecord> {
  /** Monotonic time at which this revision was first seen: the renewal was sent before. */
  readonly seenAtMs: number;
}

export type LeaseStanding =
  | { readonly free: false; readonly owner: LeaseOwner; readonly record: LeaseRecord }
  /** Not to be had, and nobody knows whose it is. */
  | { readonly free: false; readonly owner: undefined; readonly record: undefined }
  | {
      readonly free: true;
      /** Of the key, to be unchanged when it is taken; 0: absent. */
      readonly revision: bigint;
      /** The session that ended, to be unchanged (revision 0: absent) and deleted. */
      readonly ended: { readonly id: string; readonly revision: bigint } | undefined;
    };

/** Clocks of two machines run equally fast within 1 in 200, and timers fire within 5 ms. */
const marginOf = (ttlMs: number): number => 5 + ttlMs / 200;
/** Absent keys are remembered so that old news do not bring them back; more than this are trimmed. */
const maxForgotten = 4_096;

/**
 * The leases as this process has seen them, by watching and by the answers to its own requests. A session has ended when
 * no renewal was seen for its whole time-to-live and a margin: no clock is compared with another machine's. That it is
 * seen late (a slow watch, a connection that hangs) makes it look ended too early, never lets it be taken over: the
 * transaction that does holds only if nothing was written since.
 */
export class LeaseView {
  /** Told of leases after everybody else. */
  readonly handovers = new HandoverView();
  readonly #keys: LeaseKeys;
  readonly #clock: Clock;
  readonly #leases = new Map<string, Seen<LeaseRecord>>();
  readonly #sessions = new Map<string, SeenSession>();
  readonly #cells = new Map<string, LatestValueCell<LeaseOwner | undefined>>();
  /** Watched names by the session that they were last seen to belong to. */
  readonly #namesOf = new Map<string, Set<string>>();
  readonly #timers = new Map<string, Timer>();

  constructor(keys: LeaseKeys, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  /** A key that is there. */
  saw(pair: KeyValue): void {
    this.#take(pair.key, pair.modRevision, pair.createRevision, pair.value);
  }

  /** A key that is not there at `revision`. */
  sawNothing(key: Uint8Array, revision: bigint): void {
    this.#take(key, revision, 0n, undefined);
  }

  /** All keys there are at `revision`. */
  sawAll(pairs: readonly KeyValue[], revision: bigint): void {
    const there = new Set<string>();
    for (const pair of pairs) {
      const parsed = this.#keys.parse(pair.key);
      if (parsed !== undefined) there.add(`${parsed.kind} ${parsed.name}`);
      this.saw(pair);
    }
    const known: readonly (readonly [LeaseKeyKind, Iterable<string>])[] = [
      ['lease', [...this.#leases.keys()]],
      ['session', [...this.#sessions.keys()]],
      ['offer', this.handovers.names('offer')],
      ['successor', this.handovers.names('successor')],
    ];
    for (const [kind, names] of known) {
      for (const name of names) {
        if (!there.has(`${kind} ${name}`)) this.sawNothing(this.#keys.of(kind, name), revision);
      }
    }
    trim(this.#leases);
    trim(this.#sessions);
    this.handovers.trim();
  }

  /** The revision that made the session; undefined while it is absent or was never seen. */
  sessionMadeIn(id: string): bigint | undefined {
    const seen = this.#sessions.get(id);
    return seen?.record === undefined ? undefined : seen.createRevision;
  }

  /** The lease as last seen. */
  lease(name: string): { readonly revision: bigint; readonly record: LeaseRecord | undefined } | undefined {
    const seen = this.#leases.get(name);
    if (seen === undefined) return undefined;
    return { revision: seen.revision, record: seen.record === 'malformed' ? undefined : seen.record };
  }

  /** Whether it can be had now. One that was never seen is taken to be absent. */
  standing(name: string): LeaseStanding {
    const seen = this.#leases.get(name);
    if (seen?.record === undefined) return { free: true, revision: 0n, ended: undefined };
    const { record } = seen;
    if (record === 'malformed') return { free: false, owner: undefined, record: undefined };
    const session = this.#sessions.get(record.session);
    const owner = { holder: record.holder, fencingToken: seen.revision };
    // Its lease was seen, it was not: whoever wants the lease has to look first.
    if (session === undefined) return { free: false, owner, record };
    if (session.record === undefined)
      return { free: true, revision: seen.revision, ended: { id: record.session, revision: 0n } };
    if (this.#clock.monotonicMs() < endsAtMs(session)) return { free: false, owner, record };
    return { free: true, revision: seen.revision, ended: { id: record.session, revision: session.revision } };
  }

  /** The owner of `name`, kept current for as long as `unwatch` was not called as often as this. */
  watch(name: string): LatestValueCell<LeaseOwner | undefined> {
    const known = this.#cells.get(name);
    if (known !== undefined) return known;
    const cell = new LatestValueCell<LeaseOwner | undefined>(undefined);
    this.#cells.set(name, cell);
    this.#link(name);
    this.#refresh(name);
    return cell;
  }

  unwatch(name: string): void {
    this.#cells.delete(name);
    for (const [session, names] of this.#namesOf) {
      names.delete(name);
      if (names.size === 0) this.#namesOf.delete(session);
    }
  }

  close(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #take(key: Uint8Array, revision: bigint, createRevision: bigint, value: Uint8Array | undefined): void {
    const parsed = this.#keys.parse(key);
    if (parsed === undefined) return;
    const { kind, name } = parsed;
    if (kind === 'offer' || kind === 'successor') {
      this.handovers.saw(kind, name, revision, value);
      return;
    }
    if (revision <= ((kind === 'lease' ? this.#leases : this.#sessions).get(name)?.revision ?? -1n)) return;
    if (kind === 'lease') {
      const record = value === undefined ? undefined : (decodeLease(value) ?? 'malformed');
      this.#leases.set(name, { revision, createRevision, record });
      this.#link(name);
      this.#refresh(name);
      this.handovers.rang(name);
    } else {
      const before = this.#sessions.get(name);
      const record = value === undefined ? undefined : (decodeSession(value) ?? 'malformed');
      const seenAtMs = this.#clock.monotonicMs();
      this.#sessions.set(name, { revision, createRevision, record, seenAtMs });
      this.#armTimer(name);
      // A renewal, which most news are, changes nothing for those who watch.
      const isRenewal = before?.record !== undefined && record !== undefined && seenAtMs < endsAtMs(before);
      if (!isRenewal) this.#refreshOwnedBy(name);
    }
  }

  #link(name: string): void {
    const record = this.#leases.get(name)?.record;
    if (!this.#cells.has(name) || record === undefined || record === 'malformed') return;
    const names = this.#namesOf.get(record.session) ?? new Set();
    this.#namesOf.set(record.session, names.add(name));
    this.#armTimer(record.session);
  }

  #refreshOwnedBy(session: string): void {
    for (const name of this.#namesOf.get(session) ?? []) {
      const record = this.#leases.get(name)?.record;
      if (record !== undefined && record !== 'malformed' && record.session === session) this.#refresh(name);
      else this.#namesOf.get(session)?.delete(name);
    }
    if (this.#namesOf.get(session)?.size === 0) this.#namesOf.delete(session);
  }

  /** Fires when the session has ended, if somebody watches a lease of it. */
  #armTimer(id: string): void {
    const session = this.#sessions.get(id);
    if (this.#timers.has(id) || !this.#namesOf.has(id) || session?.record === undefined) return;
    const leftMs = Math.max(1, endsAtMs(session) - this.#clock.monotonicMs());
    const timer = this.#clock.timer(leftMs, () => {
      this.#timers.delete(id);
      const now = this.#sessions.get(id);
      if (now?.record === undefined) return;
      // Renewed meanwhile (the timer is not moved at each renewal), or a fraction of a millisecond early.
      if (this.#clock.monotonicMs() < endsAtMs(now)) this.#armTimer(id);
      else this.#refreshOwnedBy(id);
    });
    this.#timers.set(id, timer);
  }

  #refresh(name: string): void {
    const cell = this.#cells.get(name);
    if (cell === undefined) return;
    const standing = this.standing(name);
    const owner = standing.free ? undefined : (standing.owner ?? { holder: 'unknown', fencingToken: 0n });
    const same = owner?.fencingToken === cell.current?.fencingToken && owner?.holder === cell.current?.holder;
    if (!same) cell.set(owner);
  }
}

/** A malformed session never ends: nobody knows what it means, so nothing is taken from it. */
function endsAtMs({ record, seenAtMs }: SeenSession): number {
  if (record === 'malformed' || record === undefined) return Infinity;
  return seenAtMs + record.ttlMs + marginOf(record.ttlMs);
}

function trim(seen: Map<string, Seen<unknown>>): void {
  if (seen.size <= maxForgotten) return;
  for (const [key, { record }] of seen) if (record === undefined) seen.delete(key);
}
