import { defineConfig } from 'vitest/config';

// Tests run against the sources: the private export condition maps `meshwright/x` to `src/x/index.ts`.
export default defineConfig({
  resolve: { conditions: ['meshwright-source'] },
  ssr: { resolve: { conditions: ['meshwright-source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 15_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
