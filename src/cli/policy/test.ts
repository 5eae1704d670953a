/** `meshwright policy test DIR`: runs the policy tests of test files, with coverage. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { readPolicyTests, runPolicyTests } from '../../authz/index.js';
import type { CoverageReport, PolicyTestResult } from '../../authz/index.js';
import { describeError } from '../../core/index.js';
import { exitStatus } from '../exit-status.js';
import { coverageHtml, coverageText } from './coverage-report.js';
import { formatExplanation } from './explain.js';
import { findFiles, readDocuments, readPolicies } from './files.js';
import type { LocatedDocument } from './files.js';
import { junitXml } from './junit.js';
import { lintedEngine } from './linted-engine.js';
import { runOnChanges } from './watch.js';

interface TestFlags {
  readonly json?: true;
  readonly junit?: string;
  readonly watch?: true;
  readonly coverage?: true;
  readonly coverageHtml?: string;
  readonly minCoverage?: number;
}

/** The tests of one file, run. */
export interface TestFileRun {
  readonly file: string;
  readonly results: readonly (PolicyTestResult & { readonly line: number | undefined })[];
  readonly coverage: CoverageReport;
  readonly policies: readonly LocatedDocument[];
}

function percent(text: string): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) > 100)
    throw new InvalidArgumentError('expected a percentage from 0 to 100');
  return Number(text);
}

export function testCommand(): Command {
  return new Command('test')
    .description('run the policy tests (*.test.yaml) of files and directories')
    .argument('<path...>', 'test files, or directories with policies and tests')
    .option('--json', 'print one JSON object')
    .option('--junit <file>', 'also write a JUnit report')
    .option('--watch', 'run again whenever a file changes, until Ctrl-C')
    .option('--coverage', 'show which policies, rules and values no test exercises')
    .option('--coverage-html <file>', 'write the policies marked line by line as an HTML page')
    .option('--min-coverage <percent>', 'fail below this share of policies, rules and values', percent)
    .action(async (paths: readonly string[], flags: TestFlags) => {
      if (flags.watch === true) await watchAndRun(paths, flags);
      else if (!runOnce(paths, flags)) process.exitCode = exitStatus.negative;
    });
}

function runOnce(paths: readonly string[], flags: TestFlags): boolean {
  const runs = paths.flatMap((path) => findFiles(path).tests.map((file) => runFile(file)));
  if (runs.length === 0) throw new Error(`expected at least one *.test.yaml file in ${paths.join(', ')}`);
  const failed = runs.flatMap((run) => run.results).filter((result) => !result.ok).length;
  const total = runs.reduce((sum, run) => sum + run.results.length, 0);
  const lowest = Math.min(...runs.map((run) => run.coverage.covered.total));
  const covered = flags.minCoverage === undefined || lowest * 100 >= flags.minCoverage;
  const ok = failed === 0 && covered;
  if (flags.json === true) console.log(JSON.stringify({ ok, total, failed, files: runs.map(jsonRun) }, undefined, 2));
  else printRuns(runs, flags, { total, failed });
  if (!covered && flags.json !== true)
    console.log(`coverage ${(lowest * 100).toFixed(1)} % is below ${String(flags.minCoverage)} %`);
  if (flags.junit !== undefined) writeReport(flags.junit, junitXml(runs));
  if (flags.coverageHtml !== undefined) writeReport(flags.coverageHtml, coverageHtml(runs));
  return ok;
}

function runFile(file: string): TestFileRun {
  const [document, ...others] = readDocuments(file);
  if (document === undefined || others.length > 0) throw new Error(`${file}: expected one YAML document with tests`);
  const { policies: paths, mesh, tests } = readPolicyTests(document.manifest);
  const folder = dirname(file);
  const policies = readPolicies(paths === undefined ? [folder] : paths.map((path) => resolve(folder, path)));
  const engine = lintedEngine(policies, mesh.options);
  const results = runPolicyTests(engine, tests).map((result) => ({
    ...result,
    line: document.lineOf(result.test.path),
  }));
  return { file: document.file, results, coverage: engine.coverage(tests.map((test) => test.request)), policies };
}

function printRuns(
  runs: readonly TestFileRun[],
  flags: TestFlags,
  { total, failed }: { total: number; failed: number },
): void {
  for (const { file, results, coverage } of runs) {
    console.log(file);
    for (const { ok, test, message, explanation, line } of results) {
      console.log(`  ${ok ? 'ok  ' : 'FAIL'} ${test.name}${ok ? '' : ` (${file}:${String(line ?? 0)})`}`);
      if (message === undefined) continue;
      console.log(`       ${message}`);
      console.log(formatExplanation(explanation).replace(/^/gm, '       '));
    }
    if (flags.coverage === true) console.log(coverageText(coverage));
  }
  console.log(`${String(total)} tests, ${String(failed)} failed`);
}

function jsonRun({ file, results, coverage }: TestFileRun): unknown {
  return {
    file,
    tests: results.map(({ test, ok, message, explanation, line }) => ({
      name: test.name,
      line,
      ok,
      expect: test.expect,
      by: test.by,
      decision: explanation.decision,
      ...(ok ? {} : { message, explanation }),
    })),
    coverage,
  };
}

function writeReport(file: string, text: string): void {
  mkdirSync(dirname(resolve(file)), { recursive: true });
  writeFileSync(file, text);
}

/**
 * Runs at once and on every change, also of policies that tests name elsewhere, until SIGINT or SIGTERM; the exit status is
 * then that of the last run.
 */
async function watchAndRun(paths: readonly string[], flags: TestFlags): Promise<void> {
  const run = (): void => {
    try {
      process.exitCode = runOnce(paths, flags) ? exitStatus.ok : exitStatus.negative;
    } catch (error) {
      process.exitCode = exitStatus.unable;
      console.error(describeError(error));
    }
    console.error('watching for changes, Ctrl-C to end');
  };
  const stopped = new AbortController();
  const stop = (): void => {
    stopped.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    await runOnChanges(() => [...paths, ...policyPaths(paths)], run, stopped.signal);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** Where the tests in `paths` find their policies, as far as they can be read and are there. */
function policyPaths(paths: readonly string[]): readonly string[] {
  return paths
    .flatMap((path) => findFiles(path).tests)
    .flatMap((file) => {
      try {
        const { policies = [] } = readPolicyTests(readDocuments(file)[0]?.manifest);
        return policies.map((path) => resolve(dirname(file), path)).filter((path) => existsSync(path));
      } catch {
        return [];
      }
    });
}
