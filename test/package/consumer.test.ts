import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packedPackage } from '../support/packed.js';
import { packageManifest, publishedModules, readRepositoryFile, repositoryRoot } from '../support/repository.js';

const { consumer, installOutput } = packedPackage();
const tsc = join(repositoryRoot, 'node_modules/typescript/bin/tsc');

function compile(project: string): string {
  return spawnSync(process.execPath, [tsc, '--project', project], { cwd: consumer, encoding: 'utf8' }).stdout;
}

function node(...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd: consumer, encoding: 'utf8' });
}

describe('a project that installs the tarball', () => {
  it('is not asked to run an install script', () => {
    expect(installOutput).not.toMatch(/install script|allow-?scripts|node-gyp/i);
  });

  it('uses every module in its program', () => {
    const program = readRepositoryFile('test/consumer/main.ts');
    expect(publishedModules().filter((module) => !program.includes(`'meshwright/${module}'`))).toEqual([]);
  });

  it('compiles under NodeNext, strict, with the declarations of the package checked too', () => {
    // Only the package's own declarations: those of its dependencies are not ours to correct.
    const errors = compile('tsconfig.nodenext.json')
      .split('\n')
      .filter((line) => line.includes('error TS'))
      .filter((line) => !line.startsWith('node_modules/') || line.startsWith('node_modules/meshwright/'));
    expect(errors).toEqual([]);
  });

  it('compiles under the resolution of bundlers', () => {
    expect(compile('tsconfig.bundler.json')).toBe('');
  });

  it('runs', () => {
    compile('tsconfig.nodenext.json');
    expect(node('out/main.js').trim().split('\n').at(-1)).toBe('ok');
  });

  it('can import every module on its own', () => {
    for (const module of publishedModules()) {
      const program = `const names = await import('meshwright/${module}'); console.log(Object.keys(names).length)`;
      expect(Number(node('--input-type=module', '--eval', program)), module).toBeGreaterThan(0);
    }
  });

  it('cannot reach inner files', () => {
    const program = `await import('meshwright/dist/core/index.js').catch((error) => console.log(error.code))`;
    expect(node('--input-type=module', '--eval', program).trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });

  it('sees one class of error across modules', () => {
    const program = `
      const { MeshwrightError } = await import('meshwright/core');
      const { SpiffeError } = await import('meshwright/spiffe');
      console.log(Object.getPrototypeOf(SpiffeError) === MeshwrightError);`;
    expect(node('--input-type=module', '--eval', program).trim()).toBe('true');
  });

  it('has the program of the BFD thread where the package looks for it', () => {
    const program = `
      const { BfdService } = await import('meshwright/vip');
      const bfd = await BfdService.create();
      console.log(typeof bfd.threadId);
      await bfd.close();
      console.log(bfd.threadId);`;
    expect(node('--input-type=module', '--eval', program).trim().split('\n')).toEqual(['number', 'undefined']);
  });

  it('has the command on its path', () => {
    const version = execFileSync(join(consumer, 'node_modules/.bin/meshwright'), ['--version'], { encoding: 'utf8' });
    expect(version.trim()).toBe(packageManifest().version);
  });
});
