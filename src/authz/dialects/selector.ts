import { checkKeys, isFields } from '../manifest.js';
import type { ManifestReport } from '../manifest.js';
import { show } from '../problem.js';

/** Reads `selector: { matchLabels }`; undefined when it is absent or selects everything. Labels come back sorted by name. */
export function readSelector(
  value: unknown,
  path: string,
  report: ManifestReport,
): Readonly<Record<string, string>> | undefined {
  if (value === undefined) return undefined;
  if (!isFields(value)) {
    report.error(
      'wrong-type',
      path,
      'an object with matchLabels',
      show(value),
      'write selector: { matchLabels: { app: … } }',
    );
    return undefined;
  }
  checkKeys(value, ['matchLabels'], path, report);
  const { matchLabels } = value;
  if (matchLabels === undefined) return undefined;
  if (!isFields(matchLabels)) {
    report.error(
      'wrong-type',
      `${path}.matchLabels`,
      'labels with their values',
      show(matchLabels),
      'write one label: value pair for each',
    );
    return undefined;
  }
  const labels: Record<string, string> = {};
  for (const name of Object.keys(matchLabels).sort()) {
    const label = matchLabels[name];
    if (typeof label !== 'string' || label.includes('*') || name.includes('*') || name === '') {
      report.error(
        'malformed-value',
        `${path}.matchLabels.${name}`,
        'a label value without wildcards',
        show(label),
        'labels are compared exactly; quote the value',
      );
      continue;
    }
    Object.defineProperty(labels, name, { value: label, enumerable: true });
  }
  return Object.keys(labels).length === 0 ? undefined : labels;
}
