/** `meshwright policy test --watch` as its user meets it: a process, a file that is saved, Ctrl-C. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

// A busy machine takes its time; every wait below ends as soon as what it waits for is there.
vi.setConfig({ testTimeout: 120_000 });

let folder: string;
let child: ChildProcess | undefined;
let output = '';
let wake: () => void = () => undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meshwright-watch-'));
  mkdirSync(join(folder, 'tests'));
  mkdirSync(join(folder, 'policies'));
  output = '';
});

afterEach(async () => {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  child = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function policy(namespace: string, more = ''): string {
  return `apiVersion: novaedge.io/v1alpha1
kind: ProxyPolicy
metadata: { name: p, namespace: shop }
spec:
  type: MeshAuthorization
  targetRef: { kind: Service, name: web }
  action: ALLOW
  rules: [{ from: [{ namespaces: [${namespace}] }] }]
${more}`;
}
const write = (name: string, text: string): void => {
  writeFileSync(join(folder, name), text);
};
/** As many editors save: a new file in the place of the old one. */
const replace = (name: string, text: string): void => {
  write(`${name}~`, text);
  renameSync(join(folder, `${name}~`), join(folder, name));
};
const test = (expected: string): string =>
  `policies: [../policies]\ntests:\n  - request: { from: front/x, to: shop/web }\n    expect: ${expected}\n`;

function start(...paths: readonly string[]): ChildProcess {
  const program = spawn(
    process.execPath,
    [
      '--conditions=meshwright-source',
      '--import',
      'tsx',
      resolve('src/cli/main.ts'),
      'policy',
      'test',
      ...paths,
      '--watch',
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  for (const stream of [program.stdout, program.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      wake();
    });
  program.on('close', () => {
    wake();
  });
  child = program;
  return program;
}

/** Waits for the end of a report that has `text`, and takes all of it away. */
async function report(text: string): Promise<void> {
  for (;;) {
    const end = /watching for changes, Ctrl-C to end\n/.exec(output);
    if (end !== null) {
      const seen = output.slice(0, end.index);
      output = output.slice(end.index + end[0].length);
      // A save may be reported twice; what counts is that the last state is.
      if (seen.includes(text)) return;
      continue;
    }
    if (child?.exitCode !== null || child.signalCode !== null)
      throw new Error(`expected ${text}, got the end: ${output}`);
    await new Promise<void>((resolved) => {
      wake = resolved;
    });
  }
}

it('reports again after each save, through errors too, and ends with the status of the last report', async () => {
  write('policies/p.yaml', policy('front'));
  write('tests/a.test.yaml', test('allow'));
  // A report written among the tests is no change of them.
  const program = start(join(folder, 'tests'), '--junit', join(folder, 'tests/report.xml'));
  await report('1 tests, 0 failed');
  write('tests/a.test.yaml', test('deny'));
  await report('1 tests, 1 failed');
  replace('tests/a.test.yaml', test('allow'));
  await report('1 tests, 0 failed');
  // Policies lie elsewhere and are looked at too.
  write('policies/p.yaml', policy('front', '  rulez: []\n'));
  await report('the policies do not compile');
  replace('policies/p.yaml', policy('back'));
  await report('1 tests, 1 failed');
  // Then it is quiet. A save may be reported twice, so what is left of that is waited for.
  for (let looks = 0; looks < 5; looks += 1) {
    output = '';
    await sleep(1000);
    if (output === '') break;
  }
  expect(output).toBe('');
  program.kill('SIGINT');
  expect(await once(program, 'close')).toEqual([1, null]);
});

it('begins with what does not compile, and ends with 0 once it does', async () => {
  write('policies/p.yaml', 'a: [\n');
  write('tests/a.test.yaml', test('allow'));
  const program = start(join(folder, 'tests/a.test.yaml'));
  await report('expected YAML');
  write('policies/p.yaml', policy('front'));
  await report('1 tests, 0 failed');
  program.kill('SIGTERM');
  expect(await once(program, 'close')).toEqual([0, null]);
});
