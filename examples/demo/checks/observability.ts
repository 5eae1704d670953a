/** What an operator sees: `mesh status`, `mesh tunnels`, metrics. */
import type { Checklist } from '../checklist.js';
import { curl } from '../curl.js';
import { DemoMesh } from '../mesh.js';
import { clusterUrl } from '../topology.js';

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
  const status = await cli('status');
  list.equal(
    'mesh status: identity, and how to look at the rules',
    true,
    status.includes('spiffe://cluster.local/agent/node-a') && /nft list table inet meshwright/.test(status),
    '',
  );
  const tunnels = await cli('tunnels');
  list.equal('mesh tunnels: the tunnel to node-b', true, tunnels.includes('spiffe://cluster.local/agent/node-b'), '');

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
  const held = mesh.run('held-metrics', mesh.fabric.pod('web-frontend'), 'held.mjs', ['10.96.10.70', '7000']);
  held.child.stdin?.write('raw x\n');
  await held.log.wait(({ event }) => event === 'data', 3_000);
  const open = await mesh.metric('node-b', 'novaedge_mesh_connections_active');
  list.record({
    name: 'novaedge_mesh_connections_active: one held open',
    expected: 'at least 1',
    actual: String(open),
    ok: open >= 1,
    detail: 'node-b',
  });
  held.child.kill('SIGKILL');
  const expiry = await mesh.metric('node-a', 'novaedge_mesh_cert_expiry_seconds');
  list.record({
    name: 'novaedge_mesh_cert_expiry_seconds',
    expected: 'more than 0',
    actual: String(Math.round(expiry)),
    ok: expiry > 0,
    detail: 'node-a',
  });
}

async function sample(mesh: DemoMesh): Promise<readonly number[]> {
  const sum = async (name: string): Promise<number> =>
    (await mesh.metric('node-a', name)) + (await mesh.metric('node-b', name));
  return [await sum('novaedge_mesh_requests_total'), await sum('novaedge_mesh_auth_denied_total')];
}
