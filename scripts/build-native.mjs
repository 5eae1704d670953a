// Builds the addon in native/ into prebuilds/<platform>-<arch>/meshwright.node, for every architecture whose compiler
// is installed. Usage: node scripts/build-native.mjs [--force] [--require-all]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const force = process.argv.includes('--force');
const requireAll = process.argv.includes('--require-all');

const targets = [
  { name: 'linux-x64', arch: 'x64', compiler: 'x86_64-linux-gnu-gcc', package: 'gcc' },
  { name: 'linux-arm64', arch: 'arm64', compiler: 'aarch64-linux-gnu-gcc', package: 'gcc-aarch64-linux-gnu' },
];

// No runtime of the compiler and no libc is linked in: each symbol comes from the node process, so that one binary
// loads under glibc and under musl. For that nothing may need compiler support routines either.
const flags = [
  ...['-std=c11', '-O2', '-fPIC', '-shared', '-nostdlib', '-s', '-fvisibility=hidden'],
  ...[
    '-fno-stack-protector',
    '-U_FORTIFY_SOURCE',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-Wl,-z,relro,-z,now,--build-id=none',
  ],
];

function fail(message) {
  process.stderr.write(`build-native: ${message}\n`);
  process.exit(1);
}

function runs(compiler) {
  return spawnSync(compiler, ['--version'], { stdio: 'ignore' }).status === 0;
}

function compilerFor(target) {
  if (runs(target.compiler)) return target.compiler;
  // The machine's own compiler may only be called gcc or cc.
  return target.arch === process.arch ? ['gcc', 'cc'].find(runs) : undefined;
}

function headers() {
  try {
    return createRequire(import.meta.url)('node-api-headers').include_dir;
  } catch {
    return fail('the package node-api-headers is missing; run npm install (development dependencies included)');
  }
}

if (process.platform !== 'linux') {
  process.stdout.write(`build-native: nothing to build on ${process.platform}; the addon exists for Linux only\n`);
  process.exit(0);
}

const sourceDirectory = join(root, 'native');
const inputs = readdirSync(sourceDirectory).filter((name) => /\.[ch]$/.test(name));
const sources = inputs.filter((name) => name.endsWith('.c')).sort();
const newestInput = Math.max(
  statSync(fileURLToPath(import.meta.url)).mtimeMs,
  ...inputs.map((name) => statSync(join(sourceDirectory, name)).mtimeMs),
);

for (const target of targets) {
  const output = join(root, 'prebuilds', target.name, 'meshwright.node');
  const upToDate = existsSync(output) && statSync(output).mtimeMs > newestInput;
  if (upToDate && !force) {
    process.stdout.write(`build-native: ${target.name} is up to date\n`);
    continue;
  }
  const compiler = compilerFor(target);
  if (compiler === undefined) {
    const advice = `${target.name} needs a C compiler (Debian: apt-get install ${target.package} libc6-dev)`;
    if (requireAll || target.arch === process.arch) fail(advice);
    process.stdout.write(`build-native: skipped ${advice}\n`);
    continue;
  }
  mkdirSync(dirname(output), { recursive: true });
  // Written aside and renamed: a process that has the old one mapped keeps it, and a failed build leaves it alone.
  const partial = `${output}.${process.pid}.tmp`;
  const args = [...flags, '-I', headers(), '-o', partial, ...sources];
  const result = spawnSync(compiler, args, { cwd: sourceDirectory, encoding: 'utf8' });
  if (result.status !== 0) fail(`${compiler} failed for ${target.name}:\n${result.stderr ?? String(result.error)}`);
  renameSync(partial, output);
  process.stdout.write(`build-native: built ${target.name} (${statSync(output).size} bytes)\n`);
}
