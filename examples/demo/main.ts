/**
 * `npm run demo`: a real mesh of network namespaces on one machine, checked with real requests. See README.md.
 *
 * Without root it runs in a user namespace where the kernel allows it; elsewhere the same scenario runs on loopback.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { userNamespaceCommand, whyNetnsUnavailable } from 'meshwright/testing';
import { askForWorkloadToken } from './ask-token.js';
import { runAttack } from './attack.js';
import { Checklist, formatChecks } from './checklist.js';
import type { Check } from './checklist.js';
import { runLoopback } from './loopback.js';
import { runNetns } from './netns.js';

type Mode = 'netns' | 'userns' | 'loopback';

const usage = `Usage: npm run demo [-- options]

  --json       print one JSON object on standard output, progress on standard error
  --keep       leave the mesh up after the checks, and print the commands to play with
  --loopback   run the scenario on loopback in one process, without namespaces
  --help       show this text
`;

/** Set for the copy of this program that runs inside the user namespace. */
const insideUserns = process.env['MESHWRIGHT_DEMO_USERNS'] === '1';

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      loopback: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  if (positionals[0] === 'attack') return runAttack().then(() => 0);
  if (positionals[0] === 'ask-token') return askForWorkloadToken().then(() => 0);
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);

  const why = values.loopback ? 'asked for by --loopback' : await whyNotRoot();
  if (why !== undefined && !values.loopback && !insideUserns && (await usernsWorks())) {
    say('You are not root: the mesh runs in a user namespace.');
    return runInUserns();
  }
  const mode: Mode = why !== undefined ? 'loopback' : insideUserns ? 'userns' : 'netns';
  if (mode === 'loopback') say(`The mesh runs on loopback, without interception (${why ?? ''}).`);

  const started = performance.now();
  const list = new Checklist((check) => say(progress(check)));
  await (mode === 'loopback' ? runLoopback(list, say) : runNetns(list, say, { keep: values.keep }));
  report(list, mode, values.json, Math.round((performance.now() - started) / 1000));
  return list.ok ? 0 : 1;
}

/** Why namespaces, rules and capture cannot be made here; undefined when they can. */
async function whyNotRoot(): Promise<string | undefined> {
  const missing = await whyNetnsUnavailable();
  if (missing !== undefined) return `network namespaces need ${missing}`;
  return undefined;
}

function usernsWorks(): Promise<boolean> {
  if (process.platform !== 'linux') return Promise.resolve(false);
  return new Promise((resolve) => {
    const { command, args } = userNamespaceCommand('nft', ['list', 'tables']);
    const child = spawn(command, [...args], { stdio: 'ignore' });
    child.once('error', () => resolve(false));
    child.once('exit', (status) => resolve(status === 0));
  });
}

function runInUserns(): Promise<number> {
  const { command, args } = userNamespaceCommand(process.execPath, process.argv.slice(1));
  const child = spawn(command, [...args], { stdio: 'inherit', env: { ...process.env, MESHWRIGHT_DEMO_USERNS: '1' } });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => resolve(status ?? 1));
  });
}

function progress(check: Check): string {
  return `  ${check.ok ? 'ok  ' : 'MISS'} ${check.name}${check.ok ? '' : `: expected ${check.expected}, got ${check.actual}`}`;
}

function report(list: Checklist, mode: Mode, json: boolean, seconds: number): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ok: list.ok, mode, checks: list.checks })}\n`);
    return;
  }
  const passed = list.checks.filter(({ ok }) => ok).length;
  process.stdout.write(`\n${formatChecks(list.checks)}\n\n`);
  process.stdout.write(
    `${String(passed)} of ${String(list.checks.length)} checks as expected, in ${String(seconds)} s (${mode}).\n`,
  );
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
});
