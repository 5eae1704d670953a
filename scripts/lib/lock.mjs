// Two runs of set-up at once (a test run beside the demo) would build into the same folder; the second one waits.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, say } from './process.mjs';

const lockFile = join(root, '.setup', 'lock');

function holder() {
  try {
    const pid = Number(readFileSync(lockFile, 'utf8'));
    process.kill(pid, 0);
    return pid;
  } catch {
    return undefined;
  }
}

/** Calls `body` while no other process of this working copy does. A holder that died is no holder. */
export async function withLock(body) {
  mkdirSync(join(root, '.setup'), { recursive: true });
  let told = false;
  for (;;) {
    try {
      writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const pid = holder();
      if (pid === undefined) {
        rmSync(lockFile, { force: true });
        continue;
      }
      if (!told) say(`setup: waiting for another set-up (process ${pid})`);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
  try {
    return await body();
  } finally {
    rmSync(lockFile, { force: true });
  }
}
