/** `meshwright policy lint DIR`: every error and warning, with file, line and fix. */
import { Command, InvalidArgumentError } from 'commander';
import { formatProblem, lintPolicies } from '../../authz/index.js';
import { exitStatus } from '../exit-status.js';
import { engineOptions, withEngineOptions } from './engine-options.js';
import type { EngineFlags } from './engine-options.js';
import { readPolicies } from './files.js';

interface LintFlags extends EngineFlags {
  readonly json?: true;
  readonly maxWarnings?: number;
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
    .action((paths: readonly string[], flags: LintFlags) => {
      const manifests = readPolicies(paths);
      const problems = lintPolicies(manifests, engineOptions(flags));
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
