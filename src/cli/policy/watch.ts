/** Waits for changes of files and directories until the process is told to stop. */
import { once } from 'node:events';
import { statSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../../core/index.js';
import type { Timer } from '../../core/index.js';

/** One save is several events, and some editors first truncate the file: wait until it is quiet for so long. */
const quietMs = 80;

/** YAML, JSON, and what may be a folder; not the reports that the run itself writes. */
const relevant = /(?:\.(?:ya?ml|json)|(?:^|[\\/])[^.\\/]+)$/;

/**
 * Calls `run` at once and after each change below `paths()`, which is asked anew each time since what is looked at may
 * change too. A change during a run is not missed. Resolves when `signal` aborts.
 */
export async function runOnChanges(
  paths: () => readonly string[],
  run: () => void,
  signal: AbortSignal,
): Promise<void> {
  const watchers = new Map<string, FSWatcher>();
  let timer: Timer | undefined;
  const follow = (): void => {
    // Of a file its directory: editors replace files, and a replaced one is no longer the one that is watched.
    const folders = new Set(paths().map((path) => (statSync(path).isDirectory() ? path : dirname(path))));
    for (const [folder, watcher] of watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      watchers.delete(folder);
    }
    for (const folder of folders)
      // What goes wrong with a folder shows when the tests in it run again.
      if (!watchers.has(folder)) watchers.set(folder, watch(folder, { recursive: true }, changed).on('error', later));
  };
  const again = (): void => {
    try {
      follow();
    } catch {
      // Something is gone, perhaps for the moment: the run says what, and the folders stay those of before.
    }
    run();
  };
  const later = (): void => {
    timer?.cancel();
    timer = systemClock.timer(quietMs, again, { keepAlive: true });
  };
  const changed = (_event: string, name: string | null): void => {
    if (name === null || relevant.test(name)) later();
  };
  follow();
  run();
  if (!signal.aborted) await once(signal, 'abort');
  timer?.cancel();
  for (const watcher of watchers.values()) watcher.close();
}
