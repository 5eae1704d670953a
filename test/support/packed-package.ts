/**
 * Global set-up of the package tests: builds the package when it is stale, packs it as `npm publish` would, and
 * installs the tarball in a consumer project of its own. Tests get it by `packedPackage()` of ./packed.js.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { repositoryRoot } from './repository.js';

export interface PackedPackage {
  /** The tarball's path. */
  readonly tarball: string;
  /** Paths inside the tarball, without the `package/` prefix. */
  readonly files: readonly string[];
  /** Bytes of the tarball. */
  readonly packedBytes: number;
  /** A copy of test/consumer with the tarball installed. */
  readonly consumer: string;
  /** What npm printed while it installed the tarball. */
  readonly installOutput: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    packed: PackedPackage | { readonly failure: string };
  }
}

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

export default function setup(project: TestProject): () => void {
  const scratch = mkdtempSync(join(tmpdir(), 'meshwright-package-'));
  try {
    project.provide('packed', packAndInstall(scratch));
  } catch (error) {
    // Thrown from here it would stop every test of every project; so it fails those that need the tarball.
    project.provide('packed', { failure: error instanceof Error ? error.message : String(error) });
  }
  return () => rmSync(scratch, { recursive: true, force: true });
}

function packAndInstall(scratch: string): PackedPackage {
  const consumer = join(scratch, 'consumer');
  mkdirSync(join(scratch, 'tarball'));

  run(process.execPath, ['scripts/build.mjs', '--if-stale'], repositoryRoot);
  const packOutput = run(
    'npm',
    ['pack', '--json', '--loglevel=error', '--ignore-scripts', '--pack-destination', join(scratch, 'tarball')],
    repositoryRoot,
  );
  const [packed] = JSON.parse(packOutput) as { size: number; files: { path: string }[] }[];
  const [name] = readdirSync(join(scratch, 'tarball'));
  if (packed === undefined || name === undefined) throw new Error('npm pack made no tarball');
  const tarball = join(scratch, 'tarball', name);

  cpSync(join(repositoryRoot, 'test/consumer'), consumer, { recursive: true });
  const install = spawnSync(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=warn', tarball],
    { cwd: consumer, encoding: 'utf8' },
  );
  const installOutput = `${install.stdout}${install.stderr}`;
  if (install.status !== 0) throw new Error(`npm could not install the tarball:\n${installOutput}`);

  return {
    tarball,
    files: packed.files.map(({ path }) => path).sort(),
    packedBytes: packed.size,
    consumer,
    installOutput,
  };
}
