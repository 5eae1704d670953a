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

/** Closes all, last first, and reports every failure together as an `AggregateError`. */
export async function closeAll(closables: Iterable<Pick<Closable, 'close'>>): Promise<void> {
  const failures: unknown[] = [];
  for (const closable of [...closables].reverse()) {
    try {
      await closable.close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, `${String(failures.length)} parts failed to close`);
}
