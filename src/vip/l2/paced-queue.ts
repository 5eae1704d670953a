import type { Clock, Timer } from '../../core/index.js';

/** Runs work at once while the rate allows, and else in order of arrival; a key that waits is not entered twice. */
export class PacedQueue implements Disposable {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #waiting = new Map<unknown, () => void>();
  #tokens: number;
  #filledAtMs: number;
  #timer: Timer | undefined;

  /** A tenth of a second's worth, at least 16, may go at once. */
  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burst = Math.max(16, perSecond / 10);
    this.#tokens = this.#burst;
    this.#filledAtMs = clock.monotonicMs();
  }

  submit(key: unknown, work: () => void): void {
    if (this.#waiting.size === 0 && this.#take()) {
      work();
      return;
    }
    if (!this.#waiting.has(key)) this.#waiting.set(key, work);
    this.#arm();
  }

  withdraw(key: unknown): void {
    this.#waiting.delete(key);
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#waiting.clear();
  }

  #arm(): void {
    this.#timer ??= this.#clock.timer(Math.max(1, 1000 / this.#perSecond), () => {
      this.#timer = undefined;
      for (const [key, work] of this.#waiting) {
        if (!this.#take()) break;
        this.#waiting.delete(key);
        work();
      }
      if (this.#waiting.size > 0) this.#arm();
    });
  }

  #take(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#filledAtMs) / 1000) * this.#perSecond);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
