import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { GoBgp } from '../peers/gobgp.js';
import { until } from '../peers/until.js';
import { RouterLab, agentAs, peerOf, routerAs, routerIp6, untilError, untilState } from './support/router-lab.js';

const vip = '203.0.113.10';
const vip6 = '2001:db8::10';

interface GoBgpOptions {
  readonly password?: string;
  readonly gtsm?: boolean;
  readonly passive?: boolean;
  readonly agentAs?: number;
  readonly gracefulRestart?: boolean;
}

function goBgpRouter(options: GoBgpOptions = {}): string {
  const neighbor = (address: string, family: string): string => `
[[neighbors]]
[neighbors.config]
neighbor-address = "${address}"
peer-as = ${String(options.agentAs ?? agentAs)}
${options.password === undefined ? '' : `auth-password = "${options.password}"`}
[neighbors.timers.config]
connect-retry = 2
hold-time = 9
keepalive-interval = 3
idle-hold-time-after-reset = 1
[neighbors.transport.config]
passive-mode = ${String(options.passive ?? false)}
${options.gtsm === true ? '[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255' : ''}
${options.gracefulRestart === true ? '[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 20' : ''}
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "${family}"
${options.gracefulRestart === true ? '[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true' : ''}
`;
  return `
[global.config]
as = ${String(routerAs)}
router-id = "10.20.0.254"
${neighbor('10.20.0.1', 'ipv4-unicast')}
${neighbor('fd20::1', 'ipv6-unicast')}
`;
}

interface Rib {
  readonly [prefix: string]: readonly {
    readonly stale?: boolean;
    readonly attrs: readonly Record<string, unknown>[];
  }[];
}

async function rib(gobgp: GoBgp, family: 'ipv4' | 'ipv6' = 'ipv4'): Promise<Rib> {
  return ((await gobgp.json('global', 'rib', '-a', family)) ?? {}) as Rib;
}

describeRequiring({ netns: true, native: true, commands: ['gobgpd', 'gobgp'] }, 'sessions with GoBGP', () => {
  test.each([
    { name: 'plain', theirs: {}, ours: {} },
    { name: 'MD5', theirs: { password: 't1ck' }, ours: { password: 't1ck' } },
    { name: 'GTSM, GoBGP passive', theirs: { gtsm: true, passive: true }, ours: { ttlSecurity: true } },
    { name: 'MD5, we passive', theirs: { password: 't1ck' }, ours: { password: 't1ck', passive: true } },
  ])('IPv4 and IPv6, $name', async ({ theirs, ours }) => {
    await using lab = await RouterLab.create();
    await using gobgp = await GoBgp.start(lab.router, goBgpRouter(theirs));
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
    await gobgp.established('10.20.0.1', 30_000);
    await gobgp.established('fd20::1', 30_000);
    await untilState(speaker, 'established', routerIp6);
    const route = await until('the route', async () => (await rib(gobgp))[`${vip}/32`]?.[0]);
    expect(route.attrs).toEqual(
      expect.arrayContaining([
        { type: 1, value: 0 },
        expect.objectContaining({ type: 2, as_paths: [expect.objectContaining({ asns: [agentAs, agentAs] })] }),
        { type: 3, nexthop: '10.20.0.1' },
        { type: 4, metric: 30 },
        { type: 8, communities: [64_513 * 65_536 + 7] },
        { type: 32, value: [{ ASN: 64_513, LocalData1: 1, LocalData2: 2 }] },
      ]),
    );
    const route6 = await until('the IPv6 route', async () => (await rib(gobgp, 'ipv6'))[`${vip6}/128`]?.[0]);
    expect(JSON.stringify(route6)).toContain('"nexthop":"fd20::1"');
    speaker.withdraw(vip);
    await until('it is gone', async () => (await rib(gobgp))[`${vip}/32`] === undefined);
    await speaker.close();
    await until('so is the other', async () => (await rib(gobgp, 'ipv6'))[`${vip6}/128`] === undefined);
  });

  test('graceful restart of this side', async () => {
    await using lab = await RouterLab.create();
    await using gobgp = await GoBgp.start(lab.router, goBgpRouter({ gracefulRestart: true, passive: true }));
    const gracefulRestart = { restartTimeSeconds: 20 };
    const peers = [{ families: ['ipv4'] as const }];
    const first = await lab.speaker(1, { gracefulRestart, peers });
    first.speaker.announce({ prefix: vip });
    first.speaker.announce({ prefix: '203.0.113.11' });
    await until('both routes', async () => Object.keys(await rib(gobgp)).length === 2);
    first.speaker.destroy();
    await until('stale', async () => (await rib(gobgp))[`${vip}/32`]?.[0]?.stale === true);
    const second = await lab.speaker(1, { gracefulRestart: { ...gracefulRestart, restarting: true }, peers });
    second.speaker.announce({ prefix: vip });
    second.speaker.routesComplete();
    await until('one route, fresh', async () => {
      const routes = await rib(gobgp);
      return Object.keys(routes).length === 1 && routes[`${vip}/32`]?.[0]?.stale !== true;
    });
  });

  test('GoBGP restarts, and what it refuses is reported in words', async () => {
    await using lab = await RouterLab.create();
    await using gobgp = await GoBgp.start(lab.router, goBgpRouter());
    const { speaker } = await lab.speaker(1, { listen: {}, peers: [{ families: ['ipv4'] }] });
    speaker.announce({ prefix: vip });
    await gobgp.established('10.20.0.1', 30_000);
    await gobgp.stop('SIGKILL');
    await until('the loss is seen', () => peerOf(speaker).state !== 'established');
    await gobgp.restart();
    await gobgp.established('10.20.0.1', 30_000);
    await until('the route', async () => (await rib(gobgp))[`${vip}/32`]);
    await gobgp.gobgp('neighbor', '10.20.0.1', 'shutdown', '--reason', 'rack 4 moves');
    await until('it is said why', () => peerOf(speaker).sessionEnd?.message.includes('rack 4 moves'), {
      seen: () => [peerOf(speaker), gobgp.output.slice(-1500)],
    });
    expect(peerOf(speaker).sessionEnd?.message).toContain('administrative shutdown');
  });

  test('a wrong AS', async () => {
    await using lab = await RouterLab.create();
    await using _gobgp = await GoBgp.start(lab.router, goBgpRouter({ agentAs: 65_001, passive: true }));
    const { speaker } = await lab.speaker(1);
    await untilError(speaker, ['it expects another AS than 64513']);
  });
});
