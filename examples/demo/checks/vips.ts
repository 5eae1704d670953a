/** A virtual IP in front of a service of the mesh: one owner, reached from outside, and what others cannot do about it. */
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { LeaseAnswer, LeaseOrder } from '../ask-lease.js';
import { DemoMesh } from '../mesh.js';
import { nodeNamed, pooledVips, vip } from '../topology.js';
import { identityOf } from './identity.js';
import { until } from './policy.js';
import { checkMoves } from './vip-moves.js';

/** `tokenBefore`: the fencing token of its lease before the controller was started again. */
export async function checkVips(mesh: DemoMesh, list: Checklist, tokenBefore: bigint | undefined): Promise<void> {
  const ask = async (port: number, path: string): Promise<string> =>
    outcome(await curl(mesh.fabric.outsider, `http://${vip.address}:${String(port)}${path}`, { timeoutS: 2 }));
  const reached = await until(() => ask(80, '/public/hello'), '200', 10_000);
  const [owner, ...others] = await owners(mesh, vip.address);
  const at = `${vip.address} on ${owner ?? 'no node'}`;
  list.equal('outside client -> virtual IP -> gateway -> backend-api', '200', reached, at);
  if (owner === undefined) throw new Error('no node has the virtual IP');
  const lostBefore = await leaseChanges(mesh, 'lost', 'expired');
  list.equal(
    'backend-api judged it as coming from',
    'spiffe://cluster.local/ns/edge/sa/gateway',
    ...(await judgedAs(mesh)),
  );
  list.equal('the same client, what the gateway may not ask', '403', await ask(80, '/api'), 'no rule allows it');
  list.equal(
    'STRICT: ... -> virtual IP -> backend-api itself',
    'refused, plaintext-strict',
    await askDirectly(mesh, owner, ask),
    'by the owner’s log',
  );
  list.equal('nodes that have the virtual IP', 1, 1 + others.length, 'ip addr on node-a and node-b');
  list.equal('the client’s neighbour table leads to', owner, await neighbour(mesh), 'ip neigh on the outsider');
  await list.guard('what the owner says', () => checkReport(mesh, list, owner));
  await list.guard('a pool of virtual IPs', () => checkPool(mesh, list));
  await list.guard('leases of virtual IPs', () => checkLeases(mesh, list, owner, tokenBefore));
  const lost = (await leaseChanges(mesh, 'lost', 'expired')) - lostBefore;
  const taken = await leaseChanges(mesh, 'acquired');
  // Some are lost on a machine with too much to do.
  list.record({
    name: 'leases taken and lost, by their metrics',
    expected: 'some taken',
    actual: `${String(taken)} taken, ${String(lost)} lost`,
    ok: taken > 0,
    detail: 'novaedge_vip_lease_changes_total',
  });
  await checkMoves(mesh, list, owner);
}

/** The fencing token of the lease; waits until a node has it. Undefined where nobody says: that check then fails. */
export async function fencingToken(mesh: DemoMesh): Promise<bigint | undefined> {
  const token = (await askLease(mesh, vip.nodes[0], 'watch').catch(() => undefined))?.fencingToken;
  return token === undefined ? undefined : BigInt(token);
}

/** The nodes whose interfaces have the address. */
export async function owners(mesh: DemoMesh, address: string): Promise<readonly string[]> {
  const found = await Promise.all(
    vip.nodes.map(async (node) => {
      const shown = await mesh.fabric.node(node).ip('-oneline', 'address', 'show', 'to', address);
      return shown.includes(address) ? [node] : [];
    }),
  );
  return found.flat();
}

/** Whose hardware address the client has for the virtual IP. */
export async function neighbour(mesh: DemoMesh): Promise<string> {
  const mac = /lladdr (\S+)/.exec(await mesh.fabric.outsider.ip('neigh', 'show', vip.address))?.[1];
  if (mac === undefined) return 'nobody';
  for (const node of vip.nodes) {
    const link = await mesh.fabric.node(nodeNamed(node).name).ip('-oneline', 'link', 'show', 'eth0');
    if (link.includes(mac)) return node;
  }
  return mac;
}

/** Principal and policy, by the log of the node that served it. */
async function judgedAs(mesh: DemoMesh): Promise<readonly [string, string]> {
  const lines = vip.nodes.map(async (node) => {
    const line = await mesh
      .agentLog(node)
      .wait(({ msg, path }) => msg === 'mesh request' && path === '/public/hello', 1_500);
    if (line === undefined) throw new Error('not there');
    return [String(line['source_principal']), String(line['policy'])] as const;
  });
  return Promise.any(lines).catch(() => ['nobody', 'no request in the logs'] as const);
}

/** How the connection ended, and the reason in the owner's log. */
async function askDirectly(
  mesh: DemoMesh,
  owner: string,
  ask: (port: number, path: string) => Promise<string>,
): Promise<string> {
  const log = mesh.agentLog(owner);
  const mark = log.mark;
  const answer = await ask(8080, '/public/hello');
  const line = await log.wait(({ msg }) => msg === 'mesh connection refused', 1_000, mark);
  return `${answer === 'reset' ? 'refused' : answer}, ${String(line?.['reason'] ?? 'nothing in the log')}`;
}

async function checkReport(mesh: DemoMesh, list: Checklist, owner: string): Promise<void> {
  const { stdout } = await mesh.fabric
    .node(owner)
    .exec(process.execPath, [DemoMesh.programOf('reference-agent'), 'mesh', 'vips', '--admin', mesh.adminOf(owner)]);
  const row = stdout.split('\n').find((line) => line.startsWith(`${vip.name} `)) ?? '';
  list.equal('mesh vips on the owner says', 'announcing', /\b(announcing|pending|probing)\b/.exec(row)?.[1], vip.name);
  const announced = (await mesh.vips(owner)).addresses.filter(({ state }) => state === 'announcing').length;
  const counted = await mesh.metric(owner, 'novaedge_vip_addresses', 'state="announcing"');
  list.record({
    name: 'addresses announced, by its metrics',
    expected: `${String(announced)}, as by mesh vips`,
    actual: String(counted),
    ok: announced > 0 && counted === announced,
    detail: 'novaedge_vip_addresses',
  });
}

async function checkPool(mesh: DemoMesh, list: Checklist): Promise<void> {
  const [used, free] = pooledVips.addresses;
  const reports = () => Promise.all(vip.nodes.map(async (node) => (await mesh.vips(node)).addresses));
  const states = async (address: string): Promise<string> => {
    const rows = (await reports()).flat().filter((each) => each.address === address);
    return rows
      .map(({ state }) => state)
      .toSorted()
      .join(', ');
  };
  const [first = []] = await reports();
  const given = pooledVips.names.map((name) => first.find((each) => each.name === name)?.address ?? 'none');
  list.equal('two virtual IPs of a pool have', pooledVips.addresses.join(', '), given.join(', '), 'one address each');
  const withUsed = await until(() => states(used), 'conflicted, conflicted', 8_000);
  const announcements = vip.nodes.flatMap((node) =>
    mesh.agentLog(node).lines.filter(({ address, state }) => address === used && state === 'announcing'),
  );
  list.equal(
    'the address that the outsider has: states, announced',
    'conflicted, conflicted, 0',
    `${withUsed}, ${String(announcements.length)}`,
    'the probe found it; never in the logs',
  );
  list.equal('the other one', 'announcing, pending', await until(() => states(free), 'announcing, pending', 3_000));
}

async function checkLeases(
  mesh: DemoMesh,
  list: Checklist,
  owner: string,
  tokenBefore: bigint | undefined,
): Promise<void> {
  const heir = vip.nodes.find((node) => node !== owner) ?? '';
  const [stranger, impostor, robber] = await Promise.all([
    askLease(mesh, 'untrusted-1', { acquireFor: 'untrusted-1' }),
    askLease(mesh, heir, { acquireFor: owner }),
    askLease(mesh, heir, 'rob'),
  ]);
  const reason = ({ detail }: LeaseAnswer): string => detail.split(': ').slice(1).join(': ');
  list.equal('a node that is not to have it asks for its lease', 'refused', stranger.outcome, reason(stranger));
  list.equal('a node asks for the lease in the owner’s name', 'refused', impostor.outcome, reason(impostor));
  const left = `${robber.holder ?? robber.outcome}${robber.detail === '' ? '' : ` (${robber.detail})`}`;
  list.equal('a node gives the owner’s lease back: it is left to', owner, left, 'with the owner’s fencing token');
  const { fencingToken = '0' } = robber;
  list.record({
    name: 'its fencing token, since the controller’s restart',
    expected: 'greater',
    actual: tokenBefore === undefined ? 'unknown' : BigInt(fencingToken) > tokenBefore ? 'greater' : 'not greater',
    ok: tokenBefore !== undefined && BigInt(fencingToken) > tokenBefore,
    detail: `${String(tokenBefore)}, then ${fencingToken}`,
  });
}

/** Asks the controller with the identity of the agent of `node`. */
async function askLease(mesh: DemoMesh, node: string, action: LeaseOrder['action']): Promise<LeaseAnswer> {
  const order: LeaseOrder = { identity: await identityOf(mesh, node), lease: `vip/${vip.address}`, action };
  const { stdout } = await mesh.runHelper(mesh.fabric.node(node), 'ask-lease', JSON.stringify(order));
  return JSON.parse(stdout) as LeaseAnswer;
}

async function leaseChanges(mesh: DemoMesh, ...changes: readonly string[]): Promise<number> {
  const counts = vip.nodes.flatMap((node) =>
    changes.map((change) => mesh.metric(node, 'novaedge_vip_lease_changes_total', `change="${change}"`)),
  );
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}
