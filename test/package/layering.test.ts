import { existsSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  importsOf,
  packageManifest,
  publishedModules,
  readRepositoryFile,
  repositoryFiles,
  repositoryRoot,
  resolveRelative,
} from '../support/repository.js';

/** The table of docs/architecture.md: a module imports modules of the layers before its own, and never its neighbours. */
const layers: readonly (readonly string[])[] = [
  ['core', 'internal'],
  ['spiffe'],
  ['ca', 'authz', 'snapshot', 'tproxy', 'tunnel', 'vip', 'traffic'],
  ['mesh'],
  ['kubernetes', 'etcd', 'workload-api', 'ext-authz', 'telemetry'],
  ['testing'],
  ['cli'],
];

function layerOf(module: string): number {
  return layers.findIndex((modules) => modules.includes(module));
}

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  if (layerOf(from) === 0) return layerOf(to) === 0;
  return layerOf(to) < layerOf(from);
}

const moduleOf = (path: string): string => path.split('/')[1] ?? '';
const sources = repositoryFiles('src').filter((file) => file.endsWith('.ts'));
const sourceImports = sources.flatMap((file) => importsOf(file));

/** The strongly connected groups of more than one file, by Tarjan's algorithm. */
function cycles(edges: ReadonlyMap<string, readonly string[]>): readonly (readonly string[])[] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): void => {
    order.set(node, order.size);
    low.set(node, order.get(node) ?? 0);
    stack.push(node);
    for (const next of edges.get(node) ?? []) {
      if (!order.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node) ?? 0, low.get(next) ?? 0));
    }
    if (low.get(node) !== order.get(node)) return;
    const group = stack.splice(stack.indexOf(node));
    if (group.length > 1) found.push(group.sort());
  };
  for (const node of edges.keys()) if (!order.has(node)) visit(node);
  return found;
}

describe('modules', () => {
  it('each have a layer', () => {
    const modules = new Set(sources.map(moduleOf));
    expect([...modules].filter((module) => layerOf(module) < 0)).toEqual([]);
  });

  it('import only modules of lower layers, types included', () => {
    const wrong = sourceImports.flatMap(({ file, specifier }) => {
      const target = resolveRelative(file, specifier);
      if (target === undefined) return [];
      if (!target.startsWith('src/')) return [`${file} imports ${specifier}, outside src/`];
      return mayImport(moduleOf(file), moduleOf(target)) ? [] : [`${file} imports ${specifier}`];
    });
    expect(wrong).toEqual([]);
  });

  it('are entered through their index.ts, except internal', () => {
    const wrong = sourceImports.flatMap(({ file, specifier }) => {
      const target = resolveRelative(file, specifier);
      if (target === undefined || !target.startsWith('src/')) return [];
      const module = moduleOf(target);
      if (module === moduleOf(file) || module === 'internal') return [];
      return target === `src/${module}/index.ts` ? [] : [`${file} imports ${specifier}`];
    });
    expect(wrong).toEqual([]);
  });

  it('import files that exist, with the .js suffix', () => {
    const wrong = sourceImports.flatMap(({ file, specifier }) => {
      const target = resolveRelative(file, specifier);
      if (target === undefined) return [];
      return existsSync(join(repositoryRoot, target)) ? [] : [`${file} imports ${specifier}`];
    });
    expect(wrong).toEqual([]);
  });

  it('have no import cycles between files at run time', () => {
    const edges = new Map<string, string[]>(sources.map((file) => [file, []]));
    for (const { file, specifier, typeOnly } of sourceImports) {
      const target = resolveRelative(file, specifier);
      if (!typeOnly && target !== undefined) edges.get(file)?.push(target);
    }
    expect(cycles(edges)).toEqual([]);
  });
});

describe('packages', () => {
  const builtin = new Set(builtinModules);
  const packageOf = (specifier: string): string =>
    specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
  const used = sourceImports.filter(
    ({ specifier }) => !specifier.startsWith('.') && !specifier.startsWith('node:') && !builtin.has(specifier),
  );

  it('that src/ imports are dependencies of the package', () => {
    const { dependencies } = packageManifest();
    expect(used.filter(({ specifier }) => !(packageOf(specifier) in dependencies))).toEqual([]);
  });

  it('that are dependencies are imported by src/', () => {
    const names = new Set(used.map(({ specifier }) => packageOf(specifier)));
    expect(Object.keys(packageManifest().dependencies).filter((name) => !names.has(name))).toEqual([]);
  });

  it('are each explained in docs/dependencies.md', () => {
    const text = readRepositoryFile('docs/dependencies.md');
    const { dependencies, devDependencies } = packageManifest();
    const names = [...Object.keys(dependencies), ...Object.keys(devDependencies)];
    expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  it('of Node are imported with the node: prefix', () => {
    expect(sourceImports.filter(({ specifier }) => builtin.has(specifier) && !specifier.startsWith('node:'))).toEqual(
      [],
    );
  });
});

describe('examples', () => {
  const files = repositoryFiles('examples').filter((file) => file.endsWith('.ts'));
  const modules = new Set(publishedModules().map((module) => `meshwright/${module}`));

  it('import the package by the names of its exports, and nothing else of this repository', () => {
    const wrong = files.flatMap(importsOf).filter(({ file, specifier }) => {
      if (specifier.startsWith('meshwright')) return !modules.has(specifier);
      const target = resolveRelative(file, specifier);
      return target !== undefined && !target.startsWith('examples/');
    });
    expect(wrong).toEqual([]);
  });
});
