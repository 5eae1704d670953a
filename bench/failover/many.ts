/** Many addresses on one node: how long until they are announced, and what they cost at rest. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { NetnsLab } from 'meshwright/testing';
import { Bird } from '../../test/vip/peers/bird.js';
import { until } from '../../test/vip/peers/until.js';
import { cpuSecondsOf } from '../support.js';
import { bfdTimers, bgpOptions, bgpTimers, nodeAs, routerAs } from './routed-rig.js';
import { VipAgent } from './vip-agent-process.js';

export const addressCount = 500;
const restSeconds = 20;
const routerIp = '10.20.0.254';

export interface ManyRow {
  readonly name: string;
  /** From `apply` (or the start of the daemon) until the router's kernel, or for layer 2 the node, has all of them. */
  readonly allMs: number;
  readonly applyMs: number | undefined;
  readonly residentMib: number;
  /** Of one processor, while nothing changes. */
  readonly restCpuPercent: number;
}

/** In 198.18.0.0/15, from 198.18.<block>.1 on. */
const addresses = (block: number): string[] =>
  Array.from(
    { length: addressCount },
    (_, index) => `198.18.${String(block + Math.floor(index / 250))}.${String((index % 250) + 1)}`,
  );

function residentMib(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1024;
}

async function restCpuPercent(pid: number): Promise<number> {
  await delay(5000);
  const before = cpuSecondsOf(pid);
  await delay(restSeconds * 1000);
  return (100 * (cpuSecondsOf(pid) - before)) / restSeconds;
}

/** By BGP with BFD, beside BIRD in the same role. */
export async function manyByBgp(): Promise<readonly ManyRow[]> {
  await using lab = await NetnsLab.create();
  const router = await lab.namespace('router', { forwarding: true });
  const ours = await lab.namespace('ours');
  const theirs = await lab.namespace('theirs');
  await router.bridge('br0', { addresses: [`${routerIp}/24`] });
  for (const [index, namespace] of [ours, theirs].entries()) {
    await lab.link(
      { namespace: router, device: `n${String(index)}`, bridge: 'br0' },
      { namespace, device: 'eth0', addresses: [`10.20.0.${String(index + 1)}/24`] },
    );
  }
  await using routerBird = await Bird.start(
    router,
    `router id ${routerIp};
protocol device { scan time 2; }
protocol direct { ipv4; interface "br0"; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
protocol bfd { interface "br0" { ${bfdTimers} }; }
${[1, 2]
  .map(
    (
      index,
    ) => `protocol bgp n${String(index)} { local ${routerIp} as ${String(routerAs)}; neighbor 10.20.0.${String(index)} as ${String(nodeAs)}; ${bgpTimers}
  ipv4 { import all; export none; }; }`,
  )
  .join('\n')}
`,
  );
  void routerBird;
  const inKernel = async (via: string): Promise<number> =>
    (await router.ip('route', 'show', 'proto', 'bird')).split('\n').filter((line) => line.includes(`via ${via} `))
      .length;

  const rows: ManyRow[] = [];
  {
    const agent = await VipAgent.start(ours, {
      manager: {
        node: 'ours',
        bgp: bgpOptions('10.20.0.1', routerIp),
      },
      assignments: addresses(0).map((ip) => ({ name: ip, addresses: [ip], mode: 'bgp' })),
    });
    const readyMs = performance.now();
    await until('the router has all', async () => (await inKernel('10.20.0.1')) === addressCount, {
      everyMs: 20,
      timeoutMs: 60_000,
      seen: () => inKernel('10.20.0.1'),
    });
    const allMs = performance.now() - readyMs;
    const pid = agent.child.pid ?? 0;
    const cpu = await restCpuPercent(pid);
    rows.push({
      name: 'Meshwright, BGP and BFD',
      allMs,
      applyMs: agent.appliedMs,
      residentMib: residentMib(pid),
      restCpuPercent: cpu,
    });
    await agent.end('SIGTERM');
  }
  {
    const startedMs = performance.now();
    await using bird = await Bird.start(
      theirs,
      `router id 10.20.0.2;
protocol device { scan time 2; }
protocol bfd { interface "eth0" { ${bfdTimers} }; }
protocol static { ipv4; ${addresses(8)
        .map((ip) => `route ${ip}/32 via "lo";`)
        .join(' ')} }
protocol bgp r { local 10.20.0.2 as ${String(nodeAs)}; neighbor ${routerIp} as ${String(routerAs)}; ${bgpTimers}
  ipv4 { import none; export all; }; }
`,
    );
    await until('the router has all', async () => (await inKernel('10.20.0.2')) === addressCount, {
      everyMs: 20,
      timeoutMs: 60_000,
    });
    const allMs = performance.now() - startedMs;
    const cpu = await restCpuPercent(bird.pid);
    rows.push({
      name: 'BIRD, BGP and BFD (announcing only)',
      allMs,
      applyMs: undefined,
      residentMib: residentMib(bird.pid),
      restCpuPercent: cpu,
    });
  }
  return rows;
}

/** On layer 2: a lease in memory, a probe and announcements for each. */
export async function manyByLayer2(): Promise<ManyRow> {
  await using lab = await NetnsLab.create();
  const segment = await lab.namespace('segment');
  const node = await lab.namespace('node');
  await segment.bridge('br0', { addresses: ['198.18.255.254/15'] });
  await lab.link(
    { namespace: segment, device: 'v0', bridge: 'br0' },
    { namespace: node, device: 'eth0', addresses: ['198.18.255.1/15'] },
  );
  const agent = await VipAgent.start(node, {
    manager: { node: 'node', l2: { interface: 'eth0' } },
    assignments: addresses(0).map((ip) => ({ name: ip, addresses: [ip], mode: 'l2' })),
  });
  await until('all are announced', () => agent.announcing === addressCount, {
    timeoutMs: 60_000,
    seen: () => agent.announcing,
  });
  const pid = agent.child.pid ?? 0;
  const row = {
    name: 'Meshwright, layer 2',
    allMs: agent.announcingMs,
    applyMs: agent.appliedMs,
    restCpuPercent: await restCpuPercent(pid),
    residentMib: residentMib(pid),
  };
  await agent.end('SIGTERM');
  return row;
}
