import { LatestValueCell, describeError, silentLogger } from '../core/index.js';
import type { LatestValue, Logger } from '../core/index.js';
import { contentHash } from './canonical-json.js';
import { SnapshotError } from './errors.js';

/** One applied snapshot; never changes. */
export interface Snapshot<T, P> {
  /** Counts what this store has applied, from 1; a rollback counts as well. */
  readonly sequence: number;
  /** SHA-256 of the canonical JSON of `source`, lower-case hex. */
  readonly hash: string;
  readonly source: T;
  /** What `prepare` made of it. */
  readonly value: P;
}

export interface SnapshotStoreOptions<T, P> {
  /**
   * Validates and compiles; the new snapshot is visible only once this has returned or resolved. Whatever it throws is
   * thrown by `swap`, and the old snapshot stays.
   */
  readonly prepare: (next: T, previous?: Snapshot<T, P>) => P | Promise<P>;
  /** How many earlier snapshots `rollback` can return to: 1 to 100. Default 3. */
  readonly history?: number | undefined;
  /** Hears of subscribers that throw. */
  readonly logger?: Logger | undefined;
}

/**
 * Holds the snapshot in force and replaces it atomically: readers see the old one or the new one, whole. Swaps happen
 * one after another, in the order of their calls; reading `current` costs a field access.
 *
 * The source must be plain JSON and must not be changed after it was handed in: the store neither copies nor freezes it.
 *
 * @example
 * const store = new SnapshotStore<State, View>({ prepare: (next) => compile(next) });
 * await store.swap(state);
 * store.current?.value.decide(request);
 */
export class SnapshotStore<T, P> implements LatestValue<Snapshot<T, P> | undefined> {
  readonly #prepare: SnapshotStoreOptions<T, P>['prepare'];
  readonly #historyLimit: number;
  readonly #logger: Logger;
  readonly #cell = new LatestValueCell<Snapshot<T, P> | undefined>(undefined);
  readonly #history: Snapshot<T, P>[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  #sequence = 0;

  /** Throws `SNAPSHOT_OPTION_INVALID`. */
  constructor(options: SnapshotStoreOptions<T, P>) {
    const { prepare, history = 3, logger = silentLogger } = options;
    if (!Number.isInteger(history) || history < 1 || history > 100) {
      throw new SnapshotError('SNAPSHOT_OPTION_INVALID', `expected history from 1 to 100, got ${String(history)}`);
    }
    this.#prepare = prepare;
    this.#historyLimit = history;
    this.#logger = logger;
  }

  /** The snapshot in force; undefined until the first swap succeeds. */
  get current(): Snapshot<T, P> | undefined {
    return this.#cell.current;
  }

  /**
   * Prepares `next` and puts it in force. Content that is in force already is not prepared again. Throws what `prepare`
   * throws, or `SNAPSHOT_NOT_JSON`; the old snapshot stays then.
   */
  swap(next: T): Promise<Snapshot<T, P>> {
    return this.#exclusively(async () => {
      const hash = contentHash(next);
      const previous = this.current;
      if (previous?.hash === hash) return previous;
      const value = await (previous === undefined ? this.#prepare(next) : this.#prepare(next, previous));
      if (previous !== undefined) this.#remember(previous);
      return this.#install({ hash, source: next, value });
    });
  }

  /**
   * Puts the snapshot before the current one in force again, as it was prepared then, under a new sequence. Repeated, it
   * goes further back. Throws `SNAPSHOT_NO_PREVIOUS`.
   */
  rollback(): Promise<Snapshot<T, P>> {
    return this.#exclusively(() => {
      const earlier = this.#history.pop();
      if (earlier === undefined) {
        throw new SnapshotError('SNAPSHOT_NO_PREVIOUS', 'expected an earlier snapshot to return to, and there is none');
      }
      return this.#install(earlier);
    });
  }

  /** Calls `listener` after each change, synchronously. One that throws is logged and disturbs nobody. */
  subscribe(listener: (snapshot: Snapshot<T, P>) => void): Disposable {
    return this.#cell.subscribe((snapshot) => {
      if (snapshot === undefined) return;
      try {
        listener(snapshot);
      } catch (error) {
        this.#logger.error('snapshot subscriber failed', { sequence: snapshot.sequence, error: describeError(error) });
      }
    });
  }

  /** The snapshot in force, if any, then each newer one; a slow reader skips to the newest. Ends when `signal` aborts. */
  async *changes(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<Snapshot<T, P>> {
    for await (const snapshot of this.#cell.changes(options)) if (snapshot !== undefined) yield snapshot;
  }

  #install(parts: Omit<Snapshot<T, P>, 'sequence'>): Snapshot<T, P> {
    this.#sequence += 1;
    const { hash, source, value } = parts;
    const snapshot = Object.freeze({ sequence: this.#sequence, hash, source, value });
    this.#cell.set(snapshot);
    return snapshot;
  }

  #remember(snapshot: Snapshot<T, P>): void {
    this.#history.push(snapshot);
    if (this.#history.length > this.#historyLimit) this.#history.shift();
  }

  #exclusively<R>(run: () => R | Promise<R>): Promise<R> {
    const result = this.#tail.then(run);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
