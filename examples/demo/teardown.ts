/**
 * Nothing of the demo outlives it: temporary directories are removed, and a signal ends the process by way of its `exit`
 * handlers, of which the namespaces' own lab has one too.
 */
import { readdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

const prefix = 'meshwright-demo-';

export interface TemporaryDirectory {
  readonly path: string;
  /** Removes it. What still writes to it must have ended. */
  remove(): void;
  /** To be called once the programs that write to it are known to a handler of `exit`: it is then removed after them. */
  removeLast(): void;
}

/** A directory that is gone when the process ends, however it ends; a killed run's is removed by the next one. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  sweep();
  const path = await mkdtemp(join(tmpdir(), `${prefix}${String(process.pid)}-`));
  const remove = (): void => {
    process.off('exit', remove);
    rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  };
  process.on('exit', remove);
  return {
    path,
    remove,
    removeLast() {
      process.off('exit', remove);
      process.on('exit', remove);
    },
  };
}

/** Ends the process on Ctrl-C, SIGTERM and SIGHUP, with its `exit` handlers; `onSignal` may say so. */
export function endOnSignals(onSignal: (signal: NodeJS.Signals) => void): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      onSignal(signal);
      process.exit(128 + constants.signals[signal]);
    });
  }
}

function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    } catch {
      // Another user's.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
