import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Frr } from '../peers/frr.js';
import { until } from '../peers/until.js';
import { RouterLab, agentAs, peerOf, routerAs, routerIp6, untilError, untilState } from './support/router-lab.js';

const vip = '203.0.113.10';
const vip6 = '2001:db8::10';

interface FrrRouterOptions {
  readonly agents?: number;
  /** Lines for each neighbour, with `N` for its address. */
  readonly neighbor?: readonly string[];
  /** Lines of `router bgp`. */
  readonly bgp?: readonly string[];
  readonly agentAs?: number;
}

function frrRouter(options: FrrRouterOptions = {}): string {
  const indexes = Array.from({ length: options.agents ?? 1 }, (_, index) => String(index + 1));
  const neighbors = indexes.flatMap((index) => [`10.20.0.${index}`, `fd20::${index}`]);
  const activate = (family: string, mine: (address: string) => boolean): string[] => [
    ` address-family ${family} unicast`,
    ...neighbors.map((address) => `  ${mine(address) ? '' : 'no '}neighbor ${address} activate`),
    ...neighbors.filter(mine).map((address) => `  neighbor ${address} soft-reconfiguration inbound`),
    '  maximum-paths 16',
    '  maximum-paths ibgp 16',
    ' exit-address-family',
  ];
  return [
    'log stdout debugging',
    `router bgp ${String(routerAs)}`,
    ' bgp router-id 10.20.0.254',
    ' no bgp ebgp-requires-policy',
    ' no bgp default ipv4-unicast',
    ' bgp bestpath as-path multipath-relax',
    ...(options.bgp ?? []),
    ...neighbors.flatMap((address) => [
      ` neighbor ${address} remote-as ${String(options.agentAs ?? agentAs)}`,
      ` neighbor ${address} timers 3 9`,
      ` neighbor ${address} timers connect 1`,
      ...(options.neighbor ?? []).map((line) => ` ${line.replaceAll('N', address)}`),
    ]),
    ...activate('ipv4', (address) => !address.includes(':')),
    ...activate('ipv6', (address) => address.includes(':')),
    '',
  ].join('\n');
}

async function routeOf(frr: Frr, prefix: string): Promise<Record<string, unknown> | undefined> {
  const family = prefix.includes(':') ? 'ipv6' : 'ipv4';
  const all = (await frr.json(`show bgp ${family} unicast ${prefix} json`)) as { paths?: Record<string, unknown>[] };
  return all.paths?.[0];
}

describeRequiring({ netns: true, native: true, commands: ['vtysh'] }, 'sessions with FRR', () => {
  test.each([
    { name: 'plain', neighbor: [], ours: {} },
    { name: 'MD5', neighbor: ['neighbor N password t1ck'], ours: { password: 't1ck' } },
    { name: 'GTSM', neighbor: ['neighbor N ttl-security hops 1'], ours: { ttlSecurity: true } },
    {
      name: 'MD5 and GTSM, we are passive',
      neighbor: ['neighbor N password t1ck', 'neighbor N ttl-security hops 1'],
      ours: { password: 't1ck', ttlSecurity: true, passive: true },
    },
    { name: 'FRR is passive', neighbor: ['neighbor N passive'], ours: {} },
  ])('IPv4 and IPv6, $name', async ({ neighbor, ours }) => {
    await using lab = await RouterLab.create();
    await using frr = await Frr.start(lab.router, { daemons: ['bgpd'], config: frrRouter({ neighbor }) });
    const { speaker } = await lab.speaker(1, {
      listen: {},
      peers: [
        { ...ours, families: ['ipv4'] },
        { ...ours, families: ['ipv6'], address: routerIp6 },
      ],
    });
    const attributes = { communities: ['64513:7'], largeCommunities: ['64513:1:2'], med: 30, prepend: 1 };
    speaker.announce({ prefix: vip, attributes });
    speaker.announce({ prefix: vip6, attributes });
    await frr.established('10.20.0.1');
    await frr.established('fd20::1');
    await untilState(speaker, 'established', routerIp6);
    await lab.untilNextHops(vip, ['10.20.0.1']);
    await lab.untilNextHops(vip6, ['fd20::1']);
    expect(await routeOf(frr, `${vip}/32`)).toMatchObject({
      metric: 30,
      aspath: { string: '64513 64513' },
      community: { string: '64513:7' },
      largeCommunity: { string: '64513:1:2' },
    });
    expect(await routeOf(frr, `${vip6}/128`)).toMatchObject({ valid: true });
    speaker.drain();
    await until('GSHUT is seen', async () => {
      const route = (await routeOf(frr, `${vip}/32`)) as { community?: { list?: string[] } };
      return route.community?.list?.includes('gracefulShutdown');
    });
    await speaker.close();
    await lab.untilNextHops(vip, []);
    const said = (await frr.json('show bgp neighbors 10.20.0.1 json')) as Record<
      string,
      { lastNotificationReason?: string }
    >;
    expect(said['10.20.0.1']?.lastNotificationReason).toMatch(/Cease\/Administrative Shutdown/i);
  });

  test('ECMP of two nodes, and what is left when one crashes', async () => {
    await using lab = await RouterLab.create(2);
    await using frr = await Frr.start(lab.router, { daemons: ['bgpd'], config: frrRouter({ agents: 2 }) });
    const [one, two] = [await lab.speaker(1), await lab.speaker(2)];
    for (const { speaker } of [one, two]) speaker.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1', '10.20.0.2']);
    two.speaker.destroy();
    await lab.untilNextHops(vip, ['10.20.0.1']);
    await frr.vtysh('clear bgp ipv4 unicast 10.20.0.1');
    await until('the session was lost', () => peerOf(one.speaker).sessions === 2);
    await lab.untilNextHops(vip, ['10.20.0.1']);
  });

  test('graceful restart of this side, and of FRR', async () => {
    await using lab = await RouterLab.create();
    await using frr = await Frr.start(lab.router, {
      daemons: ['bgpd'],
      config: frrRouter({ bgp: [' bgp graceful-restart', ' bgp graceful-restart preserve-fw-state'] }),
    });
    const gracefulRestart = { restartTimeSeconds: 20 };
    const first = await lab.speaker(1, { gracefulRestart, listen: {} });
    first.speaker.announce({ prefix: vip });
    first.speaker.announce({ prefix: '203.0.113.11' });
    await lab.untilNextHops('203.0.113.11', ['10.20.0.1']);
    first.speaker.destroy();
    await until('FRR saw it', async () => (await frr.bgpState('10.20.0.1')) !== 'Established');
    expect(await lab.kernelNextHops(vip)).toEqual(['10.20.0.1']);
    const second = await lab.speaker(1, { gracefulRestart: { ...gracefulRestart, restarting: true }, listen: {} });
    second.speaker.announce({ prefix: vip });
    second.speaker.routesComplete();
    await lab.untilNextHops('203.0.113.11', []);
    expect(await lab.kernelNextHops(vip)).toEqual(['10.20.0.1']);

    await frr.stopDaemon('bgpd', 'SIGKILL');
    await until('the loss is seen', () => peerOf(second.speaker).state !== 'established');
    await frr.startDaemon('bgpd');
    await frr.established('10.20.0.1');
    await lab.untilNextHops(vip, ['10.20.0.1']);
    expect(peerOf(second.speaker).sessions).toBe(2);
  });

  test('500 routes, withdrawn again', async () => {
    await using lab = await RouterLab.create();
    await using frr = await Frr.start(lab.router, { daemons: ['bgpd'], config: frrRouter() });
    const { speaker } = await lab.speaker(1);
    for (let index = 0; index < 500; index += 1)
      speaker.announce({ prefix: `203.0.${String(112 + (index >> 8))}.${String(index & 255)}` });
    const count = async (): Promise<number> => {
      const summary = (await frr.json('show bgp ipv4 unicast summary json')) as {
        peers: Record<string, { pfxRcd: number }>;
      };
      return summary.peers['10.20.0.1']?.pfxRcd ?? 0;
    };
    await until('500', async () => (await count()) === 500);
    await frr.vtysh('clear bgp ipv4 unicast 10.20.0.1 soft in');
    await speaker.close();
    await until('none', async () => (await count()) === 0);
  });

  test('what FRR refuses is reported in words', async () => {
    await using lab = await RouterLab.create();
    await using _frr = await Frr.start(lab.router, { daemons: ['bgpd'], config: frrRouter({ agentAs: 65_001 }) });
    const { speaker } = await lab.speaker(1);
    await untilError(speaker, ['it expects another AS than 64513']);
  });
});
