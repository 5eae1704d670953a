import type { Clock, Random, Timer } from '../../core/index.js';
import { Backoff } from '../../internal/backoff.js';

/** The time in which a peer that failed is left alone: longer from failure to failure (RFC 4271 section 8.1.1). */
export class IdleHold {
  readonly #maxMs: number;
  readonly #backoff: Backoff;
  readonly #clock: Clock;
  readonly #over: () => void;
  #running: { readonly timer: Timer; readonly until: number } | undefined;

  constructor(
    times: { readonly first: number; readonly max: number },
    clock: Clock,
    random: Random,
    /** The time is over, and was not cancelled. */
    over: () => void,
  ) {
    this.#maxMs = times.max;
    this.#backoff = new Backoff({ firstMs: times.first, maxMs: times.max }, random);
    this.#clock = clock;
    this.#over = over;
  }

  get isHolding(): boolean {
    return this.#running !== undefined;
  }

  /** Wall time at which it is over; undefined when none runs. */
  get until(): number | undefined {
    return this.#running?.until;
  }

  /** Begins anew; `longest` takes the longest time at once. */
  begin(longest: boolean): void {
    const delayMs = longest ? this.#maxMs : this.#backoff.nextMs();
    this.cancel();
    this.#running = {
      until: this.#clock.now() + delayMs,
      timer: this.#clock.timer(delayMs, () => {
        this.#running = undefined;
        this.#over();
      }),
    };
  }

  cancel(): void {
    this.#running?.timer.cancel();
    this.#running = undefined;
  }

  /** The peer has shown that it is sound: the next failure is the first again. */
  reset(): void {
    this.#backoff.reset();
  }
}
