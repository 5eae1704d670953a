/** A virtual IP goes to another node: in order, when its pod is not ready any more, and when its node dies. */
import type { VipReport } from 'meshwright/mesh';
import type { Checklist } from '../checklist.js';
import type { LogLine } from '../log-reader.js';
import type { DemoMesh, Running } from '../mesh.js';
import { vip } from '../topology.js';
import { until } from './policy.js';
import { neighbour, owners } from './vips.js';

const gateways: Readonly<Record<string, string>> = { 'node-a': 'gateway-0', 'node-b': 'gateway-1' };
const otherThan = (owner: string): string => vip.nodes.find((node) => node !== owner) ?? '';

/** The client asks ten times a second, and the nodes' addresses are looked at all the time. */
export async function checkMoves(mesh: DemoMesh, list: Checklist, owner: string): Promise<void> {
  const url = `http://${vip.address}/public/probe`;
  const probe = mesh.run('probe', mesh.fabric.outsider, 'probe.mjs', [url, '100']);
  await probe.log.wait(({ outcome: answer }) => answer === '200', 5_000);
  const watching = watchOwners(mesh);
  await list.guard('its pod is not ready', () => checkReadiness(mesh, list, { owner, probe }));
  await list.guard('its node dies', () => checkDeath(mesh, list, { owner: otherThan(owner), probe }));
  const { both, samples } = await watching.stop();
  list.equal('moments at which two nodes had it', 0, both, `${String(samples)} looks at both`);
  probe.child.kill('SIGKILL');
}

interface Move {
  readonly owner: string;
  readonly probe: Running;
}

async function checkReadiness(mesh: DemoMesh, list: Checklist, { owner, probe }: Move): Promise<void> {
  const heir = otherThan(owner);
  const mark = probe.log.mark;
  await setReady(mesh, gateways[owner] ?? '', false);
  const line = await probe.log.wait((each) => each['gateway'] === gateways[heir], 15_000, mark);
  const gapMs = line === undefined ? undefined : unansweredMs(probe, mark, line);
  list.record({
    name: 'its pod is not ready: the client is answered, after',
    expected: 'at most 10 000 ms',
    actual: gapMs === undefined ? 'not within 15 s' : `${String(gapMs)} ms`,
    ok: gapMs !== undefined && gapMs <= 10_000,
    detail: `by ${String(gateways[heir])} on ${heir}`,
  });
  list.equal('then the client’s neighbour table leads to', heir, await neighbour(mesh), 'ip neigh on the outsider');
  await setReady(mesh, gateways[owner] ?? '', true);
  const stateOn = async (): Promise<string> => (await statusOn(mesh, owner))?.state ?? 'not assigned';
  list.equal('the pod is ready again: the virtual IP on its node', 'pending', await until(stateOn, 'pending', 3_000));
}

async function statusOn(mesh: DemoMesh, node: string): Promise<VipReport['addresses'][number] | undefined> {
  return (await mesh.vips(node)).addresses.find(({ address }) => address === vip.address);
}

/** How long the client got no answer before the one of `line`; 0 when the question before was answered too. */
function unansweredMs(probe: Running, mark: number, line: LogLine): number {
  const lines = probe.log.lines.slice(mark);
  const before = lines[lines.indexOf(line) - 1];
  const { sent } = (before?.['lastAnswer'] ?? {}) as { readonly sent?: number };
  return before === undefined || before['outcome'] === '200' || sent === undefined ? 0 : Number(line['at']) - sent;
}

async function checkDeath(mesh: DemoMesh, list: Checklist, { owner, probe }: Move): Promise<void> {
  const heir = otherThan(owner);
  const from = probe.log.mark;
  // The machine as a whole: its agent, and its cable.
  await mesh.fabric.switch.ip('link', 'set', mesh.fabric.switchPort(owner), 'down');
  await mesh.kill(owner);
  const killed = Date.now();
  const line = await probe.log.wait((each) => each['gateway'] === gateways[heir], 10_000, from);
  const gapMs = line === undefined ? undefined : Number(line['at']) - killed;
  list.record({
    name: 'its node dies: the client is answered again',
    expected: 'within 3000 ms',
    actual: gapMs === undefined ? 'not within 10 s' : `${String(gapMs)} ms`,
    ok: gapMs !== undefined && gapMs <= 3_000,
    detail: `by ${String(gateways[heir])} on ${heir}`,
  });
  const settled = await until(async () => (await owners(mesh, vip.address)).join(', '), heir, 3_000);
  list.equal('the virtual IP is on', heir, settled, 'ip addr on node-a and node-b');
  await mesh.fabric.switch.ip('link', 'set', mesh.fabric.switchPort(owner), 'up');
  await mesh.startAgent(owner);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  // On a busy machine the heir may lose its lease for a moment; what must not be is that the other one has it.
  const after = await until(async () => (await owners(mesh, vip.address)).join(', '), heir, 5_000);
  list.equal('the dead node is back, the virtual IP stays on', heir, after, 'no need to move');
}

/** Sets the condition of a gateway pod in its manifest. */
async function setReady(mesh: DemoMesh, pod: string, ready: boolean): Promise<void> {
  const condition = new RegExp(`(name: ${pod}\\n[^]*?type: Ready\\n\\s+status: )"\\w+"`);
  await mesh.editManifest('edge.yaml', (text) => text.replace(condition, `$1"${ready ? 'True' : 'False'}"`));
}

function watchOwners(mesh: DemoMesh): { stop(): Promise<{ readonly both: number; readonly samples: number }> } {
  let stopping = false;
  let both = 0;
  let samples = 0;
  const running = (async () => {
    while (!stopping) {
      samples += 1;
      if ((await owners(mesh, vip.address)).length > 1) both += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
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
