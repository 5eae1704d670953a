import {
  describeError,
  isMeshwrightError,
  noObserver,
  notify,
  silentLogger,
  systemClock,
  systemRandom,
} from '../core/index.js';
import type { Clock, Closable, Logger, Observer, Random, Timer } from '../core/index.js';
import { defaultWorkloadTokenAudience, readAgentId, verifyWorkloadToken } from '../spiffe/index.js';
import type { BundleSource, SpiffeId, SvidSource, WorkloadTokenSource } from '../spiffe/index.js';
import { Backoff } from '../internal/backoff.js';
import { SingleFlight, abandonOnAbort } from '../internal/single-flight.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';
import type { SecretFile } from './secret-file.js';
import { decodeEntries, encodeEntries, entryKey } from './token-entry.js';
import type { TokenEntry } from './token-entry.js';
import type { IssuedWorkloadToken } from './workload-token-issuer.js';

/** Asks the CA for a token, bound to the key of the connection that asks. */
export type TokenRequest = (
  workload: SpiffeId,
  options: { readonly signal: AbortSignal },
) => Promise<IssuedWorkloadToken>;

export interface WorkloadTokenCacheOptions {
  /** Such as `(workload, options) => client.issueWorkloadToken(workload, options)`, over a connection with the current `svid`. */
  readonly request: TokenRequest;
  /** Ours: tokens are fetched for its key, and for no other once it was replaced. */
  readonly svid: SvidSource;
  /** What tokens are checked against before they are used. */
  readonly bundle: BundleSource;
  /** Default `meshwright-tunnel`. */
  readonly audience?: string | undefined;
  /** Keeps tokens, so that a restart needs no controller. */
  readonly file?: SecretFile | undefined;
  /** Of one request. Default 10 000 ms. */
  readonly timeoutMs?: number | undefined;
  /** Tokens held at most. Default 8 192. */
  readonly maxEntries?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<CaEvent> | undefined;
}

/** A token that has just been fetched. */
export interface FreshToken {
  readonly workload: SpiffeId;
  readonly keyThumbprint: string;
  readonly token: string;
  readonly expiresAt: Date;
}

export interface PrefetchOptions {
  /** Of the SVID that is about to be used. */
  readonly keyThumbprint: string;
  /** Over a connection that is authenticated with that SVID. Default: the cache's own request. */
  readonly request?: TokenRequest | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Within which all nodes fetch their tokens again after a change of the key that signs. */
const maxSpreadMs = 5_000;

/**
 * The workload tokens of this node: one per workload and key, fetched when first needed, fetched again at half of its life
 * in the background, one request at a time each, and served until its last moment while the CA is away. When the CA signs
 * with another key they are fetched again within seconds, so that nothing rests on a key that is about to go; a token whose
 * key was withdrawn is never served.
 */
export class WorkloadTokenCache implements WorkloadTokenSource, Closable {
  readonly #options: WorkloadTokenCacheOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #observer: Observer<CaEvent>;
  readonly #entries = new Map<string, TokenEntry>();
  readonly #timers = new Map<string, Timer>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #flight = new SingleFlight<string, TokenEntry>();
  readonly #listeners = new Set<(fresh: FreshToken) => void>();
  readonly #stop = new AbortController();
  readonly #subscriptions: readonly Disposable[];
  #retained: ReadonlySet<string> | undefined;
  #saving: Promise<void> | undefined;
  #dirty = false;

  private constructor(options: WorkloadTokenCacheOptions, kept: readonly TokenEntry[]) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
    for (const entry of kept) this.#hold(entry);
    this.#subscriptions = [
      options.svid.subscribe(() => this.#dropUseless()),
      options.bundle.subscribe(() => this.#followKeys()),
    ];
    this.#followKeys();
  }

  /** Takes what `file` keeps for the current key; a file that cannot be used is ignored. */
  static async open(options: WorkloadTokenCacheOptions): Promise<WorkloadTokenCache> {
    return new WorkloadTokenCache(options, await keptEntries(options));
  }

  /**
   * A valid token for `workload`, bound to `keyThumbprint`: the one at hand, or a fresh one. Throws `CA_TOKEN_UNAVAILABLE`
   * (its cause is the CA's refusal, or why it could not be asked) and `CA_CLOSED`.
   */
  async token(
    workload: SpiffeId,
    options: { readonly keyThumbprint: string; readonly signal?: AbortSignal | undefined },
  ): Promise<string> {
    const held = this.#entries.get(entryKey(workload, options.keyThumbprint));
    if (held !== undefined && this.#serves(held)) return held.token;
    try {
      const entry = await this.#fetch(workload, options.keyThumbprint, this.#options.request, options.signal);
      return entry.token;
    } catch (cause) {
      options.signal?.throwIfAborted();
      const message = `there is no valid token for ${workload.toString()} on this node: ${describeError(cause)}`;
      throw new CaError('CA_TOKEN_UNAVAILABLE', message, { cause });
    }
  }

  /**
   * Fetches tokens for a key that is not in use yet, so that the change of keys costs no connection. A workload that the CA
   * refuses is left out; anything else that fails rejects.
   */
  async prefetch(workloads: Iterable<SpiffeId>, options: PrefetchOptions): Promise<void> {
    const { keyThumbprint, request = this.#options.request, signal } = options;
    const missing = [...workloads].filter((workload) => {
      const held = this.#entries.get(entryKey(workload, keyThumbprint));
      return held === undefined || !this.#serves(held);
    });
    await inParallel(8, missing, async (workload) => {
      try {
        await this.#fetch(workload, keyThumbprint, request, signal);
      } catch (error) {
        if (!isRefusal(error)) throw error;
      }
    });
  }

  /** The workloads that tokens are held for at this moment, as for `prefetch` before a change of keys. */
  get workloads(): readonly SpiffeId[] {
    return [...new Map([...this.#entries.values()].map(({ workload }) => [workload.toString(), workload])).values()];
  }

  /** From now on only tokens of these workloads are kept fresh; those of others are dropped. */
  retain(workloads: Iterable<SpiffeId>): void {
    this.#retained = new Set(Array.from(workloads, (workload) => workload.toString()));
    this.#dropUseless();
  }

  /** Calls `listener` with each token that was fetched, as to send it on open tunnels. */
  onRefresh(listener: (fresh: FreshToken) => void): Disposable {
    const own = (fresh: FreshToken): void => listener(fresh);
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  /** Stops refreshing and finishes writing. */
  async close(): Promise<void> {
    this.destroy();
    await this.#saving;
  }

  destroy(_reason?: Error): void {
    this.#stop.abort(new CaError('CA_CLOSED', 'the token cache is closed'));
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #fetch(workload: SpiffeId, keyThumbprint: string, request: TokenRequest, signal?: AbortSignal): Promise<TokenEntry> {
    const key = entryKey(workload, keyThumbprint);
    return this.#flight.run(key, () => this.#fetchNow(workload, keyThumbprint, request), signal);
  }

  async #fetchNow(workload: SpiffeId, keyThumbprint: string, request: TokenRequest): Promise<TokenEntry> {
    this.#stop.signal.throwIfAborted();
    if (request === this.#options.request && keyThumbprint !== this.#options.svid.current.keyThumbprint) {
      // The CA binds to the key of the connection, which is the current one.
      throw new CaError('CA_TOKEN_UNAVAILABLE', 'the key asked for is no longer the one of this node’s SVID');
    }
    const timeout = new AbortController();
    const timeoutMs = this.#options.timeoutMs ?? 10_000;
    const late = new CaError('CA_UNAVAILABLE', `no answer within ${String(timeoutMs)} ms`);
    const timer = this.#clock.timer(timeoutMs, () => timeout.abort(late));
    try {
      const signal = AbortSignal.any([this.#stop.signal, timeout.signal]);
      const issued = await abandonOnAbort(request(workload, { signal }), signal);
      const entry = await this.#checked(workload, keyThumbprint, issued);
      this.#take(entry);
      return entry;
    } catch (error) {
      const code = isMeshwrightError(error) ? error.code : 'CA_UNAVAILABLE';
      notify(this.#observer, { type: 'workload-token-failed', workload: workload.toString(), code });
      throw error;
    } finally {
      timer.cancel();
    }
  }

  /** What the CA sent, as any receiver will check it: a token that would be refused there is refused here. */
  async #checked(workload: SpiffeId, keyThumbprint: string, { token }: IssuedWorkloadToken): Promise<TokenEntry> {
    const { svid, bundle, audience = defaultWorkloadTokenAudience } = this.#options;
    const receivedAtMs = this.#clock.now();
    const node = readAgentId(svid.current.spiffeId)?.node ?? '';
    try {
      const verified = await verifyWorkloadToken(token, {
        bundle: bundle.current,
        audience,
        now: receivedAtMs,
        node,
        keyThumbprint,
      });
      if (!verified.workload.equals(workload)) throw new Error(`it is for ${verified.workload.toString()}`);
      const { keyId, expiresAt } = verified;
      return { workload, keyThumbprint, token, keyId, receivedAtMs, expiresAtMs: expiresAt.getTime() };
    } catch (cause) {
      const message = `the CA sent a token for ${workload.toString()} that cannot be used`;
      throw new CaError('CA_RESPONSE_INVALID', message, { cause });
    }
  }

  #take(entry: TokenEntry): void {
    if (this.#stop.signal.aborted) return;
    const { workload, keyThumbprint, token } = entry;
    this.#backoffs.delete(entryKey(workload, keyThumbprint));
    this.#hold(entry);
    this.#save();
    const expiresAt = new Date(entry.expiresAtMs);
    notify(this.#observer, { type: 'workload-token-updated', workload: workload.toString(), expiresAt });
    for (const listener of [...this.#listeners]) {
      try {
        listener({ workload, keyThumbprint, token, expiresAt });
      } catch (error) {
        this.#logger.error('a user of workload tokens failed to take a fresh one', { reason: describeError(error) });
      }
    }
  }

  #hold(entry: TokenEntry): void {
    const key = entryKey(entry.workload, entry.keyThumbprint);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const lifetimeMs = entry.expiresAtMs - entry.receivedAtMs;
    const refreshAtMs = entry.receivedAtMs + lifetimeMs * (0.5 - 0.05 * this.#random.fraction());
    this.#refreshIn(key, Math.max(0, refreshAtMs - this.#clock.now()));
    if (this.#entries.size > (this.#options.maxEntries ?? 8192)) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#drop(oldest);
    }
  }

  #refreshIn(key: string, delayMs: number): void {
    this.#timers.get(key)?.cancel();
    this.#timers.set(
      key,
      this.#clock.timer(delayMs, () => void this.#refresh(key)),
    );
  }

  async #refresh(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#stop.signal.aborted) return;
    const leftMs = entry.expiresAtMs - this.#clock.now();
    if (leftMs <= 0) {
      this.#drop(key);
      return;
    }
    if (!this.#current(entry)) {
      // Not for the key in use (any more, or yet): looked at again when it ends, or when keys change.
      this.#refreshIn(key, leftMs);
      return;
    }
    try {
      await this.#fetch(entry.workload, entry.keyThumbprint, this.#options.request);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const fields = { workload: entry.workload.toString(), reason: describeError(error) };
      if (isRefusal(error)) {
        this.#logger.warn('workload token no longer granted', fields);
        this.#drop(key);
        this.#save();
        return;
      }
      const quarterLeft = leftMs < (entry.expiresAtMs - entry.receivedAtMs) / 4;
      this.#logger[quarterLeft ? 'warn' : 'debug']('workload token not refreshed', fields);
      this.#refreshIn(key, this.#backoff(key, entry).nextMs());
    }
  }

  #backoff(key: string, entry: TokenEntry): Backoff {
    const lifetimeMs = entry.expiresAtMs - entry.receivedAtMs;
    const options = { firstMs: Math.min(5000, lifetimeMs / 50), maxMs: Math.min(60_000, lifetimeMs / 10) };
    const backoff = this.#backoffs.get(key) ?? new Backoff(options, this.#random);
    this.#backoffs.set(key, backoff);
    return backoff;
  }

  #current(entry: TokenEntry): boolean {
    return entry.keyThumbprint === this.#options.svid.current.keyThumbprint;
  }

  /** Valid, and signed by a key that is published. */
  #serves(entry: TokenEntry): boolean {
    if (this.#clock.now() >= entry.expiresAtMs) return false;
    return this.#options.bundle.current.workloadTokenKeys.some(({ kid }) => kid === entry.keyId);
  }

  /** After a change of the bundle: what the CA would not sign like this any more is fetched again. */
  #followKeys(): void {
    // The first is the one that signs.
    const [signing, ...others] = this.#options.bundle.current.workloadTokenKeys.map(({ kid }) => kid);
    const now = this.#clock.now();
    for (const [key, entry] of this.#entries) {
      if (entry.keyId === signing || !this.#current(entry)) continue;
      // At once when it is worth nothing any more; otherwise not all of the mesh in the same moment.
      const spreadMs = others.includes(entry.keyId) ? Math.min(maxSpreadMs, (entry.expiresAtMs - now) / 20) : 0;
      this.#refreshIn(key, Math.max(0, spreadMs * this.#random.fraction()));
    }
  }

  /** After a change of keys or workloads: what nobody will ask for goes, what was prefetched starts its refreshes. */
  #dropUseless(): void {
    const now = this.#clock.now();
    for (const [key, entry] of this.#entries) {
      const unwanted = this.#retained !== undefined && !this.#retained.has(entry.workload.toString());
      if (unwanted || now >= entry.expiresAtMs) {
        this.#drop(key);
      } else if (this.#current(entry)) {
        const lifetimeMs = entry.expiresAtMs - entry.receivedAtMs;
        this.#refreshIn(key, Math.max(0, entry.receivedAtMs + lifetimeMs / 2 - now));
      }
    }
    this.#save();
  }

  #drop(key: string): void {
    this.#entries.delete(key);
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
    this.#backoffs.delete(key);
  }

  /** Writes soon; changes that come while a write is under way go into the next one. */
  #save(): void {
    const { file } = this.#options;
    if (file === undefined) return;
    this.#dirty = true;
    this.#saving ??= this.#saveAll(file).finally(() => {
      this.#saving = undefined;
    });
  }

  async #saveAll(file: SecretFile): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      try {
        await file.write(encodeEntries(this.#entries.values()));
      } catch (error) {
        this.#logger.error('workload tokens could not be kept on disk', { reason: describeError(error) });
      }
    }
  }
}

/** The CA answered, and the answer is no: asking again changes nothing. */
function isRefusal(error: unknown): boolean {
  return isMeshwrightError(error, 'CA_WORKLOAD_NOT_ON_NODE') || isMeshwrightError(error, 'CA_SPIFFE_ID_REFUSED');
}

async function keptEntries(options: WorkloadTokenCacheOptions): Promise<readonly TokenEntry[]> {
  const { file, svid, clock = systemClock, logger = silentLogger } = options;
  try {
    const bytes = await file?.read();
    if (bytes === undefined) return [];
    const { keyThumbprint } = svid.current;
    const now = clock.now();
    return decodeEntries(bytes)
      .filter((entry) => entry.keyThumbprint === keyThumbprint && now < entry.expiresAtMs)
      .map((entry) => ({ ...entry, receivedAtMs: Math.min(entry.receivedAtMs, now) }));
  } catch (error) {
    logger.warn('kept workload tokens not usable, fetching anew', { reason: describeError(error) });
    return [];
  }
}

async function inParallel<T>(width: number, items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
}
