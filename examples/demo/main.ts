/**
 * `npm run demo`: a real mesh of network namespaces on one machine, checked with real requests. See README.md.
 *
 * Without root it runs in a user namespace where the kernel allows it; elsewhere the same scenario runs on loopback.
 */
import { parseArgs } from 'node:util';
import { whyNetnsUnavailable } from 'meshwright/testing';
import { askForLease } from './ask-lease.js';
import { askForWorkloadToken } from './ask-token.js';
import { runAttack } from './attack.js';
import { Checklist, formatChecks } from './checklist.js';
import type { Check } from './checklist.js';
import { joinOnce } from './join.js';
import { runLoopback } from './loopback.js';
import { runNetns, sections } from './netns.js';
import type { Section } from './netns.js';
import { endOnSignals } from './teardown.js';
import { insideUserNamespace, runInUserNamespace, whyNoUserNamespace } from './user-namespace.js';

type Mode = 'netns' | 'userns' | 'loopback';

const usage = `Usage: npm run demo [-- options]

  --json            print one JSON object on standard output, progress on standard error
                    (npm prints its own heading there too: npm run --silent demo -- --json)
  --keep            leave the mesh up after the checks, and print the commands to play with
  --only <parts>    run some of the checks: ${sections.join(', ')}
  --loopback        run the scenario on loopback in one process, without namespaces
  --help            show this text

The exit status is 0 when every check came out as expected, 1 when one did not, 2 for a wrong option.
`;

interface Options {
  readonly json: boolean;
  readonly keep: boolean;
  readonly loopback: boolean;
  readonly only: readonly Section[];
}

async function main(): Promise<number> {
  const [first] = process.argv.slice(2);
  if (first === 'attack') return runAttack().then(() => 0);
  if (first === 'ask-lease') return askForLease().then(() => 0);
  if (first === 'ask-token') return askForWorkloadToken().then(() => 0);
  if (first === 'join') return joinOnce().then(() => 0);
  if (first === '--help') {
    process.stdout.write(usage);
    return 0;
  }
  const options = parseOptions();
  if (typeof options === 'string') {
    process.stderr.write(`${options}\n\n${usage}`);
    return 2;
  }
  // Where Debian has ip, nft and iptables, and what a plain user's PATH lacks.
  process.env['PATH'] = `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`;
  const say = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`);

  const choice = await chooseMode(options);
  if (choice.mode === 'userns' && !insideUserNamespace) {
    say('Not root: the mesh runs in a user namespace of its own.');
    return runInUserNamespace();
  }
  endOnSignals((signal) => say(`\n${signal}: tearing everything down.`));
  return run(options, choice, say);
}

/** What was asked for, or what is wrong with it. */
function parseOptions(): Options | string {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        loopback: { type: 'boolean', default: false },
        only: { type: 'string' },
      },
    });
    const wanted = values.only?.split(',') ?? [...sections];
    const unknown = wanted.find((name) => !(sections as readonly string[]).includes(name));
    if (unknown !== undefined) return `--only: expected some of ${sections.join(', ')}, got ${JSON.stringify(unknown)}`;
    if (values.loopback && values.only !== undefined) return '--only: expected no --loopback beside it';
    return { ...values, only: sections.filter((name) => wanted.includes(name)) };
  } catch (error) {
    return (error as Error).message;
  }
}

async function chooseMode(options: Options): Promise<{ readonly mode: Mode; readonly why: string }> {
  if (options.loopback) return { mode: 'loopback', why: 'asked for by --loopback' };
  const missing = await whyNetnsUnavailable();
  if (missing === undefined) return { mode: insideUserNamespace ? 'userns' : 'netns', why: '' };
  if (insideUserNamespace) return { mode: 'loopback', why: `the user namespace lacks ${missing}` };
  const refused = await whyNoUserNamespace();
  if (refused === undefined) return { mode: 'userns', why: '' };
  return { mode: 'loopback', why: `network namespaces need ${missing}; a user namespace: ${refused}` };
}

async function run(
  options: Options,
  { mode, why }: { readonly mode: Mode; readonly why: string },
  say: (line: string) => void,
): Promise<number> {
  const started = performance.now();
  const list = new Checklist((check) => say(progress(check)));
  const done = (): void => report(list, mode, options.json, Math.round((performance.now() - started) / 1000));
  if (mode === 'loopback') {
    say(`The mesh runs on loopback, without interception (${why}).`);
    await runLoopback(list, say);
    done();
    if (options.keep) say('--keep: there is nothing to leave up; the mesh was part of this process.');
  } else {
    await runNetns(list, { say, keep: options.keep, sections: options.only, userNamespace: mode === 'userns', done });
  }
  return list.ok ? 0 : 1;
}

function progress(check: Check): string {
  return `  ${check.ok ? 'ok  ' : 'MISS'} ${check.name}${check.ok ? '' : `: expected ${check.expected}, got ${check.actual} (${check.detail})`}`;
}

function report(list: Checklist, mode: Mode, json: boolean, seconds: number): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ok: list.ok, mode, checks: list.checks })}\n`);
    return;
  }
  const passed = list.checks.filter(({ ok }) => ok).length;
  const columns = process.stdout.isTTY ? process.stdout.columns : 160;
  process.stdout.write(`\n${formatChecks(list.checks, Math.max(100, columns))}\n\n`);
  process.stdout.write(
    `${String(passed)} of ${String(list.checks.length)} checks as expected, in ${String(seconds)} s (${mode}).\n`,
  );
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
});
