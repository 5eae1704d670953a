/** The commands of package.json, as programs: what they print last, and what they do when there is nothing to do. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repositoryRoot } from '../support/repository.js';

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function script(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const command = [join(repositoryRoot, 'scripts', name), ...args];
  // Without the marks by which the outer vitest would be taken for the inner one's.
  const own = Object.entries(process.env).filter(([key]) => !/^(VITEST|MESHWRIGHT_|NODE_OPTIONS)/.test(key));
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      command,
      { cwd: repositoryRoot, env: { ...Object.fromEntries(own), ...env } },
      (error, stdout, stderr) => resolve({ status: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? '';

describe('npm test', () => {
  let folder: string;
  let path: string;

  beforeAll(() => {
    folder = mkdtempSync(join(repositoryRoot, 'test', 'scratch-'));
    path = join(folder, 'counted.test.ts');
    writeFileSync(
      path,
      `import { expect, it } from 'vitest';
       it('passes', () => expect(1).toBe(1));
       it('fails', () => expect(1).toBe(2));
       it.skip('is left out [skipped: needs the moon]', () => undefined);
      `,
    );
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('counts what passed, failed and was skipped in its last line', async () => {
    const { status, stdout, stderr } = await script('test.mjs', [path]);
    expect(lastLine(stdout)).toBe('1 passed, 1 failed, 1 skipped');
    expect(status).toBe(1);
    expect(stderr).toContain('skipped: 1 test: needs the moon');
  });

  it('counts a skipped test as failed under MESHWRIGHT_REQUIRE_ALL=1', async () => {
    const { status, stdout, stderr } = await script('test.mjs', [path], { MESHWRIGHT_REQUIRE_ALL: '1' });
    expect(lastLine(stdout)).toMatch(/^1 passed, [2-9] failed$/);
    expect(status).toBe(1);
    expect(stderr).toMatch(/failed: .*skipped: is left out/);
  });

  it('runs a file that failed once more only under MESHWRIGHT_RUN_FAILED_AGAIN=1, names it, and forgives no stray error', async () => {
    const write = (name: string, stray: string): string => {
      const file = join(folder, name);
      const mark = JSON.stringify(`${file}.mark`);
      writeFileSync(
        file,
        `import { existsSync, writeFileSync } from 'node:fs';
         import { expect, it } from 'vitest';
         it('fails at first', () => {
           const again = existsSync(${mark});
           writeFileSync(${mark}, '');
           ${stray}
           expect(again).toBe(true);
         });
        `,
      );
      return file;
    };
    const again = { MESHWRIGHT_RUN_FAILED_AGAIN: '1' };
    const steady = await script('test.mjs', [write('plain.test.ts', '')]);
    expect([lastLine(steady.stdout), steady.status]).toEqual(['0 passed, 1 failed', 1]);
    const unsteady = await script('test.mjs', [write('unsteady.test.ts', '')], again);
    expect([lastLine(unsteady.stdout), unsteady.status]).toEqual(['1 passed, 0 failed', 0]);
    expect(unsteady.stderr).toMatch(
      /unsteady: .*unsteady\.test\.ts: failed beside others, passed alone: fails at first/,
    );
    const stray = write('stray.test.ts', "if (!again) void Promise.reject(new Error('stray'));");
    expect(lastLine((await script('test.mjs', [stray], again)).stdout)).toBe('0 passed, 1 failed');
    const lasting = await script('test.mjs', [path], again);
    expect(lastLine(lasting.stdout)).toBe('1 passed, 1 failed, 1 skipped');
  });

  it('fails when there is no test to run', async () => {
    const { status, stdout } = await script('test.mjs', ['test/no-such-folder']);
    expect(lastLine(stdout)).toBe('0 passed, 1 failed');
    expect(status).toBe(1);
  });
});

describe('npm run setup', () => {
  it('does nothing where everything is in place', async () => {
    const { stderr } = await script('setup.mjs', []);
    expect(stderr).not.toMatch(/installing|building/);
  });
});

describe('npm run bench', () => {
  it('lists the benchmarks with what each is about', async () => {
    const { status, stderr } = await script('bench.mjs', []);
    expect(status).toBe(0);
    expect(stderr).toMatch(/^ {2}authorize +\S/m);
  });

  it('refuses a name that is none', async () => {
    expect((await script('bench.mjs', ['no-such-benchmark'])).status).toBe(2);
  });
});
