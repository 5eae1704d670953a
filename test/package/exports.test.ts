import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exportedNames } from '../../scripts/generate/exported-names.js';
import {
  packageManifest,
  publishedModules,
  readRepositoryFile,
  repositoryFiles,
  repositoryRoot,
} from '../support/repository.js';

const unpublished = new Set(['internal', 'cli']);

describe('the export list of package.json', () => {
  const manifest = packageManifest();
  const modules = publishedModules();

  it('names every module of src/ and no other', () => {
    const folders = new Set(repositoryFiles('src').map((file) => file.split('/')[1] ?? ''));
    expect([...modules].sort()).toEqual([...folders].filter((name) => !unpublished.has(name)).sort());
  });

  it.each(modules)('leads %s to its source, its built code and its types', (module) => {
    expect(manifest.exports[`./${module}`]).toEqual({
      'meshwright-source': `./src/${module}/index.ts`,
      types: `./dist/${module}/index.d.ts`,
      default: `./dist/${module}/index.js`,
    });
    for (const path of [`src/${module}/index.ts`, `dist/${module}/index.d.ts`, `dist/${module}/index.js`]) {
      expect(existsSync(join(repositoryRoot, path)), path).toBe(true);
    }
  });

  it('exports the names of exported-names.json (npm run update rewrites it)', () => {
    const recorded: unknown = JSON.parse(readRepositoryFile('test/package/exported-names.json'));
    expect(exportedNames(repositoryRoot, modules)).toEqual(recorded);
  });

  it.each(modules)('gives from the built %s exactly the values that the sources export', async (module) => {
    const built = (await import(join(repositoryRoot, 'dist', module, 'index.js'))) as object;
    const recorded = JSON.parse(readRepositoryFile('test/package/exported-names.json')) as Record<
      string,
      { values: string[] }
    >;
    expect(Object.keys(built).sort()).toEqual(recorded[module]?.values);
  });

  it('is followed by index.ts files that only list names', () => {
    for (const module of modules) {
      const lines = readRepositoryFile(`src/${module}/index.ts`)
        .replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
        .split(';')
        .map((line) => line.trim())
        .filter((line) => line !== '');
      expect(
        lines.filter(
          (line) => !/^export (type )?(\{[^}]*\}|\*( as \w+)?) from '(\.|\.\.\/internal)\/[^']+'$/.test(line),
        ),
        module,
      ).toEqual([]);
    }
  });
});
