/** What happens when an agent or the controller is killed. */
import { join } from 'node:path';
import { capture, packetsOutsideTunnel } from '../capture.js';
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { DemoMesh, Lifetimes } from '../mesh.js';
import { clusterUrl, podNamed } from '../topology.js';
import { startLoad, stopLoad } from './lifetimes.js';
import { until } from './policy.js';

export async function checkFailures(mesh: DemoMesh, list: Checklist, lifetimes: Lifetimes): Promise<void> {
  await list.guard('killing the controller', async () => {
    const load = startLoad(mesh, 'load-without-controller');
    await load.log.wait(({ ready }) => ready === true, 5_000);
    await mesh.kill('controller');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const result = await stopLoad(load);
    list.record({
      name: 'requests failed while the controller was killed',
      expected: '0',
      actual: String(result.sent - result.ok),
      ok: result.sent > 20 && result.sent === result.ok,
      detail: `${String(result.sent)} sent; ${result.failures.slice(0, 3).join(', ')}`,
    });
  });
  for (const backend of ['nftables', 'iptables'] as const) {
    await list.guard(`killing an agent under ${backend}`, () => checkKilledAgent(mesh, list, backend));
  }
  await list.guard('the controller is back', async () => {
    await mesh.startController(lifetimes);
    const status = await until(
      async () => String((await mesh.status('node-a'))['controller'] === 'connected'),
      'true',
      8_000,
    );
    list.equal('the agents find the restarted controller', 'true', status, 'snapshot stream');
  });
}

/** The agent of node-a is started with `backend`, then killed, then started again while the controller is down. */
async function checkKilledAgent(mesh: DemoMesh, list: Checklist, backend: 'nftables' | 'iptables'): Promise<void> {
  const frontend = mesh.fabric.pod('web-frontend');
  const ask = async (url: string, space = frontend): Promise<string> =>
    outcome(await curl(space, url, { timeoutS: 3 }));
  const local = `http://${podNamed('backend-api-0').address}:8080/api`;
  const plain = (answer: string): string => (answer === '200' ? 'answered in plaintext' : 'refused');

  if (backend === 'iptables') {
    await mesh.kill('node-a', 'SIGTERM');
    await mesh.startAgent('node-a', { backend });
    list.equal(
      `${backend}: traffic flows`,
      '200',
      await until(() => ask(clusterUrl('backend-api', '/api')), '200', 5_000),
      '',
    );
  }
  await mesh.kill('node-a');
  const { fabric, directory } = mesh;
  const wire = await capture(fabric.switch, fabric.switchPort('node-a'), join(directory, `${backend}.pcap`));
  list.equal(
    `${backend}: agent killed, traffic to a ClusterIP`,
    'refused',
    plain(await ask(clusterUrl('backend-api', '/api'))),
    "kube-proxy's rules are in place",
  );
  list.equal(`${backend}: agent killed, traffic to a pod of that node`, 'refused', plain(await ask(local)), '');
  list.equal(
    `${backend}: agent killed, traffic to a pod of another node`,
    'refused',
    plain(await ask(`http://${podNamed('backend-api-1').address}:8080/api`)),
    '',
  );
  // Refused here, not at the far end: by then the request would have left in plaintext.
  list.equal(
    `${backend}: agent killed, packets beside the tunnel`,
    0,
    packetsOutsideTunnel(await wire.stop()).length,
    "captured on node-a's link",
  );
  list.equal(
    `${backend}: agent killed, plaintext from outside`,
    'refused',
    plain(await ask(local, mesh.fabric.outsider)),
    '',
  );
  const started = performance.now();
  await mesh.startAgent('node-a', { backend });
  const again = await until(() => ask(clusterUrl('backend-api', '/api')), '200', 5_000);
  list.equal(
    `${backend}: agent restarted while the controller is down`,
    '200',
    again,
    `serving ${String(Math.round(performance.now() - started))} ms after its start`,
  );
}
