/** Policies that change while traffic flows. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { DemoMesh, Running } from '../mesh.js';
import { clusterUrl, podNamed } from '../topology.js';

export async function checkPolicyChanges(mesh: DemoMesh, list: Checklist): Promise<void> {
  await list.guard('a policy edited in the directory', () => checkEdit(mesh, list));
  await list.guard('a broken manifest', () => checkBrokenManifest(mesh, list));
}

async function checkEdit(mesh: DemoMesh, list: Checklist): Promise<void> {
  const pod = mesh.fabric.pod('web-frontend');
  const kept = mesh.run('held-http', pod, 'held.mjs', [podNamed('legacy-guarded-0').address, '8080']);
  const raw = mesh.run('held-raw', pod, 'held.mjs', ['10.96.10.70', '7000']);
  kept.child.stdin?.write('http /kept\n');
  const first = await kept.log.wait(({ event }) => event === 'data', 5_000);
  raw.child.stdin?.write('raw hello\n');
  const echoed = await raw.log.wait(({ event, text }) => event === 'data' && text === 'hello', 5_000);
  list.equal(
    'a kept-alive HTTP connection, allowed',
    '200',
    statusOf(first),
    'production/legacy-guarded-allow-frontend',
  );
  list.equal('a raw TCP connection, allowed', 'hello', echoed?.['text'], 'production/ledger-allow-frontend');

  const files = ['legacy-guarded-allow-frontend', 'ledger-allow-frontend'].map((name) => `policies/${name}.yaml`);
  const marks = { kept: kept.log.mark, raw: raw.log.mark };
  const started = performance.now();
  for (const file of files) await mesh.editManifest(file, (text) => text.replace('- frontend', '- nobody'));
  const rawClosed = await raw.log.wait(({ event }) => event === 'closed', 3_000, marks.raw);
  const closedMs = Math.round(performance.now() - started);
  list.record({
    name: 'the raw connection is closed by the edited policy',
    expected: 'within 1000 ms',
    actual: rawClosed === undefined ? 'still open' : `${String(closedMs)} ms`,
    ok: rawClosed !== undefined && closedMs <= 1_000,
    detail: 'policy-changed',
  });
  kept.child.stdin?.write('http /kept-again\n');
  const second = await kept.log.wait(({ event }) => event === 'data' || event === 'closed', 3_000, marks.kept);
  const answer = second?.['event'] === 'closed' ? 'closed' : statusOf(second);
  list.record({
    name: 'the kept-alive connection, next request',
    expected: '403 or closed',
    actual: answer,
    ok: answer === '403' || answer === 'closed',
    detail: 'the edited policy, no restart',
  });
  for (const file of files) await mesh.editManifest(file, (text) => text.replace('- nobody', '- frontend'));
  const restored = await until(async () => outcome(await curl(pod, clusterUrl('legacy-guarded', '/'))), '200', 2_000);
  list.equal('the policy edited back', '200', restored, 'production/legacy-guarded-allow-frontend');
  for (const { child } of [kept, raw] satisfies Running[]) child.kill('SIGKILL');
}

async function checkBrokenManifest(mesh: DemoMesh, list: Checklist): Promise<void> {
  const file = 'policies/backend-api-allow-frontend.yaml';
  const path = join(mesh.manifests, file);
  const good = await readFile(path, 'utf8');
  const mark = mesh.controllerLog().mark;
  await writeFile(path, good.replace('action: ALLOW', 'action: ALOW'));
  const problem = await mesh.controllerLog().wait(({ msg }) => msg === 'manifest problem', 3_000, mark);
  const line = good.split('\n').findIndex((text) => text.includes('action: ALLOW')) + 1;
  const where = `${String(problem?.['file']).split('/').slice(-1).join('')}:${String(problem?.['line'])}`;
  list.equal(
    'a broken manifest is reported with file and line',
    `backend-api-allow-frontend.yaml:${String(line)}`,
    where,
    String(problem?.['field']),
  );
  list.record({
    name: '... with the field and what was expected',
    expected: 'action, ALLOW',
    actual: `${String(problem?.['field'])}: ${String(problem?.['expected'])}`,
    ok: String(problem?.['field']).includes('action') && String(problem?.['expected']).includes('ALLOW'),
    detail: `got ${String(problem?.['got'])}`,
  });
  const pod = (name: string) => mesh.fabric.pod(name);
  const frontend = outcome(await curl(pod('web-frontend'), clusterUrl('backend-api', '/api')));
  const rogue = outcome(await curl(pod('rogue-client'), clusterUrl('backend-api', '/api')));
  list.equal(
    '... and its last good form stays: frontend, rogue',
    '200, 403',
    `${frontend}, ${rogue}`,
    'production/backend-api-allow-frontend',
  );

  const added = join(mesh.manifests, 'policies/added.yaml');
  await writeFile(
    added,
    good
      .replace('backend-api-allow-frontend', 'added')
      .replace('action: ALLOW', 'action: ALOW')
      .replace('name: backend-api', 'name: legacy-open'),
  );
  const denied = await until(
    async () => outcome(await curl(pod('web-frontend'), clusterUrl('legacy-open', '/'))),
    '403',
    3_000,
  );
  list.equal('a policy that was never good denies its target', '403', denied, 'policy-unreadable');
  await rm(added);
  await writeFile(path, good);
  const open = await until(
    async () => outcome(await curl(pod('web-frontend'), clusterUrl('legacy-open', '/'))),
    '200',
    3_000,
  );
  list.equal('... until it is removed', '200', open, '');
}

/** Asks until the answer is `wanted` or the time is over; returns the last answer. */
export async function until(ask: () => Promise<string>, wanted: string, timeoutMs: number): Promise<string> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer === wanted || performance.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function statusOf(line: Readonly<Record<string, unknown>> | undefined): string {
  return /^HTTP\/1\.1 (\d{3})/.exec(String(line?.['text']))?.[1] ?? String(line?.['event']);
}
