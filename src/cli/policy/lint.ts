/** `meshwright policy lint DIR`: every error and warning, with file, line and fix. */
import { Command, InvalidArgumentError } from 'commander';
import { formatProblem, lintPolicies } from '../../authz/index.js';
import { exitStatus } from '../exit-status.js';
import { engineOptions, withEngineOptions } from './engine-options.js';
import type { EngineFlags } from './engine-options.js';
import { isPolicy, readManifests } from './files.js';
import { factsOfFile, factsOfManifests } from './mesh-facts.js';

interface LintFlags extends EngineFlags {
  readonly json?: true;
  readonly maxWarnings?: number;
  readonly mesh?: string;
  readonly expiringWithin?: number;
}

const units: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 604_800_000 };

function duration(text: string): number {
  const [, amount, unit = ''] = /^(\d{1,6})([hdw])$/.exec(text) ?? [];
  if (amount === undefined) throw new InvalidArgumentError('expected hours, days or weeks, such as 48h, 14d or 2w');
  return Number(amount) * (units[unit] ?? 0);
}

export function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number');
  return Number(text);
}

export function lintCommand(): Command {
  return withEngineOptions(new Command('lint'))
    .description('report every mistake in the policies of files and directories')
    .argument('<path...>', 'files or directories with policy manifests')
    .option('--json', 'print one JSON object')
    .option('--max-warnings <count>', 'fail when there are more warnings', count)
    .option('--mesh <file>', 'check targets and ports against the workloads and services of this file')
    .option('--expiring-within <time>', 'warn of grants that end so soon: 48h, 14d, 2w', duration)
    .addHelpText(
      'after',
      '\nWithout --mesh, targets are checked against the Services, Pods and Deployments found beside the policies, if any.',
    )
    .action((paths: readonly string[], flags: LintFlags) => {
      const documents = readManifests(paths);
      const manifests = documents.filter(({ manifest }) => isPolicy(manifest));
      const facts = flags.mesh === undefined ? factsOfManifests(documents) : factsOfFile(flags.mesh);
      const problems = lintPolicies(manifests, engineOptions(flags), {
        ...facts,
        expiringWithinMs: flags.expiringWithin,
      });
      const errors = problems.filter((problem) => problem.severity === 'error').length;
      const warnings = problems.length - errors;
      const ok = errors === 0 && warnings <= (flags.maxWarnings ?? Number.POSITIVE_INFINITY);
      if (flags.json === true) {
        console.log(JSON.stringify({ ok, policies: manifests.length, errors, warnings, problems }, undefined, 2));
      } else {
        for (const problem of problems) console.log(`${problem.severity} [${problem.code}] ${formatProblem(problem)}`);
        console.log(`${String(manifests.length)} policies: ${String(errors)} errors, ${String(warnings)} warnings`);
      }
      if (!ok) process.exitCode = exitStatus.negative;
    });
}
