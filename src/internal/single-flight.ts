/**
 * One run at a time per key: callers that come while a run is under way share its outcome, and the first one after it
 * starts anew. A caller's own signal ends only that caller's wait, not the run that others share.
 */
export class SingleFlight<K, T> {
  readonly #running = new Map<K, Promise<T>>();

  run(key: K, start: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let running = this.#running.get(key);
    if (running === undefined) {
      running = start().finally(() => this.#running.delete(key));
      this.#running.set(key, running);
    }
    return signal === undefined ? running : abandonOnAbort(running, signal);
  }
}

/** As `promise`, but rejects with the signal's reason when that comes first. The work behind `promise` goes on. */
export function abandonOnAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
