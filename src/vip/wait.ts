import type { LatestValue } from '../core/index.js';

/** Resolves when `value` satisfies `holds`; rejects with the signal's reason. */
export async function until<T>(
  value: LatestValue<T>,
  holds: (current: T) => boolean,
  signal: AbortSignal,
): Promise<void> {
  for await (const current of value.changes({ signal })) if (holds(current)) return;
  signal.throwIfAborted();
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** A controller that aborts with any of `signals`, and can be taken off them again: they may live long. */
export function following(signals: readonly AbortSignal[]): AbortController & Disposable {
  const controller = new AbortController();
  const listeners = signals.map((signal) => {
    const onAbort = (): void => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    return { signal, onAbort };
  });
  return Object.assign(controller, {
    [Symbol.dispose]: () => {
      for (const { signal, onAbort } of listeners) signal.removeEventListener('abort', onAbort);
    },
  });
}
