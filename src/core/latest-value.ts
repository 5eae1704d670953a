/**
 * A cell that always holds the newest value of something that changes: an SVID, a trust bundle, a snapshot.
 *
 * Readers take `current` at the moment of use and never keep it. `changes` conflates: a slow reader sees the newest
 * value, not every value.
 */

export interface LatestValue<T> {
  /** The value now. Reading it is free. */
  readonly current: T;
  /** Calls `listener` synchronously after each change (not with the current value). */
  subscribe(listener: (value: T) => void): Disposable;
  /** Yields the current value, then each newer one; ends when `signal` aborts. */
  changes(options?: { readonly signal?: AbortSignal | undefined }): AsyncIterableIterator<T>;
}

export class LatestValueCell<T> implements LatestValue<T> {
  #current: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get current(): T {
    return this.#current;
  }

  /** Replaces the value, then tells every subscriber. A subscriber that throws does not stop the others; the first error is rethrown. */
  set(value: T): void {
    this.#current = value;
    let failed = false;
    let failure: unknown;
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        if (!failed) failure = error;
        failed = true;
      }
    }
    if (failed) throw failure;
  }

  subscribe(listener: (value: T) => void): Disposable {
    // Wrapped, so that subscribing the same function twice gives two independent subscriptions.
    const own = (value: T): void => listener(value);
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  async *changes(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<T> {
    const { signal } = options;
    let dirty = true;
    let wake: () => void = () => undefined;
    const subscription = this.subscribe(() => {
      dirty = true;
      wake();
    });
    const onAbort = (): void => wake();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      while (signal?.aborted !== true) {
        if (dirty) {
          dirty = false;
          yield this.#current;
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          // The abort or a change may have come between the check above and this line.
          if (dirty || signal?.aborted === true) resolve();
        });
      }
    } finally {
      subscription[Symbol.dispose]();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** A cell whose value never changes: what a static SVID or bundle is to code that takes a live one. */
export function constantValue<T>(value: T): LatestValue<T> {
  return new LatestValueCell(value);
}
