/** Certificates and tokens: joining, and renewal under load with lifetimes of seconds. */
import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { keyThumbprint } from 'meshwright/spiffe';
import type { Checklist } from '../checklist.js';
import type { DemoMesh, Lifetimes, Running } from '../mesh.js';
import { clusterUrl, podNamed } from '../topology.js';

export async function checkJoining(mesh: DemoMesh, list: Checklist, lifetimes: Lifetimes): Promise<void> {
  for (const node of ['node-a', 'node-b', 'untrusted-1']) {
    const log = mesh.agentLog(node);
    const issued = log.find(({ msg }) => msg === 'mesh certificate issued');
    const short = (id: string): string => id.replace(/^spiffe:\/\/cluster\.local\//, '');
    list.equal(
      `${node} joined with a one-time token`,
      `agent/${node}, ECDSA P-256`,
      `${short(String(issued?.['spiffe_id']))}, ${String(issued?.['key_type'])}`,
      `not_after ${String(issued?.['not_after'])}`,
    );
  }
  const { code } = await mesh.joinAsOutsider(await readFile(mesh.joinFileOf('node-a'), 'utf8'));
  list.equal('a join token that was used already', 'CA_JOIN_TOKEN_USED', code, "node-a's, from another machine");
  const log = mesh.agentLog('node-a');
  const issued = log.find(({ msg }) => msg === 'mesh certificate issued');
  const scheduled = log.find(({ msg }) => msg === 'mesh certificate renewal scheduled');
  const leftMs = Date.parse(String(issued?.['not_after'])) - Date.parse(String(scheduled?.['renew_at']));
  const share = Math.round(100 * (1 - leftMs / lifetimes.svidTtlMs));
  list.record({
    name: 'renewal is scheduled at 80 % of the lifetime',
    expected: '80 % (with jitter)',
    actual: `${String(share)} %`,
    ok: share >= 70 && share <= 85,
    detail: `renew_at ${String(scheduled?.['renew_at'])}`,
  });
}

/** Load from the frontend pod: HTTP to backend-api, and one raw connection to the journal. */
export function startLoad(mesh: DemoMesh, name = 'load'): Running {
  return mesh.run(name, mesh.fabric.pod('web-frontend'), 'load.mjs', [
    clusterUrl('backend-api', '/api'),
    '10.96.10.71',
    '7000',
  ]);
}

/** Connections of pods that open no other: nothing but the agents' own renewals keeps them allowed. */
export interface QuietConnections {
  /** Those that are still open, by name. */
  stop(): readonly string[];
}

const prometheus = 'spiffe://cluster.local/ns/monitoring/sa/prometheus';
const quietPods = ['rogue-client', 'order-processor'] as const;

export function startQuiet(mesh: DemoMesh): QuietConnections {
  const connections = quietPods.map((pod) => ({
    pod,
    running: mesh.run(`quiet-${pod}`, mesh.fabric.pod(pod), 'held.mjs', [podNamed('secrets-vault-0').address, '8080']),
  }));
  const ask = (): void => {
    for (const { running } of connections) running.child.stdin?.write('http /quiet\n');
  };
  ask();
  const timer = setInterval(ask, 2_000);
  return {
    stop() {
      clearInterval(timer);
      return connections
        .filter(({ running }) => {
          running.child.kill('SIGKILL');
          const { log } = running;
          const saw = (wanted: string): boolean => log.find(({ event }) => event === wanted) !== undefined;
          return saw('data') && !saw('closed');
        })
        .map(({ pod }) => pod);
    },
  };
}

/** Whether the agent holds, for the key it uses now, a token of a workload that asks for nothing. */
export async function holdsToken(mesh: DemoMesh, node: string, workload: string): Promise<boolean> {
  const identity = (): Promise<string> => readFile(join(mesh.dataOf(node), 'identity.json'), 'utf8');
  for (;;) {
    const before = await identity();
    const { tokens } = JSON.parse(await readFile(join(mesh.dataOf(node), 'tokens.json'), 'utf8')) as {
      readonly tokens: readonly { readonly workload: string; readonly token: string }[];
    };
    // Not in the middle of a renewal.
    if ((await identity()) !== before) continue;
    const { chainPem } = JSON.parse(before) as { readonly chainPem: string };
    const key = keyThumbprint(createPublicKey(chainPem));
    return tokens.some((each) => {
      const claims = JSON.parse(Buffer.from(each.token.split('.')[1] ?? '', 'base64url').toString()) as {
        readonly cnf: { readonly jkt: string };
      };
      return each.workload === workload && claims.cnf.jkt === key;
    });
  }
}

export interface LoadResult {
  readonly sent: number;
  readonly ok: number;
  readonly failures: readonly string[];
  readonly rawSent: number;
  readonly rawReceived: number;
  readonly rawClosed: boolean;
  readonly rawSeconds: number;
}

export async function stopLoad(load: Running): Promise<LoadResult> {
  const mark = load.log.mark;
  load.child.kill('SIGTERM');
  const line = await load.log.wait(({ sent }) => sent !== undefined, 8_000, mark);
  if (line === undefined) throw new Error(`the load did not report: ${load.log.other.slice(-3).join(' ')}`);
  return line as unknown as LoadResult;
}

export async function checkRenewals(
  mesh: DemoMesh,
  list: Checklist,
  load: Running,
  quiet: QuietConnections,
): Promise<void> {
  const renewals = async (): Promise<number> =>
    Math.min(
      ...(await Promise.all(
        ['node-a', 'node-b'].map((node) => mesh.metric(node, 'novaedge_mesh_cert_renewals_total')),
      )),
    );
  const deadline = performance.now() + 45_000;
  while ((await renewals()) < 3 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 250));
  const count = await renewals();
  const open = quiet.stop();
  const result = await stopLoad(load);
  list.record({
    name: 'certificates renewed under load, on each node',
    expected: 'at least 3 times',
    actual: `${String(count)} times`,
    ok: count >= 3,
    detail: 'novaedge_mesh_cert_renewals_total',
  });
  list.record({
    name: 'requests failed meanwhile',
    expected: '0',
    actual: String(result.sent - result.ok),
    ok: result.sent > 100 && result.sent === result.ok,
    detail: `${String(result.sent)} sent; ${result.failures.slice(0, 3).join(', ')}`,
  });
  list.record({
    name: 'one raw connection through all of it',
    expected: 'open, every byte echoed',
    actual: result.rawClosed ? 'closed' : `open, ${String(result.rawReceived)} of ${String(result.rawSent)} bytes`,
    ok: !result.rawClosed && result.rawReceived === result.rawSent && result.rawSent > 0,
    detail: `${String(result.rawSeconds)} s`,
  });
  list.equal(
    'connections of quiet pods: to another node, to their own',
    quietPods.join(', '),
    open.join(', '),
    'evidence renewed on open streams',
  );
  list.equal(
    'a quiet pod has a token for the newest key of its node',
    'yes',
    (await holdsToken(mesh, 'node-b', prometheus)) ? 'yes' : 'no',
    'prometheus on node-b, fetched ahead',
  );
}
