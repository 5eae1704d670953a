import type { Clock, Timer, TimerOptions } from '../core/index.js';

export interface FakeClockOptions {
  /** Wall time at the start, in ms since the epoch or as a Date. Default 2030-01-01T00:00:00Z. */
  readonly start?: number | Date | undefined;
}

interface PendingTimer {
  readonly dueMs: number;
  /** Timers due at the same moment fire in the order they were made. */
  readonly order: number;
  readonly fn: () => void;
}

/** More timers than this in one `advance` are a timer that re-arms itself without delay. */
const maxFiredPerAdvance = 100_000;

/**
 * A clock that stands still until told otherwise. Wall and monotonic time advance together with `advance`; wall time
 * alone moves with `jumpWall`, forwards or back, as a machine's clock does when it is corrected.
 *
 * ```ts
 * const clock = new FakeClock();
 * clock.timer(1000, () => console.log('one second later'));
 * clock.advance(1000);
 * ```
 *
 * TLS in Node checks certificates against the real time of the machine, whatever the clock here: start it at
 * `Date.now()` where real handshakes are made.
 */
export class FakeClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  #made = 0;
  readonly #pending = new Set<PendingTimer>();

  constructor(options: FakeClockOptions = {}) {
    const { start = Date.UTC(2030, 0, 1) } = options;
    this.#wallMs = typeof start === 'number' ? start : start.getTime();
    if (!Number.isFinite(this.#wallMs)) throw new RangeError(`expected start to be a time, got ${String(start)}`);
  }

  now(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  timer(delayMs: number, fn: () => void, _options?: TimerOptions): Timer {
    const delay = Number.isNaN(delayMs) ? 0 : Math.max(0, delayMs);
    const pending: PendingTimer = { dueMs: this.#monotonicMs + delay, order: this.#made, fn };
    this.#made += 1;
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  /** How many timers wait. Zero at the end of a test shows that nothing was left behind. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Ms until the next timer fires; undefined when none waits. */
  get nextTimerMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.dueMs - this.#monotonicMs;
  }

  /**
   * Moves both times forward by `ms` (>= 0) and fires every timer due by then, in order, each at its own moment, those
   * included that fired timers make. Synchronous: promises settled by a timer run after it returns. What a timer throws
   * is thrown here.
   */
  advance(ms: number): void {
    const untilMs = this.#endOf(ms);
    for (let fired = 0; this.#fireNext(untilMs, fired); fired += 1);
    this.#moveTo(untilMs);
  }

  /** As `advance`, but lets promises and I/O that are ready run before the first timer, and after each. */
  async advanceAsync(ms: number): Promise<void> {
    const untilMs = this.#endOf(ms);
    await settle();
    for (let fired = 0; this.#fireNext(untilMs, fired); fired += 1) await settle();
    this.#moveTo(untilMs);
    await settle();
  }

  /** Moves wall time alone, by any amount of ms, back with a negative one. Fires nothing. */
  jumpWall(ms: number): void {
    if (!Number.isFinite(ms)) throw new RangeError(`expected a number of ms, got ${String(ms)}`);
    this.#wallMs += ms;
  }

  #endOf(ms: number): number {
    if (!Number.isFinite(ms) || ms < 0) throw new RangeError(`expected a number of ms >= 0, got ${String(ms)}`);
    return this.#monotonicMs + ms;
  }

  #fireNext(untilMs: number, fired: number): boolean {
    const next = this.#next();
    if (next === undefined || next.dueMs > untilMs) return false;
    if (fired >= maxFiredPerAdvance) {
      throw new Error(
        `expected at most ${String(maxFiredPerAdvance)} timers, got more: one re-arms itself without delay`,
      );
    }
    this.#pending.delete(next);
    this.#moveTo(next.dueMs);
    next.fn();
    return true;
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += Math.max(0, monotonicMs - this.#monotonicMs);
    this.#monotonicMs = Math.max(this.#monotonicMs, monotonicMs);
  }

  #next(): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#pending) {
      if (next === undefined || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order)) {
        next = timer;
      }
    }
    return next;
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
