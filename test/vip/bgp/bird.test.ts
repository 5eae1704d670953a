import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import type { BgpEvent } from '../../../src/vip/bgp/index.js';
import { Bird } from '../peers/bird.js';
import { until } from '../peers/until.js';
import { birdRouter } from './support/bird-config.js';
import { RouterLab, agentAs, peerOf, quick, routerAs, routerIp6, untilState } from './support/router-lab.js';

const vip = '203.0.113.10';
const vip6 = '2001:db8::10';
const needs = { netns: true, native: true, commands: ['bird', 'birdc'] };

describeRequiring(needs, 'sessions with BIRD', () => {
  test('a session over IPv4 carries routes of both families into the kernel of the router, and takes them back', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker } = await lab.speaker(1, { peers: [{ nextHop: { ipv6: 'fd20::1' } }] });
    speaker.announce({ prefix: `${vip}/32`, attributes: { communities: ['64513:7'], med: 20 } });
    speaker.announce({ prefix: `${vip6}/128` });
    await bird.established('a1');
    await untilState(speaker, 'established');
    await lab.untilNextHops(vip, ['10.20.0.1']);
    await lab.untilNextHops(vip6, ['fd20::1']);
    const route = await bird.birdc(`show route all ${vip}/32`);
    expect(route).toMatch(/BGP\.community: \(64513,7\)/);
    expect(route).toMatch(/BGP\.med: 20/);
    expect(peerOf(speaker)).toMatchObject({ state: 'established', announced: 2, remoteRouterId: '10.20.0.254' });
    speaker.withdraw(`${vip}/32`);
    await lab.untilNextHops(vip, []);
    await speaker.close();
    await lab.untilNextHops(vip6, []);
    await until('BIRD was told', () => /Received: Administrative shutdown/i.test(bird.output));
    expect(peerOf(speaker)).toMatchObject({ state: 'idle', why: 'stopped' });
  });

  test.each([
    { name: 'with MD5', ours: { password: 'br0ken clock' }, theirs: 'password "br0ken clock";' },
    { name: 'with GTSM', ours: { ttlSecurity: true }, theirs: 'ttl security on;' },
    { name: 'with both', ours: { password: 'x', ttlSecurity: true }, theirs: 'password "x"; ttl security on;' },
    { name: 'multihop', ours: { multihop: 5 }, theirs: 'multihop 5;' },
    { name: 'without either', ours: {}, theirs: '' },
  ])('active and passive, IPv4 and IPv6, $name', async ({ ours, theirs }) => {
    for (const passive of [false, true]) {
      await using lab = await RouterLab.create();
      const peer = `${theirs} ${passive ? '' : 'passive on;'}`;
      await using bird = await Bird.start(lab.router, birdRouter({ agents6: 1, peer }));
      const { speaker } = await lab.speaker(1, {
        ...(passive ? { listen: {} } : {}),
        peers: [
          { ...ours, passive, families: ['ipv4'] },
          { ...ours, passive, families: ['ipv6'], address: routerIp6 },
        ],
      });
      speaker.announce({ prefix: vip });
      speaker.announce({ prefix: vip6 });
      await bird.established('a1');
      await bird.established('s1');
      expect(await untilState(speaker, 'established', routerIp6)).toMatchObject({
        initiatedBy: passive ? 'peer' : 'us',
        families: ['ipv6'],
      });
      await lab.untilNextHops(vip, ['10.20.0.1']);
      await lab.untilNextHops(vip6, ['fd20::1']);
      await speaker.close();
    }
  });

  test('both sides dial at once: one connection stays, again and again', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker, events } = await lab.speaker(1, { listen: {} });
    speaker.announce({ prefix: vip });
    for (let round = 0; round < 6; round += 1) {
      await bird.established('a1');
      await untilState(speaker, 'established');
      await lab.untilNextHops(vip, ['10.20.0.1']);
      const { sessions } = peerOf(speaker);
      await bird.birdc('restart a1');
      await until('the next session', () => peerOf(speaker).sessions > sessions);
    }
    await untilState(speaker, 'established');
    const malformed = events.filter(({ type }) => type === 'vip.bgp-malformed');
    expect(malformed).toEqual([]);
  });

  test('ECMP of three nodes, then two, then one, counted in the kernel of the router', async () => {
    await using lab = await RouterLab.create(3);
    await using bird = await Bird.start(lab.router, birdRouter({ agents: 3, agents6: 3 }));
    const speakers = await Promise.all(
      [1, 2, 3].map(async (index) => {
        const { speaker } = await lab.speaker(index, {
          peers: [{ families: ['ipv4'] }, { address: routerIp6, families: ['ipv6'] }],
        });
        speaker.announce({ prefix: vip });
        speaker.announce({ prefix: vip6 });
        return speaker;
      }),
    );
    await bird.established('a3');
    await lab.untilNextHops(vip, ['10.20.0.1', '10.20.0.2', '10.20.0.3']);
    await lab.untilNextHops(vip6, ['fd20::1', 'fd20::2', 'fd20::3']);
    await speakers[2]?.close();
    await lab.untilNextHops(vip, ['10.20.0.1', '10.20.0.2']);
    await lab.untilNextHops(vip6, ['fd20::1', 'fd20::2']);
    // A crash: the kernel closes the connection, and nothing is said.
    speakers[1]?.destroy();
    await lab.untilNextHops(vip, ['10.20.0.1']);
    speakers[0]?.withdraw(vip);
    await lab.untilNextHops(vip, []);
    await lab.untilNextHops(vip6, ['fd20::1']);
  });

  test('a session that flaps comes back by itself, and a lost peer affects only itself', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter({ agents6: 1 }));
    const { speaker } = await lab.speaker(1, {
      peers: [
        { families: ['ipv4'], holdTimeSeconds: 3 },
        { address: routerIp6, families: ['ipv6'] },
      ],
    });
    speaker.announce({ prefix: vip });
    speaker.announce({ prefix: vip6 });
    await bird.established('a1');
    await bird.established('s1');
    const { since } = peerOf(speaker, routerIp6);
    for (let flap = 0; flap < 3; flap += 1) {
      await bird.birdc('disable a1');
      await until('the session is lost', () => peerOf(speaker).state !== 'established');
      await bird.birdc('enable a1');
      await bird.established('a1');
      await lab.untilNextHops(vip, ['10.20.0.1']);
    }
    expect(peerOf(speaker).lastError?.message).toMatch(/administrative shutdown/);
    expect(peerOf(speaker).sessions).toBe(4);
    expect(peerOf(speaker, routerIp6)).toMatchObject({ state: 'established', sessions: 1, since });
    // The hold time: a peer that hangs says nothing at all.
    bird.signal('SIGSTOP');
    await until('the hold time is over', () => peerOf(speaker).lastError?.code === 'VIP_BGP_HOLD_TIMER_EXPIRED');
    expect(peerOf(speaker).lastError?.message).toContain('nothing heard for the hold time of 3 s');
    bird.signal('SIGCONT');
    await bird.established('a1');
    await lab.untilNextHops(vip, ['10.20.0.1']);
  });
});

describeRequiring(needs, 'what BIRD is told', () => {
  test('policy of each peer: filters, communities, prepend, MED, next hop', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter({ agents6: 1 }));
    const peers = (more: object) => [
      {
        families: ['ipv4', 'ipv6'] as const,
        announce: ['203.0.113.0/24', '2001:db8::/32'],
        attributes: { communities: ['64513:1', 'no-export'], largeCommunities: ['64513:2:3'], prepend: 2, med: 5 },
        nextHop: { ipv4: '10.20.0.77', ipv6: 'fd20::77' },
        ...more,
      },
      { address: routerIp6, name: 'second', families: ['ipv6'] as const },
    ];
    const { speaker, events } = await lab.speaker(1, { peers: peers({}) });
    speaker.announce({ prefix: vip, attributes: { communities: ['64513:9'], med: 6 } });
    speaker.announce({ prefix: '198.51.100.1' });
    speaker.announce({ prefix: vip6, peers: ['second'] });
    speaker.announce({ prefix: '2001:db8::11' });
    await bird.established('a1');
    await bird.established('s1');
    const route = await until('the route is there', async () => {
      const text = await bird.birdc(`show route protocol a1 all ${vip}/32`);
      return text.includes('BGP.next_hop') && text;
    });
    // Each family comes in a message of its own, and each session by itself.
    await until('the others are too', async () => {
      const [first, second] = [await bird.birdc('show route protocol a1'), await bird.birdc('show route protocol s1')];
      return first.includes('2001:db8::11') && second.includes(vip6);
    });
    expect(route).toMatch(/BGP\.as_path: 64513 64513 64513\n/);
    expect(route).toMatch(/BGP\.next_hop: 10\.20\.0\.77/);
    expect(route).toMatch(/BGP\.med: 6/);
    expect(route).toMatch(/BGP\.community: \(64513,1\) \(64513,9\) \(65535,65281\)/);
    expect(route).toMatch(/BGP\.large_community: \(64513, 2, 3\)/);
    const a1 = await bird.birdc('show route protocol a1');
    expect(a1).not.toContain('198.51.100.1');
    expect(a1).not.toContain(vip6);

    // A changed policy is a new announcement, and no new session; a changed description is nothing at all.
    const heard = (address: string, families: number): boolean => {
      const peer = peerOf(speaker, address);
      return peer.state === 'established' && peer.endOfRibFrom.length === families;
    };
    await until('BIRD has said all that it says at first', () => heard('10.20.0.254', 2) && heard(routerIp6, 1));
    const before = events.length;
    speaker.setPeers(peers({ description: 'the first' }).map(quick));
    speaker.setPeers(peers({ description: 'the first', attributes: { prepend: 0 } }).map(quick));
    await until('the path is short', async () => /as_path: 64513\n/.test(await bird.birdc(`show route all ${vip}/32`)));
    expect(peerOf(speaker)).toMatchObject({ sessions: 1, description: 'the first' });
    expect(events.slice(before).map(({ type }) => type)).toEqual(['vip.bgp-update-sent']);
    // A changed hold time is a new session of that peer alone.
    speaker.setPeers(peers({ holdTimeSeconds: 6 }).map(quick));
    await until('a new session', async () => (await bird.birdc('show protocols all a1')).includes('/6'));
    expect(peerOf(speaker, routerIp6).sessions).toBe(1);
    speaker.setPeers(peers({}).slice(1).map(quick));
    await until('BIRD was told', () => /a1: Received: Peer de-configured/i.test(bird.output));
    expect(speaker.peers).toHaveLength(1);
  });

  test('drain: the graceful-shutdown community, and local preference 0 within the own AS', async () => {
    await using lab = await RouterLab.create(2);
    await using bird = await Bird.start(lab.router, birdRouter({ agents: 2, localAs: agentAs }));
    const internal = { peers: [{ remoteAs: agentAs, attributes: { localPreference: 200 } }] };
    const { speaker: first } = await lab.speaker(1, internal);
    const { speaker: second } = await lab.speaker(2, internal);
    first.announce({ prefix: vip });
    second.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1', '10.20.0.2']);
    first.drain(vip);
    await lab.untilNextHops(vip, ['10.20.0.2']);
    const route = await bird.birdc(`show route protocol a1 all ${vip}/32`);
    expect(route).toMatch(/BGP\.local_pref: 0\n/);
    expect(route).toMatch(/BGP\.community: \(65535,0\)/);
    expect(await bird.birdc(`show route protocol a2 all ${vip}/32`)).toMatch(/BGP\.local_pref: 200\n/);
    first.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1', '10.20.0.2']);
  });

  test('an orderly close drains first', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker } = await lab.speaker(1, { drainMs: 3000 });
    speaker.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1']);
    const closed = speaker.close();
    await until('GSHUT is seen', async () => (await bird.birdc(`show route all ${vip}/32`)).includes('(65535,0)'));
    expect(await bird.bgpState('a1')).toBe('Established');
    await closed;
    await lab.untilNextHops(vip, []);
  });

  test('500 routes leave in a few UPDATEs, and a ROUTE-REFRESH has them all again', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker, events } = await lab.speaker(1, { peers: [{ nextHop: { ipv6: 'fd20::1' } }] });
    await bird.established('a1');
    await until('the session has begun', () =>
      events.some((event) => event.type === 'vip.bgp-end-of-rib' && event.direction === 'sent'),
    );
    for (let index = 0; index < 500; index += 1) {
      speaker.announce({ prefix: `203.0.${String(112 + (index >> 8))}.${String(index & 255)}` });
      speaker.announce({ prefix: `2001:db8::${index.toString(16)}` });
    }
    const imported = (): Promise<string> => bird.birdc('show protocols all a1');
    await until('1000 routes', async () => (await imported()).match(/Routes: +500 imported/g)?.length === 2);
    const updates = (): BgpEvent[] => events.filter(({ type }) => type === 'vip.bgp-update-sent');
    expect(updates()).toEqual([
      { type: 'vip.bgp-update-sent', peer: '10.20.0.254', announced: 1000, withdrawn: 0, messages: 4 },
    ]);
    await bird.birdc('reload in a1');
    await until(
      'they were sent again',
      () => updates().reduce((sum, event) => sum + ('announced' in event ? event.announced : 0), 0) === 2000,
      { seen: updates },
    );
    await until('all were taken again', async () => (await imported()).match(/Import updates: +1000 /g)?.length === 2, {
      seen: imported,
    });
    for (const prefix of speaker.routes) speaker.withdraw(prefix);
    await until('none', async () => (await imported()).match(/Routes: +0 imported/g)?.length === 2);
  });

  test('what BIRD exports is counted and thrown away', async () => {
    await using lab = await RouterLab.create();
    const top = `protocol static { ipv4; ${Array.from({ length: 100 }, (_, index) => `route 198.18.${String(index)}.0/24 blackhole;`).join(' ')} }`;
    await using bird = await Bird.start(
      lab.router,
      birdRouter({ top }).replaceAll('export none; }; ipv6', 'export where source = RTS_STATIC; }; ipv6'),
    );
    const { speaker } = await lab.speaker(1);
    await bird.established('a1');
    const state = await until('all are counted', () => {
      const peer = peerOf(speaker);
      return peer.state === 'established' && peer.endOfRibFrom.length === 2 && peer;
    });
    expect(state.received).toEqual({ announcements: 100, withdrawals: 0 });
    expect(routerAs).not.toBe(agentAs);
  });
});
