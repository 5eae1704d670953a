import type { Random } from '../core/index.js';

export interface BackoffOptions {
  /** The first delay. */
  readonly firstMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
}

/** Exponential delays with jitter: the n-th is between half and all of `firstMs * 2^n`, capped at `maxMs`. */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #attempt = 0;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** How many delays were handed out since the last `reset`. */
  get attempt(): number {
    return this.#attempt;
  }

  nextMs(): number {
    // 2^30 is beyond any cap, and keeps the product finite.
    const fullMs = Math.min(this.#options.maxMs, this.#options.firstMs * 2 ** Math.min(30, this.#attempt));
    this.#attempt += 1;
    return fullMs * (0.5 + 0.5 * this.#random.fraction());
  }

  reset(): void {
    this.#attempt = 0;
  }
}
