import { defineConfig } from 'tsup';
import manifest from './package.json' with { type: 'json' };

// One entry per subpath export, so that the export list of package.json stays the only list.
const modules = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== './package.json')
  .map((subpath) => subpath.slice(2));

export default defineConfig({
  entry: Object.fromEntries(modules.map((name) => [`${name}/index`, `src/${name}/index.ts`])),
  format: 'esm',
  target: 'node20',
  // Splitting keeps one class identity across subpaths.
  splitting: true,
  dts: true,
  clean: true,
  treeshake: true,
});
