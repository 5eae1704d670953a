import type { Transport } from '@connectrpc/connect';
import {
  LatestValueCell,
  describeError,
  isMeshwrightError,
  noObserver,
  notify,
  silentLogger,
  sleep,
  systemClock,
  systemRandom,
} from '../core/index.js';
import type { Clock, Closable, LatestValue, Logger, Observer, Random } from '../core/index.js';
import { Backoff } from '../internal/backoff.js';
import type { BackoffOptions } from '../internal/backoff.js';
import { ControllerStream } from './controller-stream.js';
import { defaultMaxBytes } from './encoded-content.js';
import { SnapshotError } from './errors.js';
import type { SnapshotEvent } from './events.js';
import type { SnapshotFileCache } from './snapshot-file-cache.js';

/** What is used of a `SnapshotStore<T, P>`, whatever its `P`. */
export interface SnapshotTarget<T> {
  readonly current: { readonly hash: string } | undefined;
  swap(next: T): Promise<{ readonly sequence: number; readonly hash: string }>;
}

export interface SnapshotSubscriberOptions<T> {
  /**
   * To the controller, authenticated with the agent's own SVID; must have verified that the other end is the controller.
   * A function is asked again for each attempt to connect.
   */
  readonly transport: Transport | (() => Transport);
  /** Its `prepare` judges every snapshot: what it throws is sent to the controller as the reason of refusal. */
  readonly store: SnapshotTarget<T>;
  /** Read once at the start, written after every snapshot that was applied. */
  readonly cache?: SnapshotFileCache<T> | undefined;
  /** This node's name, for logs. Which node it is, the controller learns from the certificate alone. */
  readonly node: string;
  /** Largest snapshot. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** The stream is given up when nothing came for this long: 300 to 600 000 ms. Default 15 000. */
  readonly silenceTimeoutMs?: number | undefined;
  /** Between attempts to connect. Default 200 ms, doubling to 10 s, with jitter. */
  readonly backoff?: BackoffOptions | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<SnapshotEvent> | undefined;
}

export interface SubscriberStatus {
  readonly connected: boolean;
  /** Where the snapshot in force came from. */
  readonly source: 'none' | 'cache' | 'controller';
  /** What was refused last, until something is applied. */
  readonly refused: { readonly hash: string; readonly reason: string; readonly at: Date } | undefined;
  /** Why the last stream ended, until the next one stands. */
  readonly disconnected: string | undefined;
}

/**
 * Keeps an agent's store equal to what its controller publishes for this node. A snapshot is applied whole and
 * acknowledged, or refused whole with the reason; the last good one serves in the meantime, also while the controller is
 * away. Connects again by itself, for ever, until it is closed.
 *
 * @example
 * const subscriber = await SnapshotSubscriber.open({ transport, store, node: 'node-a', cache });
 */
export class SnapshotSubscriber<T> implements Closable {
  readonly #options: SnapshotSubscriberOptions<T>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observer: Observer<SnapshotEvent>;
  readonly #backoff: Backoff;
  readonly #end = new AbortController();
  readonly #status = new LatestValueCell<SubscriberStatus>(
    Object.freeze({ connected: false, source: 'none', refused: undefined, disconnected: undefined }),
  );
  #running: Promise<void> = Promise.resolve();

  private constructor(options: SnapshotSubscriberOptions<T>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = (options.logger ?? silentLogger).child({ node: options.node });
    this.#observer = options.observer ?? noObserver;
    this.#backoff = new Backoff(options.backoff ?? { firstMs: 200, maxMs: 10_000 }, options.random ?? systemRandom);
  }

  /**
   * Applies the cached snapshot, if there is one, then starts to connect and returns without waiting for the controller.
   * Throws `SNAPSHOT_OPTION_INVALID`.
   */
  static async open<T>(options: SnapshotSubscriberOptions<T>): Promise<SnapshotSubscriber<T>> {
    const { silenceTimeoutMs = 15_000 } = options;
    if (!(silenceTimeoutMs >= 300 && silenceTimeoutMs <= 600_000)) {
      const message = `expected silenceTimeoutMs from 300 to 600000, got ${String(silenceTimeoutMs)}`;
      throw new SnapshotError('SNAPSHOT_OPTION_INVALID', message);
    }
    const subscriber = new SnapshotSubscriber(options);
    await subscriber.#applyCached();
    subscriber.#running = subscriber.#run();
    return subscriber;
  }

  get status(): LatestValue<SubscriberStatus> {
    return this.#status;
  }

  /** Ends the stream; a snapshot that is being applied is finished first. */
  close(): Promise<void> {
    this.destroy();
    return this.#running;
  }

  destroy(reason?: Error): void {
    this.#end.abort(reason ?? new Error('closed'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #applyCached(): Promise<void> {
    const cached = await this.#options.cache?.read();
    if (cached === undefined) return;
    try {
      const { sequence, hash } = await this.#options.store.swap(cached.value);
      this.#set({ source: 'cache' });
      this.#logger.info('cached snapshot applied', { hash, saved_at: cached.savedAt.toISOString() });
      notify(this.#observer, { type: 'snapshot-applied', sequence, hash, from: 'cache' });
    } catch (error) {
      this.#reportRefusal(cached.hash, error, 'cache');
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      const reason = await this.#connectOnce();
      if (signal.aborted) break;
      const delayMs = this.#backoff.nextMs();
      this.#logger.warn('no snapshot stream', { reason, retry_in_ms: Math.round(delayMs) });
      await sleep(this.#clock, delayMs, { signal }).catch(() => undefined);
    }
    this.#set({ connected: false });
  }

  /** Resolves when the stream has ended, with the reason. */
  async #connectOnce(): Promise<string> {
    const { transport, maxBytes = defaultMaxBytes, silenceTimeoutMs = 15_000 } = this.#options;
    let reason = 'the controller ended the stream';
    try {
      const stream = new ControllerStream({
        transport: typeof transport === 'function' ? transport() : transport,
        maxBytes,
        silenceTimeoutMs,
        clock: this.#clock,
        signal: this.#end.signal,
        appliedHash: () => this.#options.store.current?.hash ?? '',
        onAlive: () => this.#onAlive(),
        apply: (value, hash) => this.#apply(value, hash),
      });
      await stream.run();
    } catch (error) {
      reason = describeError(error);
    }
    if (this.#status.current.connected) notify(this.#observer, { type: 'snapshot-stream', connected: false, reason });
    this.#set({ connected: false, disconnected: reason });
    return reason;
  }

  #onAlive(): void {
    this.#backoff.reset();
    if (this.#status.current.connected) return;
    this.#set({ connected: true, disconnected: undefined });
    this.#logger.info('snapshot stream connected');
    notify(this.#observer, { type: 'snapshot-stream', connected: true, reason: undefined });
  }

  /** Applies one snapshot, or says why not. Never throws. */
  async #apply(value: () => Promise<unknown>, hash: string): Promise<ApplyOutcome> {
    try {
      const next = (await value()) as T;
      const { sequence } = await this.#options.store.swap(next);
      this.#set({ source: 'controller', refused: undefined });
      this.#logger.info('snapshot applied', { sequence, hash });
      notify(this.#observer, { type: 'snapshot-applied', sequence, hash, from: 'controller' });
      return { accepted: true, afterwards: () => this.#save(next) };
    } catch (error) {
      return { accepted: false, ...this.#reportRefusal(hash, error, 'controller') };
    }
  }

  async #save(value: T): Promise<void> {
    try {
      await this.#options.cache?.write(value);
    } catch (error) {
      this.#logger.error('snapshot not saved', { path: this.#options.cache?.path, reason: describeError(error) });
    }
  }

  #reportRefusal(hash: string, error: unknown, from: 'cache' | 'controller'): { code: string; reason: string } {
    const reason = describeError(error);
    const code = isMeshwrightError(error) ? error.code : undefined;
    const refused = Object.freeze({ hash, reason, at: new Date(this.#clock.now()) });
    this.#set({ refused });
    this.#logger.error('snapshot refused; the last good one stays in force', { hash, from, code, reason });
    notify(this.#observer, { type: 'snapshot-refused', hash, code, reason, from });
    return { code: code ?? '', reason };
  }

  #set(change: Partial<SubscriberStatus>): void {
    this.#status.set(Object.freeze({ ...this.#status.current, ...change }));
  }
}

export type ApplyOutcome =
  | { readonly accepted: true; readonly afterwards: () => Promise<void> }
  | { readonly accepted: false; readonly code: string; readonly reason: string };
