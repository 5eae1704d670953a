import { expect, test } from 'vitest';
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
    await until(
      'all are up',
      async () => own.every(({ status }) => status.detectionTimeMs === 300) && (await allUp(frr)),
      {
        seen: () => JSON.stringify([own.map(({ status }) => status), bfd.refusals]),
      },
    );
    expect(own.map(({ status }) => status.transport)).toEqual(['single-hop', 'single-hop']);
    process.kill(frr.pid('bfdd'), 'SIGSTOP');
    const stoppedMs = performance.now();
    await until('both are down', () => own.every(({ state }) => state === 'down'), { everyMs: 2 });
    expect(performance.now() - stoppedMs).toBeLessThan(450);
    process.kill(frr.pid('bfdd'), 'SIGCONT');
    await until('all are up again', async () => own.every(({ state }) => state === 'up') && (await allUp(frr)));
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
});
