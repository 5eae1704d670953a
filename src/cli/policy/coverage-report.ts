/** Coverage as text and as an HTML page with the policies marked line by line. */
import { readFileSync } from 'node:fs';
import type { CoverageReport } from '../../authz/index.js';
import type { LocatedDocument } from './files.js';
import { xml } from './junit.js';
import type { TestFileRun } from './test.js';

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** What no test exercises, and the shares. */
export function coverageText({ policies, covered }: CoverageReport): string {
  const lines = [
    `  coverage: ${percent(covered.total)} (policies ${percent(covered.policies)}, rules ${percent(covered.rules)}, values ${percent(covered.values)})`,
  ];
  for (const { policy, hits, rules } of policies) {
    if (hits === 0) {
      lines.push(`    ${policy}: no test matches it`);
      continue;
    }
    for (const rule of rules) {
      if (rule.hits === 0) lines.push(`    ${policy} rule ${String(rule.rule)}: no test matches it`);
      else
        for (const value of rule.values)
          if (value.hits === 0) lines.push(`    ${policy} ${value.path}: no test needs ${JSON.stringify(value.value)}`);
    }
  }
  return lines.join('\n');
}

type Mark = 'hit' | 'miss';

export function coverageHtml(runs: readonly TestFileRun[]): string {
  const marks = new Map<string, Map<number, Mark>>();
  for (const { coverage, policies } of runs) {
    for (const document of policies) markDocument(document, coverage, marks);
  }
  const files = [...marks].map(([file, lines]) => {
    const rows = readFileSync(file, 'utf8')
      .split('\n')
      .map(
        (line, index) =>
          `<span class="${lines.get(index + 1) ?? 'plain'}">${String(index + 1).padStart(4)}  ${xml(line)}</span>`,
      );
    return `<h2>${xml(file)}</h2>\n<pre>${rows.join('\n')}</pre>`;
  });
  const summary = runs.map(({ file, coverage }) => `<li>${xml(file)}: ${percent(coverage.covered.total)}</li>`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Policy coverage</title><style>
body { font-family: sans-serif; margin: 2rem } pre { line-height: 1.4 } pre span { display: inline-block; width: 100% }
.hit { background: #d8f5d8 } .miss { background: #fbd5d5 }
</style></head><body>
<h1>Policy coverage</h1>
<p>Green: exercised by a test. Red: no test would notice its absence.</p>
<ul>${summary.join('')}</ul>
${files.join('\n')}
</body></html>
`;
}

/** A line is a hit when any run exercises it. */
function markDocument(
  { file, lineOf, manifest }: LocatedDocument,
  coverage: CoverageReport,
  marks: Map<string, Map<number, Mark>>,
): void {
  const { kind, metadata } = manifest as { kind: string; metadata: { namespace?: string; name: string } };
  const key = `${metadata.namespace ?? 'default'}/${metadata.name}`;
  const report = coverage.policies.find((each) => each.policy === key && each.kind === kind);
  if (report === undefined) return;
  const lines = marks.get(file) ?? new Map<number, Mark>();
  marks.set(file, lines);
  const mark = (path: string, hits: number): void => {
    const line = lineOf(path);
    if (line !== undefined && (hits > 0 || !lines.has(line))) lines.set(line, hits > 0 ? 'hit' : 'miss');
  };
  mark('metadata.name', report.hits);
  for (const rule of report.rules) {
    mark(rule.path, rule.hits);
    for (const value of rule.values) mark(value.path, value.hits);
  }
}
