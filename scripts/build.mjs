#!/usr/bin/env node
// The package as it is published: code by tsup, declarations by tsc (a d.ts per source file: one concept, one file,
// as in src/, and a third of the time that bundled declarations take). With --if-stale only when an input changed.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprint, isFresh, markFresh } from './lib/freshness.mjs';
import { root, run, say, tools } from './lib/process.mjs';
import { buildInputs } from './setup.mjs';

const sources = fingerprint(buildInputs);
const built = join(root, 'dist/core/index.js');

async function build() {
  for (const folder of ['dist', 'build/examples']) rmSync(join(root, folder), { recursive: true, force: true });
  const results = await Promise.all([
    run(process.execPath, [tools.tsup]),
    run(process.execPath, [tools.tsc, '--project', 'tsconfig.build.json']),
  ]);
  for (const { status, output } of results) if (status !== 0) say(output.trim());
  const failed = results.some(({ status }) => status !== 0);
  if (!failed) markFresh('build', sources);
  return failed ? 1 : 0;
}

const fresh = existsSync(built) && isFresh('build', sources);
process.exitCode = process.argv.includes('--if-stale') && fresh ? 0 : await build();
