/** Writes the files that are made from the sources and kept in the repository; tests fail when one is behind. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { policySchemas } from '../../src/authz/index.js';
import { agentMetrics, controllerMetricTable, vipMetricTable } from '../../src/telemetry/index.js';
import { errorTables, renderErrorReference } from './error-reference.js';
import { exportedNames } from './exported-names.js';
import { renderMetricReference } from './metric-reference.js';
import { policySchemaFiles } from './policy-schemas.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> };
const modules = Object.keys(manifest.exports)
  .filter((subpath) => !subpath.endsWith('.json'))
  .map((subpath) => subpath.slice(2));

const outputs: Readonly<Record<string, string>> = {
  'docs/errors.md': renderErrorReference(await errorTables(root)),
  'docs/metrics.md': renderMetricReference({
    agent: agentMetrics,
    vip: vipMetricTable,
    controller: controllerMetricTable,
  }),
  ...policySchemaFiles(policySchemas),
  'test/package/exported-names.json': `${JSON.stringify(exportedNames(root, modules), undefined, 2)}\n`,
};

for (const [path, text] of Object.entries(outputs)) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  process.stderr.write(`wrote ${path}\n`);
}
