/** The demo on real network namespaces: starts everything, runs the checks in an order that shares the waiting. */
import type { Checklist } from './checklist.js';
import { checkFailures } from './checks/failures.js';
import { checkIdentity, steal } from './checks/identity.js';
import { checkJoining, checkRenewals, holdsToken, startLoad, startQuiet } from './checks/lifetimes.js';
import { checkObservability } from './checks/observability.js';
import { checkPlaintext } from './checks/plaintext.js';
import { checkPolicyChanges } from './checks/policy.js';
import { checkTraffic } from './checks/traffic.js';
import { checkVips, fencingToken } from './checks/vips.js';
import { checkWire } from './checks/wire.js';
import { keepUp } from './keep.js';
import { DemoMesh } from './mesh.js';
import type { Lifetimes } from './mesh.js';
import { nodes, pods } from './topology.js';

/** Short enough to see several renewals while the other checks run. */
const seconds: Lifetimes = { svidTtlMs: 15_000, tokenTtlMs: 10_000 };
/** For the checks in which the controller is down for a while. */
const hours: Lifetimes = { svidTtlMs: 86_400_000, tokenTtlMs: 3_600_000 };

const frontend = 'spiffe://cluster.local/ns/frontend/sa/web-frontend';

/** In this order: those at the end need certificates that have ended meanwhile, or break things. */
export const sections = [
  'joining',
  'traffic',
  'wire',
  'plaintext',
  'policy',
  'observability',
  'renewals',
  'identity',
  'crashes',
  'vips',
] as const;
export type Section = (typeof sections)[number];

export interface NetnsOptions {
  readonly say: (line: string) => void;
  readonly keep: boolean;
  readonly sections: readonly Section[];
  readonly userNamespace: boolean;
  /** Called when the checks are through, before `keep` waits. */
  readonly done: () => void;
}

export async function runNetns(list: Checklist, options: NetnsOptions): Promise<void> {
  const { say } = options;
  const wants = (section: Section): boolean => options.sections.includes(section);
  say(`Building the network: 3 nodes, a controller, an outsider, ${String(pods.length)} pods, kube-proxy rules ...`);
  const mesh = await DemoMesh.create();
  try {
    say('Starting the controller and the agents, which join with one-time tokens ...');
    mesh.startApps();
    // The parts at the end have no use for short ones.
    const isLate = (section: Section): boolean => section === 'crashes' || section === 'vips';
    await mesh.startController(options.sections.every(isLate) ? hours : seconds);
    for (const { name } of nodes) {
      await mesh.makeJoinToken(name);
    }
    await Promise.all(nodes.map(({ name }) => mesh.startAgent(name)));
    const part = async (section: Section, title: string, body: () => Promise<void>): Promise<void> => {
      if (!wants(section)) return;
      say(title);
      await list.guard(section, body);
    };
    await part('joining', 'Joining:', () => checkJoining(mesh, list, seconds));
    const loot = wants('identity') ? await steal(mesh, 'node-a', frontend) : undefined;

    const load = wants('renewals') ? { load: startLoad(mesh), quiet: startQuiet(mesh) } : undefined;
    if (load !== undefined) say('Load runs from now on, while certificates and tokens live for seconds.');
    await part('traffic', 'Who reaches whom:', () => checkTraffic(mesh, list));
    await part('wire', 'What is on the wire:', () => checkWire(mesh, list));
    await part('plaintext', 'Plaintext:', () => checkPlaintext(mesh, list));
    await part('policy', 'Policy changes:', () => checkPolicyChanges(mesh, list));
    await part('observability', 'Status and metrics:', () => checkObservability(mesh, list));
    if (load !== undefined)
      await part('renewals', 'Renewals under load:', () => checkRenewals(mesh, list, load.load, load.quiet));
    if (loot !== undefined) await part('identity', 'Attacks on identity:', () => checkIdentity(mesh, list, loot));
    let token: bigint | undefined;
    if (wants('crashes') || wants('vips')) {
      token = wants('vips') ? await fencingToken(mesh) : undefined;
      say('Lifetimes of hours from here on ...');
      // For those whose certificate of seconds ends before the controller is back: they join anew.
      for (const { name } of nodes) await mesh.makeJoinToken(name);
      await mesh.kill('controller', 'SIGTERM');
      await mesh.startController(hours);
      await longLived(mesh);
    }
    await part('crashes', 'Crashes:', () => checkFailures(mesh, list, hours));
    await part('vips', 'A virtual IP:', () => checkVips(mesh, list, token));
    options.done();
    if (!list.ok) say(`\n${mesh.diagnosis()}`);
    else if (options.keep) await keepUp(mesh, say, options.userNamespace);
  } finally {
    mesh.close();
  }
}

/** Waits until every agent holds a certificate that outlives the next checks, and the one whose pod asks a token for it. */
async function longLived(mesh: DemoMesh): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (const { name } of nodes) {
    while ((await mesh.metric(name, 'novaedge_mesh_cert_expiry_seconds')) < 3_600) {
      if (performance.now() > deadline) throw new Error(`${name} did not renew to the longer lifetime`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  while (!(await holdsToken(mesh, 'node-a', frontend))) {
    if (performance.now() > deadline) throw new Error('node-a has no token for its newest certificate');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
