import type { Clock } from '../core/index.js';

export interface TokenBucketOptions {
  /** How many may come at once after a quiet time. */
  readonly burst: number;
  readonly perSecond: number;
  /** Keys kept at most; beyond it the one used longest ago is forgotten (and starts full again). Default 10 000. */
  readonly maxKeys?: number | undefined;
}

/** A rate limit per key: each has a bucket of `burst` tokens that refills at `perSecond`. */
export class TokenBuckets {
  readonly #options: Required<{ [K in keyof TokenBucketOptions]: number }>;
  readonly #clock: Clock;
  /** In order of last use, oldest first. */
  readonly #buckets = new Map<string, { level: number; atMs: number }>();

  constructor(options: TokenBucketOptions, clock: Clock) {
    this.#options = { burst: options.burst, perSecond: options.perSecond, maxKeys: options.maxKeys ?? 10_000 };
    this.#clock = clock;
  }

  /** Takes one token of `key`; false when there is none. */
  take(key: string): boolean {
    const { burst, perSecond, maxKeys } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    const bucket = this.#buckets.get(key) ?? { level: burst, atMs: nowMs };
    const level = Math.min(burst, bucket.level + ((nowMs - bucket.atMs) / 1000) * perSecond);
    const taken = level >= 1;
    this.#buckets.delete(key);
    this.#buckets.set(key, { level: taken ? level - 1 : level, atMs: nowMs });
    if (this.#buckets.size > maxKeys) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return taken;
  }
}
