import { readFileSync, readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/** Tests that make namespaces and kernel rules, or a whole mesh: one file at a time, after the others. */
const systemTests = [
  'test/e2e/**/*.test.ts',
  ...readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts') && /\bnetns: true\b/.test(readFileSync(`test/${path}`, 'utf8')))
    .map((path) => `test/${path}`),
];

/** Tests of the built package: they pack, install and compile, and need no quiet machine. */
const packageTests = ['test/package/**/*.test.ts', 'test/docs/**/*.test.ts'];

// Tests run against the sources: the private export condition maps `meshwright/x` to `src/x/index.ts`.
export default defineConfig({
  resolve: { conditions: ['meshwright-source'] },
  ssr: { resolve: { conditions: ['meshwright-source'] } },
  test: {
    pool: 'forks',
    setupFiles: ['test/support/property-seed.ts'],
    // What is polled for comes at once or never: this only says how long a busy machine may take.
    expect: { poll: { timeout: 10_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...systemTests, ...packageTests],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'package',
          include: packageTests,
          globalSetup: 'test/support/packed-package.ts',
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: systemTests,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
