/**
 * Time, injected. Wall time (`now`) is for certificates and tokens and may jump; monotonic time is for durations and
 * deadlines and never does. Nothing else in `src/` may call `Date.now`, `setTimeout` or `setInterval` (lint enforces it).
 */

export interface Timer {
  /** Stops the timer; does nothing when it has fired. */
  cancel(): void;
}

export interface TimerOptions {
  /** Keep the process alive until it fires. Default false. */
  readonly keepAlive?: boolean | undefined;
}

export interface Clock {
  /** Wall time in ms since the Unix epoch. */
  now(): number;
  /** Monotonic time in ms from an arbitrary origin. */
  monotonicMs(): number;
  /** Calls `fn` once, `delayMs` (>= 0, any size) of monotonic time from now. */
  timer(delayMs: number, fn: () => void, options?: TimerOptions): Timer;
}

/** Node fires a timer of more than 2^31-1 ms after 1 ms, so longer ones go in hops. */
const longestHopMs = 2 ** 31 - 1;

class SystemTimer implements Timer {
  #handle: NodeJS.Timeout | undefined;

  constructor(delayMs: number, fn: () => void, keepAlive: boolean) {
    const arm = (leftMs: number): void => {
      const hopMs = Math.min(leftMs, longestHopMs);
      this.#handle = setTimeout(() => {
        if (leftMs > hopMs) arm(leftMs - hopMs);
        else fn();
      }, hopMs);
      if (!keepAlive) this.#handle.unref();
    };
    arm(Number.isNaN(delayMs) ? 0 : Math.max(0, delayMs));
  }

  cancel(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }
}

/** The real clock. */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  timer: (delayMs: number, fn: () => void, options?: TimerOptions) =>
    new SystemTimer(delayMs, fn, options?.keepAlive ?? false),
});

export interface SleepOptions extends TimerOptions {
  /** Ends the wait early by rejecting with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Resolves after `delayMs` on `clock`; rejects with `signal.reason` when aborted. */
export function sleep(clock: Clock, delayMs: number, options: SleepOptions = {}): Promise<void> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.timer(
      delayMs,
      () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      },
      options,
    );
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
