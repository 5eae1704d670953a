/** The demo on real network namespaces: starts everything, runs the checks in an order that shares the waiting. */
import type { Checklist } from './checklist.js';
import { checkFailures } from './checks/failures.js';
import { checkIdentity, steal } from './checks/identity.js';
import { checkJoining, checkRenewals, startLoad } from './checks/lifetimes.js';
import { checkObservability } from './checks/observability.js';
import { checkPlaintext } from './checks/plaintext.js';
import { checkPolicyChanges } from './checks/policy.js';
import { checkTraffic } from './checks/traffic.js';
import { checkWire } from './checks/wire.js';
import { DemoMesh } from './mesh.js';
import type { Lifetimes } from './mesh.js';
import { clusterUrl, nodes } from './topology.js';

/** Short enough to see several renewals while the other checks run. */
const seconds: Lifetimes = { svidTtlMs: 15_000, tokenTtlMs: 10_000 };
/** For the checks in which the controller is down for a while. */
const hours: Lifetimes = { svidTtlMs: 86_400_000, tokenTtlMs: 3_600_000 };

const frontend = 'spiffe://cluster.local/ns/frontend/sa/web-frontend';

export async function runNetns(
  list: Checklist,
  say: (line: string) => void,
  options: { readonly keep: boolean },
): Promise<void> {
  say('Building the network: 3 nodes, a controller, an outsider, 13 pods, kube-proxy rules ...');
  const mesh = await DemoMesh.create();
  try {
    say('Starting the controller and the agents, which join with one-time tokens ...');
    mesh.startApps();
    await mesh.startController(seconds);
    for (const { name } of nodes) {
      await mesh.makeJoinToken(name);
    }
    await Promise.all(nodes.map(({ name }) => mesh.startAgent(name)));
    checkJoining(mesh, list, seconds);
    const loot = await steal(mesh, 'node-a', frontend);

    say('Load runs from now on, while certificates and tokens live for seconds.');
    const load = startLoad(mesh);
    say('Who reaches whom:');
    await list.guard('traffic', () => checkTraffic(mesh, list));
    say('What is on the wire:');
    await list.guard('wire', () => checkWire(mesh, list));
    say('Plaintext:');
    await list.guard('plaintext', () => checkPlaintext(mesh, list));
    say('Policy changes:');
    await list.guard('policy changes', () => checkPolicyChanges(mesh, list));
    say('Status and metrics:');
    await list.guard('observability', () => checkObservability(mesh, list));
    say('Renewals under load:');
    await list.guard('renewals', () => checkRenewals(mesh, list, load));
    say('Attacks on identity:');
    await list.guard('identity', () => checkIdentity(mesh, list, loot));
    say('Crashes (with lifetimes of hours from here on):');
    await list.guard('crashes', async () => {
      await mesh.kill('controller', 'SIGTERM');
      await mesh.startController(hours);
      await longLived(mesh);
      await checkFailures(mesh, list, hours);
    });
    if (!list.ok) say(`\n${mesh.diagnosis()}`);
    if (options.keep) await keep(mesh, say);
  } finally {
    await mesh[Symbol.asyncDispose]();
  }
}

/** Waits until every agent holds a certificate that outlives the next checks. */
async function longLived(mesh: DemoMesh): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (const { name } of nodes) {
    while ((await mesh.metric(name, 'novaedge_mesh_cert_expiry_seconds')) < 3_600) {
      if (performance.now() > deadline) throw new Error(`${name} did not renew to the longer lifetime`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Leaves everything up until the user is done. */
async function keep(mesh: DemoMesh, say: (line: string) => void): Promise<void> {
  const inside = (name: string): string => `ip netns exec ${name}`;
  const agent = `node ${DemoMesh.programOf('reference-agent')}`;
  say(`
The mesh is up. Play with it:
  ${inside(mesh.fabric.pod('web-frontend').name)} curl -i ${clusterUrl('backend-api', '/api')}
  ${inside(mesh.fabric.pod('rogue-client').name)} curl -i ${clusterUrl('backend-api', '/api')}
  ${agent} mesh status --admin ${mesh.adminOf('node-a')}
  ${agent} mesh tunnels --admin ${mesh.adminOf('node-a')}
  ${inside(mesh.fabric.node('node-a').name)} curl -s http://127.0.0.1:9090/metrics | grep novaedge_mesh
  ${inside(mesh.fabric.node('node-a').name)} nft list table inet meshwright
Edit a policy and watch it take effect:
  ${mesh.manifests}/policies/backend-api-allow-frontend.yaml
Tear it down:
  press Ctrl-C, or kill ${String(process.pid)}
`);
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
    // Something must keep the process alive while it waits.
    setInterval(() => undefined, 60_000);
  });
  process.exitCode = 0;
}
