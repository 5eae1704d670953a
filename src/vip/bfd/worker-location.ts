import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { packageRoot } from '../../internal/native/addon.js';
import { VipError } from '../errors.js';

/** How to start the thread: a file, or for sources a line of code that loads it. */
export type WorkerSource = { readonly file: URL } | { readonly code: string };

/**
 * The worker's entry, from wherever this code runs: dist/ of the package, or src/ of a checkout (through tsx, which a checkout
 * has). Throws `VIP_BFD_WORKER_MISSING`.
 */
export function findWorker(from: string = import.meta.url): WorkerSource {
  if (from.endsWith('.ts')) {
    const loader = pathToFileURL(
      createRequire(from)
        .resolve('tsx/esm/api')
        .replace(/\.cjs$/, '.mjs'),
    ).href;
    const entry = new URL('./worker.ts', from).href;
    const load = (url: string): string => `import(${JSON.stringify(url)})`;
    return { code: `${load(loader)}.then(({ register }) => (register(), ${load(entry)}));` };
  }
  const root = packageRoot(dirname(fileURLToPath(from)));
  if (root === undefined) {
    throw missing(
      `no package directory was found above ${fileURLToPath(from)}; was the package bundled into another file?`,
    );
  }
  return workerFile(join(root, 'dist', 'vip', 'bfd', 'worker.js'));
}

/** A file that the caller names. Throws `VIP_BFD_WORKER_MISSING`. */
export function workerFile(path: string | URL): WorkerSource {
  const file = typeof path === 'string' ? pathToFileURL(path) : path;
  if (!existsSync(file)) throw missing(`there is no file ${fileURLToPath(file)}`);
  return { file };
}

function missing(why: string): VipError {
  return new VipError('VIP_BFD_WORKER_MISSING', `BFD needs a thread of its own, whose program was not found: ${why}`);
}
