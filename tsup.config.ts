import { existsSync } from 'node:fs';
import { defineConfig, type Options } from 'tsup';
import manifest from './package.json' with { type: 'json' };

// One entry per subpath export, so that the export list of package.json stays the only list.
const modules = Object.keys(manifest.exports)
  .filter((subpath) => !subpath.endsWith('.json'))
  .map((subpath) => subpath.slice(2));

const programs = ['reference-agent', 'reference-controller', 'demo'];

function existing(entries: readonly (readonly [string, string])[]): Record<string, string> {
  return Object.fromEntries(entries.filter(([, source]) => existsSync(source)));
}

const common = { format: 'esm', target: 'node20', platform: 'node', silent: true, dts: false } as const;

const configurations: Options[] = [
  {
    ...common,
    entry: existing([
      ...modules.map((name) => [`${name}/index`, `src/${name}/index.ts`] as const),
      ['cli/main', 'src/cli/main.ts'],
      // Loaded by path into a thread of its own: no subpath export leads to it.
      ['vip/bfd/worker', 'src/vip/bfd/worker.ts'],
    ]),
    // Splitting keeps one class identity across subpaths.
    splitting: true,
  },
  {
    ...common,
    entry: existing(programs.map((name) => [`${name}/main`, `examples/${name}/main.ts`] as const)),
    outDir: 'build/examples',
    // The programs use the built package as any user does: by name, through its exports.
    external: [/^meshwright(\/|$)/],
    splitting: false,
  },
];

// A folder without a program yet is no entry.
export default defineConfig(configurations.filter(({ entry }) => Object.keys(entry ?? {}).length > 0));
