/** Attacks on identity: each must be refused at the destination, with its own reason in the destination's log. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { callAdmin } from 'meshwright/mesh';
import type { AttackOrder, StolenIdentity } from '../attack.js';
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { DemoMesh } from '../mesh.js';
import { nodeNamed, podNamed } from '../topology.js';

/** What a thief takes from a node's disk: its key and certificate, and the token of the frontend's workload. */
export interface Loot {
  readonly identity: StolenIdentity;
  readonly token: string;
}

interface Attack {
  readonly attempt: AttackOrder['attempts'][number];
  /** The status of the CONNECT, or `no tunnel` where TLS already refuses. */
  readonly expected: string;
  /** The reason (of the data path) or code (of the tunnel) in the destination's log. */
  readonly reason: string;
  /** What the text of that line must say, where one code has several causes. */
  readonly because?: RegExp;
}

const frontend = 'spiffe://cluster.local/ns/frontend/sa/web-frontend';

export async function checkIdentity(mesh: DemoMesh, list: Checklist, old: Loot): Promise<void> {
  await hasEnded(old);
  const order = await callAdmin(mesh.adminOf('controller'), 'join-token', { node: 'node-a' });
  const second = (await mesh.joinAsOutsider(JSON.stringify(order))).identity;
  if (second === undefined) throw new Error('no second certificate for node-a');
  const fresh = await steal(mesh, 'node-a', frontend);
  const other = await steal(mesh, 'untrusted-1', 'spiffe://cluster.local/ns/batch/sa/batch-runner');
  const authority = `${podNamed('backend-api-1').address}:8080`;
  const base = { authority, identity: fresh.identity };
  const attacks: readonly Attack[] = [
    {
      attempt: { name: 'control: the right token of the right node', ...base, token: fresh.token },
      expected: '200',
      reason: '',
    },
    {
      attempt: { name: 'a forged workload token', ...base, token: { forgedFor: frontend, node: 'node-a' } },
      expected: '403',
      reason: 'token-signature',
    },
    {
      attempt: { name: "a token bound to another node's key", ...base, identity: other.identity, token: fresh.token },
      expected: '403',
      reason: 'token-node-mismatch',
    },
    {
      attempt: { name: 'a token bound to another key of the same node', ...base, identity: second, token: fresh.token },
      expected: '403',
      reason: 'token-key-mismatch',
    },
    { attempt: { name: 'an expired token', ...base, token: old.token }, expected: '403', reason: 'token-expired' },
    { attempt: { name: 'no token at all', ...base }, expected: '403', reason: 'token-missing' },
    {
      attempt: {
        name: 'a certificate of another trust domain',
        ...base,
        identity: { selfIssued: 'spiffe://evil.example/agent/node-a', trustDomain: 'evil.example' },
        token: fresh.token,
      },
      expected: 'no tunnel',
      reason: 'TUNNEL_PEER_UNTRUSTED',
      because: /evil\.example/,
    },
    {
      attempt: {
        name: 'a certificate of a false CA of the same name',
        ...base,
        identity: { selfIssued: 'spiffe://cluster.local/agent/node-a', trustDomain: 'cluster.local' },
        token: fresh.token,
      },
      expected: 'no tunnel',
      reason: 'TUNNEL_PEER_UNTRUSTED',
      because: /chain|signed|authorit/i,
    },
    {
      attempt: { name: 'a certificate past its end', ...base, identity: old.identity, token: fresh.token },
      expected: 'no tunnel',
      reason: 'TUNNEL_PEER_UNTRUSTED',
      because: /expired|ended|past/i,
    },
    {
      attempt: {
        name: 'an authority that is not enrolled',
        ...base,
        authority: `${podNamed('prometheus').address}:8080`,
        token: fresh.token,
      },
      expected: '404',
      reason: 'authority-not-enrolled',
    },
    {
      attempt: {
        name: "an authority that is not this node's",
        ...base,
        authority: `${podNamed('backend-api-0').address}:8080`,
        token: fresh.token,
      },
      expected: '404',
      reason: 'authority-not-local',
    },
    {
      attempt: {
        name: "an authority that is the node's own loopback",
        ...base,
        authority: '127.0.0.1:9090',
        token: fresh.token,
      },
      expected: '404',
      reason: 'authority-not-local',
    },
  ];
  const log = mesh.agentLog('node-b');
  const mark = log.mark;
  const outcomes = await attack(
    mesh,
    attacks.map(({ attempt }) => attempt),
  );
  for (const { attempt, expected, reason, because = /./ } of attacks) {
    const got = outcomes.find(({ name }) => name === attempt.name)?.outcome ?? 'not tried';
    const text = (line: Readonly<Record<string, unknown>>): string => String(line['detail'] ?? line['reason'] ?? '');
    const refusal = (line: Readonly<Record<string, unknown>>): boolean =>
      (line['reason'] === reason || line['code'] === reason) && because.test(text(line));
    const line = reason === '' ? undefined : await log.wait(refusal, 1_000, mark);
    list.record({
      name: attempt.name,
      expected,
      actual: got,
      ok: got === expected && (reason === '' || line !== undefined),
      detail:
        reason === '' ? '' : line === undefined ? `no ${reason} in the log` : `${reason}: ${text(line)}`.slice(0, 120),
    });
  }
  await list.guard('a token for a workload of another node', async () => {
    const refused = await askForToken(mesh, 'node-a', 'spiffe://cluster.local/ns/production/sa/order-processor');
    list.equal(
      'the CA refuses a token for a workload of another node',
      'CA_WORKLOAD_NOT_ON_NODE',
      refused,
      'order-processor runs on node-b',
    );
  });
  await list.guard('a pod that claims another address', () => checkSpoofing(mesh, list));
}

/** Reads what lies on a node's disk: the agent's key, certificate and tokens. */
export async function steal(mesh: DemoMesh, node: string, workload: string): Promise<Loot> {
  const identity = await identityOf(mesh, node);
  const tokens = JSON.parse(await readFile(join(mesh.dataOf(node), 'tokens.json'), 'utf8')) as {
    readonly tokens: readonly { readonly workload: string; readonly token: string }[];
  };
  const token = tokens.tokens.filter((each) => each.workload === workload).at(-1)?.token;
  if (token === undefined) throw new Error(`${node} holds no token of ${workload}`);
  return { identity, token };
}

export async function identityOf(mesh: DemoMesh, node: string): Promise<StolenIdentity> {
  return JSON.parse(await readFile(join(mesh.dataOf(node), 'identity.json'), 'utf8')) as StolenIdentity;
}

async function attack(
  mesh: DemoMesh,
  attempts: AttackOrder['attempts'],
): Promise<readonly { readonly name: string; readonly outcome: string }[]> {
  const order: AttackOrder = {
    trustDomain: 'cluster.local',
    bundle: (await identityOf(mesh, 'node-a')).bundle,
    address: `${nodeNamed('node-b').address}:15002`,
    peer: 'spiffe://cluster.local/agent/node-b',
    attempts,
  };
  const { stdout } = await mesh.runHelper(mesh.fabric.outsider, 'attack', JSON.stringify(order));
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { name: string; outcome: string });
}

/** Asks the CA with the identity of the agent of `node`; returns the code of the refusal. */
async function askForToken(mesh: DemoMesh, node: string, workload: string): Promise<string> {
  const order = { identity: await identityOf(mesh, node), workload };
  return (await mesh.runHelper(mesh.fabric.node(node), 'ask-token', JSON.stringify(order))).stdout.trim();
}

/** Waits until the thief's old certificate and token are past their end, if they are not yet. */
async function hasEnded({ identity, token }: Loot): Promise<void> {
  const { exp = 0 } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: number };
  const endMs = Math.max(Date.parse(new X509Certificate(identity.chainPem).validTo), exp * 1_000);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, endMs + 1_000 - Date.now())));
}

/** Packets that the kernel of a node dropped because they did not come from where their source address lives. */
async function spoofedPackets(mesh: DemoMesh, node: string): Promise<number> {
  const { stdout } = await mesh.fabric.node(node).exec('nft', ['list', 'counters']);
  return [...stdout.matchAll(/counter spoofed_dropped \{\s+packets (\d+)/g)].reduce(
    (sum, [, packets]) => sum + Number(packets),
    0,
  );
}

/** The rogue pod takes the frontend's address, as a neighbour on the same node could. */
async function checkSpoofing(mesh: DemoMesh, list: Checklist): Promise<void> {
  const rogue = mesh.fabric.pod('rogue-client');
  const stolen = podNamed('web-frontend').address;
  await rogue.address('eth0', `${stolen}/32`);
  try {
    const url = `http://${podNamed('backend-api-1').address}:8080/api`;
    const before = await spoofedPackets(mesh, 'node-a');
    const result = await curl(rogue, url, { args: ['--interface', stolen], timeoutS: 2 });
    const actual = outcome(result) === '200' ? '200' : 'refused';
    const dropped = (await spoofedPackets(mesh, 'node-a')) - before;
    list.record({
      name: "a pod that claims another pod's address",
      expected: 'refused at its own interface',
      actual: actual === 'refused' ? `refused, ${String(dropped)} packets dropped` : actual,
      ok: actual === 'refused' && dropped > 0,
      detail: 'source pinning: counter spoofed_dropped on node-a',
    });
  } finally {
    await rogue.ip('address', 'del', `${stolen}/32`, 'dev', 'eth0');
  }
}
