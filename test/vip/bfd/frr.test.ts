import { expect, test } from 'vitest';
import { VipAgent } from '../../../bench/failover/vip-agent-process.js';
import { median } from '../../support/median.js';
import { describeRequiring } from '../../support/requirements.js';
import { Frr } from '../peers/frr.js';
import { until } from '../peers/until.js';
import { bfdIn } from './in-namespace.js';
import { fastTimers, routedLab } from './routed-lab.js';

const profile = ' profile fast\n  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 3\n';
const peer = (line: string): string => ` peer ${line}\n  profile fast\n`;

/** `status` of each peer, as FRR says it. */
async function statuses(frr: Frr): Promise<Readonly<Record<string, string>>> {
  const peers = (await frr.json('show bfd peers json')) as readonly { peer: string; status: string }[];
  return Object.fromEntries(peers.map((each) => [each.peer, each.status]));
}

const allUp = async (frr: Frr): Promise<boolean> => {
  const all = Object.values(await statuses(frr));
  return all.length > 0 && all.every((status) => status === 'up');
};

describeRequiring({ netns: true, native: true, commands: ['vtysh'] }, 'BFD with FRR', () => {
  test('single hop, IPv4 and IPv6: up, and each end sees the other go', async () => {
    await using net = await routedLab();
    await using frr = await Frr.start(net.router, {
      daemons: ['bfdd'],
      config: `bfd\n${profile}${peer('10.20.0.1 local-address 10.20.0.254 interface br0')}${peer('fd20::1 local-address fd20::254 interface br0')}`,
    });
    await using bfd = await bfdIn(net.node);
    const own = [
      bfd.add({ peer: '10.20.0.254', local: '10.20.0.1', ...fastTimers }),
      bfd.add({ peer: 'fd20::254', local: 'fd20::1', mode: 'single-hop', ...fastTimers }),
    ];
    const allAgreed = (): Promise<unknown> =>
      until('all are up', async () => own.every(({ status }) => status.detectionTimeMs === 300) && (await allUp(frr)), {
        seen: () => JSON.stringify([own.map(({ status }) => status), bfd.refusals]),
      });
    await allAgreed();
    expect(own.map(({ status }) => status.transport)).toEqual(['single-hop', 'single-hop']);
    const tookMs: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      process.kill(frr.pid('bfdd'), 'SIGSTOP');
      const stoppedMs = performance.now();
      await until('both are down', () => own.every(({ state }) => state === 'down'), { everyMs: 2 });
      tookMs.push(performance.now() - stoppedMs);
      process.kill(frr.pid('bfdd'), 'SIGCONT');
      await allAgreed();
    }
    expect(median(tookMs), JSON.stringify(tookMs)).toBeLessThan(450);
    await own[0]?.close();
    await until('FRR was told', async () => (await statuses(frr))['10.20.0.1'] === 'down');
    expect((await statuses(frr))['fd20::1']).toBe('up');
  });

  test('multihop through a router, IPv4 and IPv6', async () => {
    await using net = await routedLab();
    await using frr = await Frr.start(net.far, {
      daemons: ['bfdd'],
      config: `bfd\n${profile}${peer('10.20.0.1 multihop local-address 10.30.0.1')}  minimum-ttl 254\n${peer('fd20::1 multihop local-address fd30::1')}  minimum-ttl 254\n`,
    });
    await using bfd = await bfdIn(net.node);
    const own = [
      bfd.add({ peer: '10.30.0.1', local: '10.20.0.1', mode: 'multihop', minTtl: 254, ...fastTimers }),
      bfd.add({ peer: 'fd30::1', local: 'fd20::1', mode: 'multihop', minTtl: 254, ...fastTimers }),
    ];
    await until('all are up', async () => own.every(({ state }) => state === 'up') && (await allUp(frr)), {
      seen: () => JSON.stringify([own.map(({ status }) => status), bfd.refusals]),
    });
  });

  test('auto finds the neighbour that speaks multihop, as FRR does under ttl-security', async () => {
    await using net = await routedLab();
    await using frr = await Frr.start(net.router, {
      daemons: ['bfdd'],
      // What its bgpd asks of bfdd for a neighbour with `ttl-security hops 1`.
      config: `bfd\n${profile}${peer('10.20.0.1 multihop local-address 10.20.0.254')}`,
    });
    await using bfd = await bfdIn(net.node);
    const own = bfd.add({ peer: '10.20.0.254', local: '10.20.0.1', mode: 'auto', ...fastTimers });
    await until('it is up', async () => own.state === 'up' && (await allUp(frr)), {
      seen: async () => `${JSON.stringify([own.status, bfd.refusals])} ${await frr.vtysh('show bfd peers')}`,
    });
    expect(own.status.transport).toBe('multihop');
  });

  test('as bgpd asks for it: plain, and under ttl-security, where it goes multihop', async () => {
    await using net = await routedLab();
    await using frr = await Frr.start(net.router, {
      daemons: ['bgpd', 'bfdd'],
      config: `bfd
${profile}router bgp 64512
 bgp router-id 10.20.0.254
 no bgp ebgp-requires-policy
 neighbor 10.20.0.1 remote-as 64513
 neighbor 10.20.0.1 ttl-security hops 1
 neighbor 10.20.0.1 bfd
 neighbor 10.20.0.1 bfd profile fast
 neighbor fd20::1 remote-as 64513
 neighbor fd20::1 bfd
 neighbor fd20::1 bfd profile fast
 address-family ipv6 unicast
  neighbor fd20::1 activate
`,
    });
    const bfd = { ...fastTimers };
    const agent = await VipAgent.start(net.node, {
      manager: {
        node: 'node',
        bgp: {
          localAs: 64_513,
          routerId: '10.20.0.1',
          peers: [
            { address: '10.20.0.254', remoteAs: 64_512, families: ['ipv4'], ttlSecurity: true, bfd },
            { address: 'fd20::254', remoteAs: 64_512, families: ['ipv6'], bfd },
          ],
        },
      },
      assignments: [{ name: 'one', addresses: ['203.0.113.10', '2001:db8::10'], mode: 'bgp' }],
    });
    type Peer = { peer: string; multihop: boolean; status: string };
    const peers = async (): Promise<readonly Peer[]> => (await frr.json('show bfd peers json')) as readonly Peer[];
    await until('both are up', async () => (await peers()).filter(({ status }) => status === 'up').length === 2, {
      timeoutMs: 30_000,
      seen: async () => JSON.stringify(await peers()),
    });
    expect((await peers()).find(({ peer: each }) => each === '10.20.0.1')?.multihop).toBe(true);
    expect((await peers()).find(({ peer: each }) => each === 'fd20::1')?.multihop).toBe(false);
    await agent.end('SIGTERM');
  });
});
