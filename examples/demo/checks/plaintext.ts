/** Plaintext that comes from outside the mesh, and from the hosts themselves. */
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { DemoMesh } from '../mesh.js';
import { clusterUrl, nodeNamed, podNamed } from '../topology.js';

export async function checkPlaintext(mesh: DemoMesh, list: Checklist): Promise<void> {
  const url = (pod: string, port: number, path = '/'): string =>
    `http://${podNamed(pod).address}:${String(port)}${path}`;
  const ask = async (from: 'outsider' | 'node-a' | 'node-b', to: string): Promise<string> =>
    outcome(await curl(from === 'outsider' ? mesh.fabric.outsider : mesh.fabric.node(from), to, { timeoutS: 3 }));
  const counted = (verdict: string): Promise<number> =>
    mesh.metric('node-b', 'novaedge_mesh_plaintext_connections_total', `verdict="${verdict}"`);
  const refusedOrReset = (actual: string): string => (actual === 'refused' || actual === 'reset' ? 'refused' : actual);

  const before = await Promise.all(['refused', 'allowed', 'denied'].map(counted));
  list.equal(
    'STRICT: plain HTTP from outside',
    'refused',
    refusedOrReset(await ask('outsider', url('backend-api-1', 8080))),
    'plaintext-strict',
  );
  list.equal(
    'STRICT: plain HTTP from outside, through a NodePort',
    'refused',
    refusedOrReset(await ask('outsider', `http://${nodeNamed('node-b').address}:30080/`)),
    'after kube-proxy',
  );
  list.equal(
    'PERMISSIVE: to a service without allow policies',
    '200',
    await ask('outsider', url('legacy-open-0', 8080)),
    'judged without a principal',
  );
  list.equal(
    'PERMISSIVE: to a service with an allow policy',
    '403',
    await ask('outsider', url('legacy-guarded-0', 8080)),
    'production/legacy-guarded-allow-frontend',
  );
  const mesh_ = outcome(await curl(mesh.fabric.pod('web-frontend'), clusterUrl('legacy-guarded', '/')));
  list.equal(
    'PERMISSIVE: the same through the mesh, as frontend',
    '200',
    mesh_,
    'production/legacy-guarded-allow-frontend',
  );
  const after = await Promise.all(['refused', 'allowed', 'denied'].map(counted));
  const counts = after.map((value, index) => value - (before[index] ?? 0)).join(', ');
  list.equal(
    'plaintext counted: refused, allowed, denied',
    '1, 1, 1',
    counts,
    'novaedge_mesh_plaintext_connections_total',
  );

  list.equal(
    "a declared probe port answers its node's host",
    '200',
    await ask('node-b', url('backend-api-1', 8086, '/ready')),
    'readinessProbe :8086',
  );
  list.equal(
    "the application's port does not answer the host",
    'refused',
    refusedOrReset(await ask('node-b', url('backend-api-1', 8080))),
    'host traffic: probes only',
  );
  list.equal(
    "nor another node's host",
    'refused',
    refusedOrReset(await ask('node-a', url('backend-api-1', 8080))),
    'plaintext-strict',
  );
  list.equal(
    'nor through the ClusterIP',
    'refused',
    refusedOrReset(await ask('node-b', clusterUrl('secrets-vault', '/'))),
    'after kube-proxy',
  );
}
