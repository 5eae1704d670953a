#!/usr/bin/env node
// Everything that tests and demo need, on a machine that has Node, npm and nothing else: npm packages, Debian packages,
// the native addon, the built package. Does only what is missing; says what it cannot do and how to do it by hand.
//
//   node scripts/setup.mjs            all of it
//   import { setup } from './setup.mjs'
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { installPackages } from './lib/debian.mjs';
import { fingerprint, isFresh, markFresh } from './lib/freshness.mjs';
import { withLock } from './lib/lock.mjs';
import { root, run, runQuietly, say } from './lib/process.mjs';

const oldestNode = [20, 18, 1];

function checkNode() {
  const have = process.versions.node.split('.').map(Number);
  const difference = have.map((part, index) => part - oldestNode[index]).find((part) => part !== 0) ?? 0;
  if (difference < 0) throw new Error(`Node ${oldestNode.join('.')} or newer is needed; this is ${process.version}`);
}

function modifiedMs(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function installNpmPackages() {
  const lock = fingerprint(['package-lock.json']);
  const installed = modifiedMs(join(root, 'node_modules/.package-lock.json'));
  if (installed > 0 && isFresh('npm', lock)) return;
  if (installed < modifiedMs(join(root, 'package-lock.json')) || installed === 0) {
    say('setup: installing npm packages');
    runQuietly('npm', ['ci', '--include=dev', '--loglevel=error', '--no-audit', '--no-fund']);
  }
  markFresh('npm', lock);
}

function hasPrebuild() {
  const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  return existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.node'));
}

async function buildAddon() {
  const script = join(root, 'scripts/build-native.mjs');
  if (process.platform !== 'linux' || !existsSync(script)) return undefined;
  const sources = fingerprint(['native', 'scripts/build-native.mjs']);
  if (hasPrebuild() && isFresh('native', sources)) return undefined;
  say('setup: building the native addon');
  const { status, output } = await run(process.execPath, [script]);
  if (status !== 0) return `the native addon was not built:\n${output.trim()}`;
  markFresh('native', sources);
  return undefined;
}

export const buildInputs = [
  'src',
  'examples',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'tsup.config.ts',
  'scripts/build.mjs',
];

async function buildPackage() {
  const sources = fingerprint(buildInputs);
  if (existsSync(join(root, 'dist/core/index.js')) && isFresh('build', sources)) return undefined;
  say('setup: building the package');
  const { status, output, elapsedMs } = await run(process.execPath, [join(root, 'scripts/build.mjs')]);
  if (status !== 0) return `the package was not built:\n${output.trim()}`;
  say(`setup: built in ${(elapsedMs / 1000).toFixed(1)} s`);
  return undefined;
}

/**
 * Runs every step (with `only: 'npm'` just the installation of npm packages; with `withPeers` also that of the programs
 * which tests and benchmarks run against); a step that fails does not stop the next. Returns what could not be done, as
 * sentences to show. Throws only when nothing can work: Node is too old, or npm packages cannot be installed.
 */
export async function setup({ only, withPeers = false } = {}) {
  checkNode();
  return withLock(async () => {
    const problems = [];
    installNpmPackages();
    const steps = only === 'npm' ? [] : [() => installPackages({ withPeers }), buildAddon, buildPackage];
    for (const step of steps) {
      const problem = await step();
      if (problem !== undefined) problems.push(problem);
    }
    for (const problem of problems) say(`setup: ${problem}`);
    return problems;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    const problems = await setup({ withPeers: true });
    if (problems.length === 0) say('setup: everything is in place');
    process.exitCode = problems.length === 0 ? 0 : 1;
  } catch (error) {
    say(`setup: ${error.message}`);
    process.exitCode = 1;
  }
}
