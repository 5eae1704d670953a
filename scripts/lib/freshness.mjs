// "Is this output still that of these inputs?", by content and not by date, so that a checkout does not rebuild all.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './process.mjs';

const stampFolder = join(root, '.setup');

function* filesUnder(path) {
  if (!existsSync(path)) return;
  if (statSync(path).isFile()) {
    yield path;
    return;
  }
  for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name !== 'node_modules') yield* filesUnder(join(path, entry.name));
  }
}

/** A hash over names and contents of everything under `paths` (relative to the repository). */
export function fingerprint(paths) {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}`);
  for (const path of paths) {
    for (const file of filesUnder(join(root, path))) {
      hash.update(`\0${file.slice(root.length)}\0`).update(readFileSync(file));
    }
  }
  return hash.digest('hex');
}

/** True when `markFresh(name, value)` was the last word. */
export function isFresh(name, value) {
  try {
    return readFileSync(join(stampFolder, name), 'utf8') === value;
  } catch {
    return false;
  }
}

export function markFresh(name, value) {
  mkdirSync(stampFolder, { recursive: true });
  writeFileSync(join(stampFolder, name), value);
}
