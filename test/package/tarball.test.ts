import { readFileSync } from 'node:fs';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { describe, expect, it } from 'vitest';
import { packedPackage } from '../support/packed.js';
import { packageManifest, publishedModules } from '../support/repository.js';

const { tarball, files, packedBytes } = packedPackage();

describe('the tarball', () => {
  it('holds the built package, its documents and nothing else', () => {
    const allowed =
      /^(dist\/|prebuilds\/|docs\/.*\.md$|schemas\/[a-z-]+\.schema\.json$|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/;
    expect(files.filter((path) => !allowed.test(path))).toEqual([]);
    expect(files.filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))).toEqual([]);
    for (const path of ['package.json', 'README.md', 'LICENSE', 'dist/cli/main.js']) expect(files).toContain(path);
    for (const module of publishedModules()) {
      expect(files).toContain(`dist/${module}/index.js`);
      expect(files).toContain(`dist/${module}/index.d.ts`);
    }
  });

  it.each(['linux-x64', 'linux-arm64'])('brings the native addon for %s', (platform) => {
    const prebuilt = files.filter((path) => path.startsWith(`prebuilds/${platform}/`));
    expect(prebuilt.filter((path) => path.endsWith('.node'))).toHaveLength(1);
  });

  it('runs nothing when it is installed', () => {
    const { scripts } = packageManifest();
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish', 'preprepare', 'postprepare'];
    expect(hooks.filter((name) => name in scripts)).toEqual([]);
    // npm runs node-gyp by itself where it finds this file.
    expect(files).not.toContain('binding.gyp');
  });

  it('stays small', () => {
    expect(packedBytes).toBeLessThan(2 * 1024 * 1024);
  });

  it('has nothing that publint objects to', async () => {
    const data = readFileSync(tarball);
    const { messages, pkg } = await publint({
      pack: { tarball: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) },
      strict: true,
    });
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
  });

  it('has types that every ESM consumer resolves', async () => {
    const result = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
    if (result.types === false) throw new Error('expected types in the tarball, found none');
    // The package is ESM only and has no root entry: `require` and the resolution of before Node 12 are out of scope.
    const relevant = result.problems.filter((problem) => {
      if ('resolutionKind' in problem && problem.resolutionKind === 'node10') return false;
      if (problem.kind === 'CJSResolvesToESM') return false;
      return !('entrypoint' in problem && problem.entrypoint.endsWith('.json'));
    });
    expect(relevant).toEqual([]);
  });
});
