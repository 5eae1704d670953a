/** A virtual IP in front of a service of the mesh: one owner, reached from outside, and taken over when its node dies. */
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import { DemoMesh } from '../mesh.js';
import { nodeNamed, vip } from '../topology.js';
import { until } from './policy.js';

const url = (path: string): string => `http://${vip.address}${path}`;

export async function checkVips(mesh: DemoMesh, list: Checklist): Promise<void> {
  const { outsider } = mesh.fabric;
  const ask = async (path: string): Promise<string> => outcome(await curl(outsider, url(path), { timeoutS: 2 }));
  const reached = await until(() => ask('/public/hello'), '200', 10_000);
  const owner = (await owners(mesh))[0] ?? 'nobody';
  list.equal('outside client -> virtual IP -> gateway -> backend-api', '200', reached, `${vip.address} on ${owner}`);
  const logs = vip.nodes.map((node) => mesh.agentLog(node));
  const served = await Promise.any(
    logs.map(async (log) => {
      const line = await log.wait((each) => each.msg === 'mesh request' && each['path'] === '/public/hello', 1_500);
      if (line === undefined) throw new Error('none');
      return line;
    }),
  ).catch(() => undefined);
  list.equal(
    'backend-api judged it as coming from',
    'spiffe://cluster.local/ns/edge/sa/gateway',
    served?.['source_principal'],
    String(served?.['policy'] ?? ''),
  );
  list.equal('the same client, what the gateway may not ask', '403', await ask('/api'), 'no rule allows it');
  list.equal('nodes that have the virtual IP', 1, (await owners(mesh)).length, 'ip addr on node-a and node-b');
  list.equal('the client’s neighbour table leads to', owner, await neighbour(mesh), 'ip neigh on the outsider');
  const { stdout: table } = await mesh.fabric
    .node(owner)
    .exec(process.execPath, [DemoMesh.programOf('reference-agent'), 'mesh', 'vips', '--admin', mesh.adminOf(owner)]);
  list.equal(
    'mesh vips on the owner says',
    'announcing',
    /\b(announcing|pending|probing)\b/.exec(table)?.[1],
    vip.name,
  );
  await list.guard('the owning node dies', () => checkDeath(mesh, list, owner));
}

async function checkDeath(mesh: DemoMesh, list: Checklist, owner: string): Promise<void> {
  const heir = vip.nodes.find((node) => node !== owner) ?? '';
  const probe = mesh.run('probe', mesh.fabric.outsider, 'probe.mjs', [url('/public/probe'), '50']);
  await probe.log.wait(({ outcome: answer }) => answer === '200', 5_000);
  const from = probe.log.mark;
  const watching = watchOwners(mesh);
  // The machine as a whole: its agent, and its cable.
  await mesh.fabric.switch.ip('link', 'set', mesh.fabric.switchPort(owner), 'down');
  await mesh.kill(owner);
  const killed = Date.now();
  const gateway = `gateway-${heir === 'node-a' ? '0' : '1'}`;
  const line = await probe.log.wait((each) => each['gateway'] === gateway, 10_000, from);
  const gapMs = line === undefined ? undefined : Number(line['at']) - killed;
  list.record({
    name: 'its node dies: the client is answered again',
    expected: 'within 3000 ms',
    actual: gapMs === undefined ? 'not within 10 s' : `${String(gapMs)} ms`,
    ok: gapMs !== undefined && gapMs <= 3_000,
    detail: `by ${gateway} on ${heir}`,
  });
  const settled = await until(async () => (await owners(mesh)).join(', '), heir, 3_000);
  list.equal('the virtual IP is on', heir, settled, 'ip addr on node-a and node-b');
  await mesh.fabric.switch.ip('link', 'set', mesh.fabric.switchPort(owner), 'up');
  await mesh.startAgent(owner);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  list.equal(
    'the dead node is back, the virtual IP stays on',
    heir,
    (await owners(mesh)).join(', '),
    'no need to move',
  );
  const { both, samples } = await watching.stop();
  list.equal('moments at which two nodes had it', 0, both, `${String(samples)} looks at both`);
  probe.child.kill('SIGKILL');
}

/** The nodes whose interfaces have the address. */
async function owners(mesh: DemoMesh): Promise<readonly string[]> {
  const found = await Promise.all(
    vip.nodes.map(async (node) => {
      const shown = await mesh.fabric.node(node).ip('-oneline', 'address', 'show', 'to', vip.address);
      return shown.includes(vip.address) ? [node] : [];
    }),
  );
  return found.flat();
}

function watchOwners(mesh: DemoMesh): { stop(): Promise<{ readonly both: number; readonly samples: number }> } {
  let stopping = false;
  let both = 0;
  let samples = 0;
  const running = (async () => {
    while (!stopping) {
      samples += 1;
      if ((await owners(mesh)).length > 1) both += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    async stop() {
      stopping = true;
      await running;
      return { both, samples };
    },
  };
}

/** Whose hardware address the client has for the virtual IP. */
async function neighbour(mesh: DemoMesh): Promise<string> {
  const mac = /lladdr (\S+)/.exec(await mesh.fabric.outsider.ip('neigh', 'show', vip.address))?.[1];
  if (mac === undefined) return 'nobody';
  for (const node of vip.nodes) {
    const link = await mesh.fabric.node(nodeNamed(node).name).ip('-oneline', 'link', 'show', 'eth0');
    if (link.includes(mac)) return node;
  }
  return mac;
}
