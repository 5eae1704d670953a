import { describeError, silentLogger } from '../../core/index.js';
import type { Clock, Logger } from '../../core/index.js';
import { SingleFlight, abandonOnAbort } from '../../internal/single-flight.js';
import { CaError } from '../errors.js';
import { parseKeySet } from './key-set.js';
import type { KeySet, VerificationKey } from './key-set.js';

/** Where the keys of an issuer come from. */
export interface KeySource {
  /** The key of that ID, `undefined` when the issuer has none. Throws `CA_ATTESTATION_UNAVAILABLE` when that is not known. */
  find(kid: string, signal: AbortSignal): Promise<VerificationKey | undefined>;
}

/** Keys that are given once. Throws `CA_REQUEST_INVALID`. */
export function staticKeys(document: unknown): KeySource {
  let keys: KeySet;
  try {
    keys = parseKeySet(document);
  } catch (cause) {
    throw new CaError('CA_REQUEST_INVALID', 'the key set (JWKS) cannot be used', { cause });
  }
  return Object.freeze({ find: (kid: string) => Promise.resolve(keys.get(kid)) });
}

export interface LoadedKeysOptions {
  /** The key set as JSON. */
  readonly load: (signal: AbortSignal) => Promise<unknown>;
  readonly clock: Clock;
  readonly logger?: Logger | undefined;
  /** Loaded again when older, in ms. Default 5 minutes. */
  readonly refreshMs?: number | undefined;
  /** Never loaded more often than this, in ms: callers choose the key IDs that are asked for. Default 10 000. */
  readonly minIntervalMs?: number | undefined;
  /** A set that could not be refreshed serves no longer than this, in ms. Default 24 hours. */
  readonly maxStaleMs?: number | undefined;
}

const loadTimeoutMs = 10_000;

/**
 * Keys that are loaded when needed and kept. A key ID that is not among them loads the set once more, since the issuer may
 * have a new key; when loading fails, the last good set serves on. Ages go by monotonic time.
 */
export class LoadedKeys implements KeySource {
  readonly #options: LoadedKeysOptions;
  readonly #logger: Logger;
  readonly #flight = new SingleFlight<'load', void>();
  #keys: KeySet | undefined;
  #loadedAtMs = 0;
  #lastAttemptMs = Number.NEGATIVE_INFINITY;
  #failure: string | undefined;
  #loading = false;

  constructor(options: LoadedKeysOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
  }

  async find(kid: string, signal: AbortSignal): Promise<VerificationKey | undefined> {
    const { refreshMs = 5 * 60_000, maxStaleMs = 24 * 60 * 60_000 } = this.#options;
    const known = this.#keys?.get(kid);
    if (known !== undefined && this.#ageMs() < refreshMs) return known;
    const asked = await this.#refresh(signal);
    const found = this.#ageMs() < maxStaleMs ? this.#keys?.get(kid) : undefined;
    if (found !== undefined) return found;
    if (asked && this.#failure === undefined) return undefined;
    // The message goes to a caller that is not known; the cause stays in our log.
    const cause = new Error(this.#failure ?? 'they were asked for a moment ago');
    const message = "the keys of the token's issuer cannot be had now; try again later";
    throw new CaError('CA_ATTESTATION_UNAVAILABLE', message, { cause });
  }

  /** False when it is too early to ask again. */
  async #refresh(signal: AbortSignal): Promise<boolean> {
    const { clock, minIntervalMs = 10_000 } = this.#options;
    const due = clock.monotonicMs() - this.#lastAttemptMs >= minIntervalMs;
    if (!due && !this.#loading) return false;
    await this.#flight.run('load', () => this.#load(), signal);
    return true;
  }

  async #load(): Promise<void> {
    const { clock, load } = this.#options;
    this.#loading = true;
    this.#lastAttemptMs = clock.monotonicMs();
    const timeout = new AbortController();
    const timer = clock.timer(loadTimeoutMs, () => timeout.abort(new Error('no answer in time')));
    try {
      const keys = parseKeySet(await abandonOnAbort(load(timeout.signal), timeout.signal));
      this.#keys = keys;
      this.#loadedAtMs = clock.monotonicMs();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = describeError(error);
      this.#logger.warn('keys of the token issuer could not be loaded', {
        reason: this.#failure,
        kept: this.#keys?.size ?? 0,
      });
    } finally {
      timer.cancel();
      this.#loading = false;
    }
  }

  #ageMs(): number {
    return this.#keys === undefined ? Number.POSITIVE_INFINITY : this.#options.clock.monotonicMs() - this.#loadedAtMs;
  }
}
