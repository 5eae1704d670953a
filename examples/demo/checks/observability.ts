/** What an operator sees: `mesh status`, `mesh tunnels`, metrics. */
import type { Checklist } from '../checklist.js';
import { curl } from '../curl.js';
import { DemoMesh } from '../mesh.js';
import { clusterUrl } from '../topology.js';
import { until } from './policy.js';

export async function checkObservability(mesh: DemoMesh, list: Checklist): Promise<void> {
  const cli = async (command: string): Promise<string> =>
    (
      await mesh.fabric
        .node('node-a')
        .exec(process.execPath, [
          DemoMesh.programOf('reference-agent'),
          'mesh',
          command,
          '--admin',
          mesh.adminOf('node-a'),
        ])
    ).stdout;
  const names = (text: string, wanted: Readonly<Record<string, string>>): string =>
    Object.keys(wanted)
      .filter((name) => text.includes(wanted[name] ?? ''))
      .join(', ');
  // So that there is a tunnel, whatever ran before.
  await curl(mesh.fabric.pod('web-frontend'), clusterUrl('secrets-vault', '/'));
  const inStatus = {
    identity: 'spiffe://cluster.local/agent/node-a',
    controller: 'connected',
    rules: 'nft list table inet meshwright',
    pods: 'frontend/web-frontend',
  };
  list.equal('mesh status names', Object.keys(inStatus).join(', '), names(await cli('status'), inStatus), 'on node-a');
  const inTunnels = { 'the peer node-b': 'spiffe://cluster.local/agent/node-b', 'its address': '172.30.0.12:15002' };
  list.equal(
    'mesh tunnels names',
    Object.keys(inTunnels).join(', '),
    names(await cli('tunnels'), inTunnels),
    'on node-a',
  );

  const before = await sample(mesh);
  await curl(mesh.fabric.pod('web-frontend'), clusterUrl('secrets-vault', '/'));
  await curl(mesh.fabric.pod('rogue-client'), clusterUrl('backend-api', '/api'));
  await curl(mesh.fabric.pod('rogue-client'), clusterUrl('backend-api', '/api'));
  const after = await sample(mesh);
  const moved = (index: number): number => (after[index] ?? 0) - (before[index] ?? 0);
  list.record({
    name: 'novaedge_mesh_requests_total moves',
    expected: 'at least 1',
    actual: String(moved(0)),
    ok: moved(0) >= 1,
    detail: 'node-a and node-b',
  });
  list.equal('novaedge_mesh_auth_denied_total: two refused requests', 2, moved(1), 'node-a and node-b');
  const held = mesh.run('held-metrics', mesh.fabric.pod('web-frontend'), 'held.mjs', ['10.96.10.70', '7000', '10']);
  held.child.stdin?.write('raw x\n');
  await held.log.wait(({ event }) => event === 'data', 3_000);
  const open = async (): Promise<number> => mesh.metric('node-b', 'novaedge_mesh_connections_active');
  const wanted = await until(async () => String((await open()) >= 10), 'true', 3_000);
  list.record({
    name: 'novaedge_mesh_connections_active: ten held open',
    // The load has at most four of its own.
    expected: 'at least 10',
    actual: String(await open()),
    ok: wanted === 'true',
    detail: 'node-b',
  });
  held.child.kill('SIGKILL');
  const expiry = await mesh.metric('node-a', 'novaedge_mesh_cert_expiry_seconds');
  list.record({
    name: 'novaedge_mesh_cert_expiry_seconds',
    expected: 'from 0 to 15',
    actual: String(Math.round(expiry)),
    ok: expiry > 0 && expiry <= 15,
    detail: 'node-a',
  });
}

async function sample(mesh: DemoMesh): Promise<readonly number[]> {
  const sum = async (name: string): Promise<number> =>
    (await mesh.metric('node-a', name)) + (await mesh.metric('node-b', name));
  return [await sum('novaedge_mesh_requests_total'), await sum('novaedge_mesh_auth_denied_total')];
}
