/** The repository as files, for tests that check its text and its shape. */
import { readFileSync, readdirSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute, with a slash at its end. */
export const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));

const outputs = new Set(['.git', '.setup', '.vitest', 'build', 'coverage', 'dist', 'node_modules', 'prebuilds']);
/** What tests make beside themselves, and take away while others read what is kept. */
const scratch = /^scratch-/;

function* walk(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) {
      if (!outputs.has(entry.name) && !scratch.test(entry.name)) yield* walk(join(folder, entry.name));
    } else if (entry.isFile()) {
      yield relative(repositoryRoot, join(folder, entry.name)).split(sep).join('/');
    }
  }
}

/** Every file that is kept, as a path relative to the repository with forward slashes; no build output. */
export function repositoryFiles(under = ''): readonly string[] {
  return [...walk(join(repositoryRoot, under))].sort();
}

export function readRepositoryFile(path: string): string {
  return readFileSync(join(repositoryRoot, path), 'utf8');
}

export interface PackageManifest {
  readonly name: string;
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

export function packageManifest(): PackageManifest {
  return JSON.parse(readRepositoryFile('package.json')) as PackageManifest;
}

/** The modules that the package publishes: the names of its subpath exports, as `core`. */
export function publishedModules(): readonly string[] {
  return Object.keys(packageManifest().exports)
    .filter((subpath) => !subpath.endsWith('.json'))
    .map((subpath) => subpath.slice(2));
}

export interface ImportOf {
  /** The importing file. */
  readonly file: string;
  /** The specifier as written. */
  readonly specifier: string;
  /** True for `import type`, `export type … from` and `import('…')` in a type: nothing of it is left at run time. */
  readonly typeOnly: boolean;
}

const statement = /^[ \t]*(?:import|export)\s+(type\s+)?(?:[\w*${}\s,]+?\s+from\s+)?'([^']+)'/gm;
const dynamic = /\bimport\(\s*'([^']+)'\s*\)/g;

/** All imports of a TypeScript file: static, type-only, re-exports and `import('literal')`. */
export function importsOf(file: string): readonly ImportOf[] {
  const text = readRepositoryFile(file).replace(/\/\*[\s\S]*?\*\//g, '');
  return [
    ...[...text.matchAll(statement)].map((match) => ({
      file,
      specifier: match[2] ?? '',
      typeOnly: match[1] !== undefined,
    })),
    ...[...text.matchAll(dynamic)].map((match) => ({ file, specifier: match[1] ?? '', typeOnly: false })),
  ];
}

/** The file that a relative specifier means, or undefined for a package. */
export function resolveRelative(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts');
}
