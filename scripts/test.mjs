#!/usr/bin/env node
// `npm test`: set-up, the static checks, every test. `npm test -- test/spiffe test/ca` runs those tests alone.
//
// The last line is `N passed, N failed`, or `N passed, N failed, N skipped`, counted from the real runs: a static check
// counts as one. Under MESHWRIGHT_REQUIRE_ALL=1 whatever set-up could not do, and every skipped test, is a failure.
//
// Under MESHWRIGHT_RUN_FAILED_AGAIN=1 up to three files that failed run once more, by themselves: many of the tests have real
// time limits, and share the machine with one another. What passes only then is named as unsteady. An error outside of any
// test, such as an unhandled rejection, is never forgiven.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { excerpt, root, run, say, tools } from './lib/process.mjs';
import { setup } from './setup.mjs';

const requireAll = process.env.MESHWRIGHT_REQUIRE_ALL === '1';
const paths = process.argv.slice(2);
const resultsFile = join(root, `build/test-results-${process.pid}.json`);
const unhandledFile = join(root, `build/test-unhandled-${process.pid}`);
const runFailedAgain = process.env.MESHWRIGHT_RUN_FAILED_AGAIN === '1';
const longestRunMs = 40 * 60_000;
const mostRunAgain = 3;

const count = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const skipReasons = new Map();

function fail(reason) {
  count.failed += 1;
  failures.push(reason);
}

/** The reason is in the title: `… [skipped: needs root]` (test/support/requirements.ts). */
function skip(title) {
  const reason = /\[skipped: ([^\]]*)\]/.exec(title)?.[1] ?? 'without a reason';
  skipReasons.set(reason, (skipReasons.get(reason) ?? 0) + 1);
  count.skipped += 1;
}

const checks = [
  { name: 'formatting (prettier)', command: [tools.prettier, '--check', '--log-level', 'warn', '.'] },
  { name: 'types (tsc)', command: [tools.tsc, '--noEmit'] },
  { name: 'lint (eslint)', command: [tools.eslint, '--max-warnings', '0', '.'] },
];

/** Two at a time: more would only make each other slow. */
async function runChecks() {
  const waiting = [...checks];
  const worker = async () => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const { status, output, elapsedMs } = await run(process.execPath, check.command, { timeoutMs: 10 * 60_000 });
      const seconds = `${(elapsedMs / 1000).toFixed(1)} s`;
      if (status === 0) {
        count.passed += 1;
        say(`check: ${check.name}: ok, ${seconds}`);
      } else {
        say(`check: ${check.name}: FAILED, ${seconds}\n${excerpt(output)}`);
        fail(`check: ${check.name}`);
      }
    }
  };
  await Promise.all([worker(), worker()]);
}

/** Undefined when vitest wrote none. */
function takeJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  } finally {
    rmSync(path, { force: true });
  }
}

function countFile(file) {
  const name = file.name.slice(root.length);
  for (const test of file.assertionResults) {
    if (test.status === 'passed') count.passed += 1;
    else if (test.status === 'failed') fail(`${name}: ${test.fullName}`);
    else if (requireAll) fail(`${name}: skipped: ${test.fullName}`);
    else skip(test.fullName);
  }
  const explained = file.assertionResults.some((test) => test.status === 'failed');
  if (file.status === 'failed' && !explained)
    fail(`${name}: ${(file.message || 'did not run to its end').split('\n')[0]}`);
}

/** One run of vitest; without files when it left no results. */
async function runVitest(files) {
  mkdirSync(join(root, 'build'), { recursive: true });
  const unhandledReporter = join(root, 'scripts/lib/unhandled-errors.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${resultsFile}`];
  reporters.push(`--reporter=${unhandledReporter}`);
  const { status } = await run(process.execPath, [tools.vitest, 'run', ...reporters, ...files], {
    inherit: true,
    timeoutMs: longestRunMs,
    env: { MESHWRIGHT_UNHANDLED_FILE: unhandledFile },
  });
  return { status, files: takeJson(resultsFile)?.testResults ?? [], unhandled: takeJson(unhandledFile) };
}

/** Puts the results of a second run in the place of the first ones. */
async function runAgain(first) {
  const failed = first.files.filter((file) => file.status === 'failed').map((file) => file.name);
  if (!runFailedAgain || first.unhandled !== 0 || failed.length === 0 || failed.length > mostRunAgain) return first;
  const second = await runVitest(failed);
  const again = new Map(second.files.map((file) => [file.name, file]));
  for (const file of first.files) {
    if (again.get(file.name)?.status !== 'passed') continue;
    const tests = file.assertionResults.filter((test) => test.status === 'failed').map((test) => test.fullName);
    say(
      `unsteady: ${file.name.slice(root.length)}: failed beside others, passed alone: ${tests.join('; ') || file.message}`,
    );
  }
  return { status: second.status, files: first.files.map((file) => again.get(file.name) ?? file) };
}

async function runTests() {
  const { status, files } = await runAgain(await runVitest(paths));
  const failedBefore = count.failed;
  if (files.length === 0) {
    fail(`vitest ran no test (status ${status})`);
    return;
  }
  for (const file of files) countFile(file);
  // An error outside of any test, such as an unhandled rejection, is in the status alone.
  if (status !== 0 && count.failed === failedBefore) fail(`vitest ended with status ${status} (see above)`);
}

try {
  const problems = await setup({ withPeers: true });
  if (requireAll) for (const problem of problems) fail(`setup: ${problem.split('\n')[0]}`);
  if (paths.length === 0) await runChecks();
  await runTests();
} catch (error) {
  say(error.message);
  fail(error.message.split('\n')[0]);
}

for (const [reason, number] of skipReasons) say(`skipped: ${number} ${number === 1 ? 'test' : 'tests'}: ${reason}`);
for (const failure of failures) say(`failed: ${failure}`);
const summary = [`${count.passed} passed`, `${count.failed} failed`];
if (count.skipped > 0) summary.push(`${count.skipped} skipped`);
process.stdout.write(`\n${summary.join(', ')}\n`);
process.exitCode = count.failed === 0 && count.passed > 0 ? 0 : 1;
