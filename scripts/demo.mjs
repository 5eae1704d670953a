#!/usr/bin/env node
// `npm run demo [-- --json | --keep | …]`: set-up, then the demo (examples/demo). Progress of set-up goes to stderr, so
// stdout is the demo's own.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root, say } from './lib/process.mjs';
import { setup } from './setup.mjs';

const program = join(root, 'build/examples/demo/main.js');

function runDemo() {
  const demo = spawn(process.execPath, [program, ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  // The terminal sends Ctrl-C to both; a `kill` of this process alone must reach the demo too, which tears down.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => demo.kill(signal));
  return new Promise((resolve, reject) => {
    demo.on('error', reject);
    demo.on('close', (status) => resolve(status ?? 1));
  });
}

try {
  try {
    await setup();
  } catch (error) {
    // Somebody else's working copy, set up already: the demo itself writes nothing into it.
    if ((error.code !== 'EACCES' && error.code !== 'EROFS') || !existsSync(program)) throw error;
    say(`demo: this working copy is not writable, so set-up is left out (${error.message})`);
  }
  if (!existsSync(program)) throw new Error('the demo was not built; see above');
  process.exitCode = await runDemo();
} catch (error) {
  say(`demo: ${error.message}`);
  process.exitCode = 1;
}
