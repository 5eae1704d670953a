import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { until } from '../peers/until.js';
import { birdRouter } from './support/bird-config.js';
import { RouterLab, peerOf, untilError, untilState } from './support/router-lab.js';

const vip = '203.0.113.10';
const needs = { netns: true, native: true, commands: ['bird', 'birdc'] };

describeRequiring(needs, 'faults in an operator’s words', () => {
  test('a wrong password, seen by dialling alone', async () => {
    await using lab = await RouterLab.create();
    await using _bird = await Bird.start(lab.router, birdRouter({ peer: 'password "right"; passive on;' }));
    const { speaker } = await lab.speaker(1, { peers: [{ password: 'wrong' }] });
    const words = await untilError(speaker, ['no answer from 10.20.0.254:179 within 1 s', 'check the password']);
    expect(words).not.toContain('wrong one is met with silence) (');
    expect(peerOf(speaker).lastError?.code).toBe('VIP_BGP_CONNECT_TIMEOUT');
    expect(JSON.stringify(peerOf(speaker))).not.toContain('"wrong"');
  });

  test('a wrong password, when the peer dials too: the kernel counts it', async () => {
    await using lab = await RouterLab.create();
    await using _bird = await Bird.start(lab.router, birdRouter({ peer: 'password "right";' }));
    const { speaker } = await lab.speaker(1, { listen: {}, peers: [{ password: 'wrong', connectRetryMs: 4000 }] });
    await untilError(speaker, ['segments for a wrong, missing or unexpected MD5 signature', 'check `password`']);
  });

  test.each([
    { name: 'only the peer has a password', ours: {}, theirs: 'password "right";' },
    { name: 'only this side has a password', ours: { password: 'right' }, theirs: '' },
  ])('$name', async ({ ours, theirs }) => {
    await using lab = await RouterLab.create();
    await using _bird = await Bird.start(lab.router, birdRouter({ peer: theirs }));
    const { speaker } = await lab.speaker(1, { listen: {}, peers: [{ ...ours, connectRetryMs: 4000 }] });
    await untilError(speaker, ['password']);
  });

  test('the AS of either side is not what the other expects', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker, events } = await lab.speaker(1, { peers: [{ remoteAs: 64_999 }] });
    await untilError(speaker, ['says it is AS 64512, expected AS 64999']);
    expect(peerOf(speaker).lastError?.code).toBe('VIP_BGP_PEER_AS_MISMATCH');
    expect(events).toContainEqual(expect.objectContaining({ direction: 'sent', code: 2, subcode: 2 }));
    // Now the other way round.
    await bird.configure(birdRouter({ agentAs: 65_000 }));
    await speaker.close();
    const { speaker: again } = await lab.speaker(1);
    await untilError(again, ['OPEN error: bad peer AS (2/2)', 'it expects another AS than 64513']);
  });

  test('TTL security on this side only, then on the other only', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker } = await lab.speaker(1, { peers: [{ ttlSecurity: true }] });
    await untilError(speaker, ['packets with a TTL below 255', 'turn on TTL security (GTSM) at the peer too']);
    await speaker.close();
    await bird.configure(birdRouter({ peer: 'ttl security on;' }));
    const { speaker: again } = await lab.speaker(1);
    await untilError(again, ['want TTL security (GTSM), which is off here']);
  });

  test('nothing listens, and no way there', async () => {
    await using lab = await RouterLab.create();
    const { speaker } = await lab.speaker(1, {
      peers: [{}, { address: '192.0.2.1' }, { address: '10.20.0.253', localAddress: '10.20.0.99' }],
    });
    await untilError(speaker, ['cannot connect to 10.20.0.254:179', 'nothing listens there']);
    await untilError(speaker, ['there is no way', 'set `multihop`'].slice(1), { address: '192.0.2.1' });
    await untilError(speaker, ['10.20.0.99 is no address of this host'], { address: '10.20.0.253' });
  });

  test('hold time: one that the other side does not accept', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(
      lab.router,
      birdRouter().replace('hold time 9; keepalive time 3;', 'hold time 0;'),
    );
    const { speaker } = await lab.speaker(1);
    await untilError(speaker, ['hold time 0', 'ours is 9 s']);
    await until('BIRD was told', () => /Received: Unacceptable hold time/i.test(bird.output), {
      seen: () => bird.output,
    });
  });

  test('no address family in common', async () => {
    await using lab = await RouterLab.create();
    await using _bird = await Bird.start(
      lab.router,
      birdRouter().replace('ipv6 { import all; export none; };\n  \n', '\n'),
    );
    const { speaker } = await lab.speaker(1, { peers: [{ families: ['ipv6'] }] });
    await untilError(speaker, ['family']);
  });

  test('a stranger, and a connection to the wrong address, are refused and counted', async () => {
    await using lab = await RouterLab.create(2);
    const { speaker, events } = await lab.speaker(1, {
      listen: {},
      peers: [{ passive: true, localAddress: '10.20.0.88' }],
    });
    const dial = (from: 'agent' | 'router'): Promise<unknown> =>
      (from === 'agent' ? lab.agent(2) : lab.router).exec('bash', ['-c', 'exec 3<>/dev/tcp/10.20.0.1/179; cat <&3'], {
        allowFailure: true,
      });
    await dial('agent');
    await dial('router');
    expect(events.filter(({ type }) => type === 'vip.bgp-connection-refused')).toEqual([
      { type: 'vip.bgp-connection-refused', remote: '10.20.0.2', reason: 'unknown-peer' },
      { type: 'vip.bgp-connection-refused', remote: '10.20.0.254', reason: 'wrong-local-address' },
    ]);
    expect(peerOf(speaker).state).toBe('active');
  });

  test('BFD says down: the session ends at once, and comes back', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker } = await lab.speaker(1, { peers: [{ idleHoldMs: { first: 60_000, max: 60_000 } }] });
    speaker.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1']);
    speaker.peerDown('10.20.0.254', 'no packet for 300 ms');
    expect(peerOf(speaker)).toMatchObject({
      state: 'idle',
      why: 'hold',
      lastError: { code: 'VIP_BGP_PEER_DOWN', message: expect.stringContaining('no packet for 300 ms') as string },
    });
    await lab.untilNextHops(vip, []);
    speaker.peerUp('10.20.0.254');
    await lab.untilNextHops(vip, ['10.20.0.1']);
    expect(bird.output).toMatch(/a1: Received: /);
  });

  test('a limit on what the peer may announce: closed with the right words, held, and tried again', async () => {
    await using lab = await RouterLab.create();
    const top = `protocol static { ipv4; ${Array.from({ length: 20 }, (_, index) => `route 198.18.${String(index)}.0/24 blackhole;`).join(' ')} }`;
    await using bird = await Bird.start(
      lab.router,
      birdRouter({ top, agents6: 1 }).replaceAll('export none; }; ipv6', 'export where source = RTS_STATIC; }; ipv6'),
    );
    const { speaker, events } = await lab.speaker(1, {
      peers: [
        // Held for long enough to be seen.
        { maxPrefixes: 10, families: ['ipv4'], idleHoldMs: { first: 2000, max: 2000 } },
        { address: 'fd20::254', families: ['ipv6'] },
      ],
    });
    await untilError(speaker, ['more than 10 networks', 'export nothing to it']);
    expect(events).toContainEqual(expect.objectContaining({ direction: 'sent', code: 6, subcode: 1 }));
    expect(peerOf(speaker)).toMatchObject({ state: 'idle', why: 'hold' });
    await until('BIRD was told', () => /Received: Maximum number of prefixes/i.test(bird.output), {
      seen: () => bird.output,
    });
    await untilState(speaker, 'established', 'fd20::254');
    await until('it was tried again', () => peerOf(speaker).sessions >= 2);
  });
});
