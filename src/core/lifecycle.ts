import { systemClock } from './clock.js';
import type { Clock } from './clock.js';

/**
 * The lifecycle of everything that holds sockets, timers or processes.
 *
 * - made by an async factory (`listen`, `create`, `open`) that binds eagerly, so start-up errors surface at once;
 * - `close()` stops taking new work, lets running work finish (drains), and is idempotent: later calls return the same promise;
 * - `destroy(reason)` ends everything now;
 * - `await using` closes.
 */
export interface Closable extends AsyncDisposable {
  close(): Promise<void>;
  destroy(reason?: Error): void;
}

export interface CloseAllOptions {
  /** What has not finished by itself after this long is destroyed. Default: never. */
  readonly drainTimeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Closes all, last first, each after the one before it has ended, and reports every failure together as an
 * `AggregateError`. With `drainTimeoutMs` the whole takes no longer than that: what is left then is destroyed at once.
 */
export async function closeAll(
  closables: Iterable<Pick<Closable, 'close'> & Partial<Pick<Closable, 'destroy'>>>,
  options: CloseAllOptions = {},
): Promise<void> {
  const left = [...closables];
  const overdue = new Error('not closed within the drain time-out');
  const timer =
    options.drainTimeoutMs === undefined
      ? undefined
      : (options.clock ?? systemClock).timer(options.drainTimeoutMs, () => {
          for (const closable of left.toReversed()) closable.destroy?.(overdue);
        });
  const failures: unknown[] = [];
  while (left.length > 0) {
    try {
      await left.at(-1)?.close();
    } catch (error) {
      failures.push(error);
    }
    left.pop();
  }
  timer?.cancel();
  if (failures.length > 0) throw new AggregateError(failures, `${String(failures.length)} parts failed to close`);
}
