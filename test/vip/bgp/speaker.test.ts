import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';
import * as fc from 'fast-check';
import { FakeClock } from 'meshwright/testing';
import { describe, expect, test } from 'vitest';
import { BgpSpeaker } from '../../../src/vip/bgp/index.js';
import type { BgpEvent, BgpPeerOptions, BgpSpeakerOptions } from '../../../src/vip/bgp/index.js';
import { encodeAnnouncements } from '../../../src/vip/bgp/codec/encode-update.js';
import { encodeMessage } from '../../../src/vip/bgp/codec/framing.js';
import { cease, notification } from '../../../src/vip/bgp/codec/notification.js';
import { encodeRouteRefresh } from '../../../src/vip/bgp/codec/route-refresh.js';
import { bgpCorpus } from './corpus.js';
import { MemoryTransport } from './support/memory-transport.js';
import { peerOf } from './support/router-lab.js';

const peer: BgpPeerOptions = { address: '10.0.0.254', remoteAs: 64_512 };
const random = { bytes: (length: number) => new Uint8Array(length), fraction: () => 1 - Number.EPSILON };

async function setUp(options: Partial<BgpSpeakerOptions> = {}) {
  const clock = new FakeClock();
  const transport = new MemoryTransport();
  const events: BgpEvent[] = [];
  const speaker = await BgpSpeaker.create({
    localAs: 64_513,
    routerId: '10.0.0.1',
    peers: [peer],
    listen: {},
    clock,
    transport,
    random,
    observer: (event) => void events.push(event),
    ...options,
  });
  return { clock, transport, events, speaker };
}

function typed<T extends BgpEvent['type']>(events: readonly BgpEvent[], type: T): Extract<BgpEvent, { type: T }>[] {
  return events.filter((event): event is Extract<BgpEvent, { type: T }> => event.type === type);
}

describe('a session', () => {
  test('opens, announces, says that it was all, and ends with words; no timer is left', async () => {
    const { clock, transport, speaker } = await setUp();
    speaker.announce({ prefix: '203.0.113.1' });
    speaker.announce({ prefix: '2001:db8::1', attributes: { nextHop: 'fd00::1' } });
    const remote = transport.answer();
    expect(remote.said()).toEqual(['open']);
    remote.open();
    expect(peerOf(speaker).state).toBe('open-confirm');
    remote.keepalive();
    clock.advance(0);
    expect(remote.said()).toEqual(['keepalive', 'update +1 -0', 'update +1 -0', 'end-of-rib ipv4', 'end-of-rib ipv6']);
    speaker.withdraw('203.0.113.1');
    speaker.withdraw('198.51.100.1');
    speaker.announce({ prefix: '2001:db8::1', attributes: { nextHop: 'fd00::1' } });
    clock.advance(0);
    expect(remote.said()).toEqual(['update +0 -1']);
    clock.advance(30_000);
    expect(remote.said()).toEqual(['keepalive']);
    await speaker.close();
    await speaker.close();
    expect(remote.said()).toEqual(['notification 6/2']);
    expect(remote.state).toBe('ended');
    expect(clock.pendingTimers).toBe(0);
    expect(speaker.peers).toMatchObject([{ state: 'idle', why: 'stopped' }]);
  });

  test('what cannot be sent waits until the kernel takes more', async () => {
    const { clock, transport, speaker } = await setUp();
    const remote = transport.answer();
    remote.establish();
    clock.advance(0);
    remote.takesWrites = false;
    speaker.announce({ prefix: '203.0.113.1' });
    clock.advance(0);
    remote.received();
    for (let index = 0; index < 50; index += 1) {
      speaker.announce({ prefix: '203.0.113.2', attributes: { med: index } });
      clock.advance(100);
    }
    expect(remote.said()).toEqual([]);
    remote.drained();
    const [update] = remote.received();
    expect(update).toMatchObject({ type: 'update', update: { attributes: { med: 49 } } });
    speaker.destroy();
    expect(remote.state).toBe('destroyed');
    expect(clock.pendingTimers).toBe(0);
  });

  test('a peer that takes nothing for eight minutes is none, though it talks (RFC 9687)', async () => {
    const { clock, transport, speaker } = await setUp();
    const remote = transport.answer();
    remote.establish();
    clock.advance(0);
    remote.takesWrites = false;
    speaker.announce({ prefix: '203.0.113.1' });
    for (let minute = 0; minute < 7; minute += 1) {
      clock.advance(60_000);
      remote.keepalive();
    }
    expect(peerOf(speaker).state).toBe('established');
    clock.advance(60_000);
    expect(peerOf(speaker)).toMatchObject({ state: 'idle', sessionEnd: { code: 'VIP_BGP_HOLD_TIMER_EXPIRED' } });
    expect(remote.said().at(-1)).toBe('notification 8/0');
    speaker.destroy();
    expect(clock.pendingTimers).toBe(0);
  });

  test('TTLs and passwords are those of the peer, on either side of the connection', async () => {
    const peers = [
      { ...peer, ttlSecurity: 2, password: 'x', localAddress: '10.0.0.1' },
      { ...peer, address: '10.0.0.253', multihop: 4 },
      { ...peer, address: '10.0.0.252', remoteAs: 64_513 },
    ];
    const { transport, speaker } = await setUp({ peers });
    expect(transport.dials.map(({ options }) => options)).toMatchObject([
      { ttl: 255, minTtl: 254, password: 'x', localAddress: '10.0.0.1' },
      { ttl: 4, minTtl: undefined, password: undefined },
      { ttl: 64, minTtl: undefined },
    ]);
    expect(transport.incoming().ttl).toEqual({ ttl: 255, minTtl: 254 });
    expect(transport.incoming('10.0.0.253').ttl).toEqual({ ttl: 4, minTtl: undefined });
    expect(transport.incoming(peer.address, '10.0.0.7').state).toBe('destroyed');
    expect([...transport.passwords]).toEqual([
      [peer.address, 'x'],
      ['10.0.0.253', undefined],
      ['10.0.0.252', undefined],
    ]);
    speaker.destroy();
  });

  test('a route that cannot be said to a peer is left out, and the others go', async () => {
    const { clock, transport, speaker } = await setUp();
    speaker.announce({ prefix: '203.0.113.1' });
    speaker.announce({ prefix: '2001:db8::1' });
    const remote = transport.answer();
    remote.establish();
    clock.advance(0);
    const leftOut = [{ prefix: '2001:db8::1/128', why: 'no-next-hop' }];
    expect(peerOf(speaker)).toMatchObject({ announced: 1, leftOut });
    speaker.setPeers([{ ...peer, nextHop: { ipv6: 'fd00::1' } }]);
    clock.advance(0);
    expect(peerOf(speaker)).toMatchObject({ announced: 2 });
    expect(peerOf(speaker)).not.toHaveProperty('leftOut');
    speaker.destroy();
  });

  test('a refresh of one family sends that family again', async () => {
    const { clock, transport, speaker } = await setUp();
    speaker.announce({ prefix: '203.0.113.1' });
    const remote = transport.answer();
    remote.establish();
    clock.advance(0);
    remote.received();
    remote.send(encodeRouteRefresh('ipv6'));
    clock.advance(0);
    expect(remote.said()).toEqual([]);
    remote.send(encodeRouteRefresh('ipv4'));
    clock.advance(0);
    expect(remote.said()).toEqual(['update +1 -0']);
    speaker.destroy();
  });
});

describe('collisions', () => {
  test.each([
    { theirs: '10.0.0.254', kept: 'incoming', name: 'the peer’s identifier is higher' },
    { theirs: '9.0.0.254', kept: 'outgoing', name: 'the own identifier is higher' },
    { theirs: '10.0.0.1', kept: 'outgoing', name: 'equal identifiers, the own AS is higher' },
  ])('$name: the connection stays that this side dialled', async ({ theirs, kept }) => {
    for (const order of ['outgoing first', 'incoming first']) {
      const { transport, speaker, events } = await setUp();
      const outgoing = transport.answer();
      const incoming = transport.incoming();
      const [first, second] = order === 'outgoing first' ? [outgoing, incoming] : [incoming, outgoing];
      first.open({ routerId: theirs });
      second.open({ routerId: theirs });
      const [winner, loser] = kept === 'incoming' ? [incoming, outgoing] : [outgoing, incoming];
      expect(loser.said().at(-1)).toBe('notification 6/7');
      expect(winner.said().at(-1)).toBe('keepalive');
      winner.keepalive();
      expect(peerOf(speaker)).toMatchObject({ state: 'established', initiatedBy: kept === 'outgoing' ? 'us' : 'peer' });
      expect(typed(events, 'vip.bgp-collision')).toEqual([{ type: 'vip.bgp-collision', peer: peer.address, kept }]);
      expect(peerOf(speaker).lastError).toBeUndefined();
      speaker.destroy();
    }
  });

  test('a session that stands is not replaced, unless graceful restart says that the peer restarted', async () => {
    const { transport, speaker } = await setUp();
    const outgoing = transport.answer();
    outgoing.establish();
    const late = transport.incoming();
    late.open();
    expect(late.said()).toEqual(['open', 'notification 6/7']);
    expect(peerOf(speaker)).toMatchObject({ state: 'established', sessions: 1 });
    speaker.destroy();

    const graceful = await setUp({ gracefulRestart: {} });
    const capabilities = {
      families: ['ipv4' as const],
      routeRefresh: true,
      fourOctetAs: 64_512,
      gracefulRestart: { restarting: true, restartTimeSeconds: 10, families: [] },
    };
    const old = graceful.transport.answer();
    old.establish({ capabilities });
    old.received();
    const fresh = graceful.transport.incoming();
    fresh.establish({ capabilities });
    expect(old.said()).toEqual([]);
    expect(old.state).toBe('destroyed');
    expect(peerOf(graceful.speaker)).toMatchObject({ state: 'established', sessions: 2, initiatedBy: 'peer' });
    graceful.speaker.destroy();
  });

  test('when the session ends, dialling begins again; the peer’s own Cease for a collision is no error', async () => {
    const { clock, transport, speaker } = await setUp();
    const outgoing = transport.answer();
    const incoming = transport.incoming();
    incoming.open();
    outgoing.notify(notification(6, 7));
    expect(peerOf(speaker).lastError).toBeUndefined();
    incoming.keepalive();
    expect(peerOf(speaker).state).toBe('established');
    const before = transport.dials.length;
    incoming.close();
    clock.advance(1000);
    expect(transport.dials.length).toBe(before + 1);
    speaker.destroy();
  });
});

describe('failures', () => {
  test('a peer that keeps failing is tried ever more seldom, until a sound session', async () => {
    const { clock, transport, speaker } = await setUp({ peers: [{ ...peer, idleHoldMs: { first: 1000, max: 8000 } }] });
    const waits: number[] = [];
    const failOnce = (): void => {
      transport.answer().open({ as: 65_000 });
      const before = transport.dials.length;
      let waited = 0;
      for (; transport.dials.length === before; waited += 500) clock.advance(500);
      waits.push(waited);
    };
    for (let turn = 0; turn < 6; turn += 1) failOnce();
    expect(waits).toEqual([1000, 2000, 4000, 8000, 8000, 8000]);
    const remote = transport.answer();
    remote.establish();
    expect(peerOf(speaker)).toMatchObject({ state: 'established', failures: 0 });
    clock.advance(29_000);
    remote.keepalive();
    clock.advance(1000);
    remote.close();
    clock.advance(1000);
    failOnce();
    expect(waits.at(-1)).toBe(2000);
    speaker.destroy();
  });

  test('while it is held nothing is taken either, and BFD ends the wait', async () => {
    const { transport, speaker, events } = await setUp();
    transport.answer().open({ as: 65_000 });
    expect(peerOf(speaker)).toMatchObject({ state: 'idle', why: 'hold' });
    expect(transport.incoming().state).toBe('destroyed');
    expect(typed(events, 'vip.bgp-connection-refused')).toMatchObject([{ reason: 'peer-idle' }]);
    speaker.peerUp('10.0.0.9');
    speaker.peerUp(peer.address);
    expect(peerOf(speaker).state).toBe('connect');
    expect(transport.incoming().state).toBe('open');
    speaker.destroy();
  });

  test('a dial without an answer is given up and tried again, with what the kernel counted meanwhile', async () => {
    const { clock, transport, speaker } = await setUp({ peers: [{ ...peer, ttlSecurity: true }] });
    expect(transport.dials[0]?.options).toMatchObject({ ttl: 255, minTtl: 255, port: 179 });
    transport.hintsNow = { md5Failures: 0, ttlDrops: 4 };
    clock.advance(5000);
    expect(transport.dials).toHaveLength(2);
    expect(transport.dials[0]?.cancelled).toBe(true);
    expect(peerOf(speaker).lastError?.code).toBe('VIP_BGP_CONNECT_TIMEOUT');
    transport.hintsNow = { md5Failures: 3, ttlDrops: 4 };
    clock.advance(5000);
    expect(peerOf(speaker).lastError?.message).toContain('3 segments for a wrong, missing or unexpected MD5 signature');
    transport.dials
      .at(-1)
      ?.callbacks.failed(Object.assign(new Error('x'), { code: 'ECONNREFUSED', syscall: 'connect' }));
    expect(peerOf(speaker)).toMatchObject({ state: 'active', lastError: { code: 'VIP_BGP_CONNECT_FAILED' } });
    speaker.destroy();
  });

  test('a message that breaks the protocol ends that session with the right words, and no other', async () => {
    const second = { ...peer, address: '10.0.0.253' };
    const { clock, transport, speaker, events } = await setUp({ peers: [peer, second] });
    const broken = transport.answer(peer.address);
    const sound = transport.answer(second.address);
    broken.establish();
    sound.establish();
    clock.advance(0);
    broken.received();
    sound.received();
    broken.send(encodeMessage(2, Buffer.from([0, 99, 0, 0])));
    expect(broken.said()).toEqual(['notification 3/1']);
    expect(typed(events, 'vip.bgp-malformed')).toEqual([
      { type: 'vip.bgp-malformed', peer: peer.address, reason: 'update-lengths' },
    ]);
    expect(peerOf(speaker)).toMatchObject({ state: 'idle', sessionEnd: { code: 'VIP_BGP_PROTOCOL_ERROR' } });
    expect(peerOf(speaker, second.address).state).toBe('established');
    // RFC 7606: an attribute that is wrong costs its routes, not the session.
    sound.send(encodeMessage(2, Buffer.from([0, 0, 0, 4, 0x40, 1, 1, 9, 8, 10])));
    expect(typed(events, 'vip.bgp-attribute-fault').map(({ fault }) => fault)).toEqual(['origin', 'attribute-missing']);
    expect(peerOf(speaker, second.address)).toMatchObject({ state: 'established', received: { withdrawals: 1 } });
    expect(sound.said()).toEqual([]);
    speaker.destroy();
  });

  test('whatever a peer sends, in whatever state, the speaker lives, and the other session too', async () => {
    const corpus = bgpCorpus();
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.constantFrom(...corpus),
      fc.tuple(fc.constantFrom(...corpus), fc.nat(200), fc.nat(255)).map(([message, at, value]) => {
        const copy = Buffer.from(message);
        copy[at % copy.length] = value;
        return copy;
      }),
    );
    const second = { ...peer, address: '10.0.0.253' };
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 3 }),
        fc.array(bytes, { minLength: 1, maxLength: 20 }),
        async (progress, sent) => {
          const { clock, transport, speaker } = await setUp({ peers: [peer, { ...second, holdTimeSeconds: 0 }] });
          speaker.announce({ prefix: '203.0.113.1' });
          const sound = transport.answer(second.address);
          sound.establish({ holdTimeSeconds: 0 });
          const hostile = progress === 3 ? transport.incoming() : transport.answer(peer.address);
          if (progress > 0) hostile.open();
          if (progress > 1) hostile.keepalive();
          for (const message of sent) {
            hostile.send(message);
            clock.advance(10);
          }
          clock.advance(200_000);
          expect(peerOf(speaker, second.address).state).toBe('established');
          expect(['idle', 'connect', 'active']).toContain(peerOf(speaker).state);
          await speaker.close();
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('received routes', () => {
  const table = function* (count: number): Generator<Buffer> {
    const attributes = { origin: 'igp' as const, asPath: [{ type: 'sequence' as const, asns: [64_512, 3356, 1299] }] };
    const perMessage = 200;
    for (let start = 0; start < count; start += perMessage) {
      const networks = Array.from({ length: perMessage }, (_, index) => {
        const number = start + index;
        return {
          family: 'ipv4' as const,
          length: 24,
          octets: Uint8Array.of(1 + (number >> 16), (number >> 8) & 255, number & 255),
        };
      });
      yield* encodeAnnouncements(networks, 'ipv4', attributes, '10.0.0.254', { fourOctetAs: true });
    }
  };

  test('a full table sent by mistake is counted and thrown away: a million networks, and no memory', async () => {
    setFlagsFromString('--expose_gc');
    const collect = runInNewContext('gc') as () => void;
    const { clock, transport, speaker } = await setUp({ observer: () => undefined });
    const remote = transport.answer();
    remote.establish();
    const heap = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const messages = table(1_000_000);
    const feed = (count: number): void => {
      for (let index = 0; index < count; index += 1) {
        const { value } = messages.next();
        if (value !== undefined) remote.send(value as Buffer);
      }
    };
    feed(500);
    const before = heap();
    feed(4500);
    expect(heap() - before).toBeLessThan(2_000_000);
    expect(peerOf(speaker)).toMatchObject({
      state: 'established',
      received: { announcements: 1_000_000, withdrawals: 0 },
    });
    clock.advance(0);
    speaker.destroy();
  });

  test('a limit counts networks, not announcements, and is said to the peer', async () => {
    const { clock, transport, speaker } = await setUp({ peers: [{ ...peer, maxPrefixes: 400 }] });
    const remote = transport.answer();
    remote.establish();
    clock.advance(0);
    for (let turn = 0; turn < 5; turn += 1) for (const message of table(400)) remote.send(message);
    expect(peerOf(speaker).state).toBe('established');
    remote.received();
    for (const message of table(600)) remote.send(message);
    expect(remote.said()).toEqual(['notification 6/1']);
    expect(peerOf(speaker)).toMatchObject({ state: 'idle', why: 'hold', lastError: { code: 'VIP_BGP_PREFIX_LIMIT' } });
    clock.advance(59_000);
    expect(transport.dials).toHaveLength(1);
    clock.advance(1001);
    expect(transport.dials).toHaveLength(2);
    speaker.destroy();
  });
});

describe('peers and options', () => {
  test('setPeers: refused as a whole, or carried out peer by peer', async () => {
    const { clock, transport, speaker } = await setUp();
    const remote = transport.answer();
    remote.establish();
    clock.advance(0);
    remote.received();
    expect(() => speaker.setPeers([peer, peer])).toThrow(/two have the address/);
    expect(() => speaker.setPeers([{ ...peer, remoteAs: 0 }])).toThrow(/remoteAs/);
    speaker.setPeers([{ ...peer, description: 'x' }]);
    expect(remote.said()).toEqual([]);
    speaker.setPeers([{ ...peer, password: 'new' }]);
    expect(remote.said()).toEqual(['notification 6/6']);
    expect(transport.passwords.get(peer.address)).toBe('new');
    speaker.setPeers([]);
    expect(transport.passwords.get(peer.address)).toBeUndefined();
    expect(speaker.peers).toEqual([]);
    await speaker.close();
    expect(clock.pendingTimers).toBe(0);
    speaker.setPeers([peer]);
    expect(speaker.peers).toEqual([]);
  });

  test.each<[Partial<BgpPeerOptions>, RegExp]>([
    [{ address: 'router' }, /peer router: address: expected an IPv4 or IPv6 address/],
    [{ remoteAs: 4_294_967_296 }, /remoteAs: expected an integer from 1 to 4294967295/],
    [{ holdTimeSeconds: 2 }, /holdTimeSeconds/],
    [{ password: 'x'.repeat(81) }, /password: expected 1 to 80 bytes/],
    [{ password: '' }, /password/],
    [{ ttlSecurity: true, multihop: 3 }, /exclude each other/],
    [{ ttlSecurity: 0 }, /ttlSecurity/],
    [{ localAddress: 'fd00::1' }, /localAddress: expected the family of/],
    [{ families: [] }, /families/],
    [{ announce: ['10.0.0.1/8'] }, /announce: .*bits are set/],
    [
      { attributes: { communities: ['1:70000'] } },
      /communities: expected 64512:100 or a well-known name, got "1:70000"/,
    ],
    [{ attributes: { largeCommunities: ['1:2'] } }, /largeCommunities/],
    [{ attributes: { prepend: 40 } }, /prepend/],
    [{ nextHop: { ipv4: 'fd00::1' } }, /nextHop\.ipv4/],
    [{ idleHoldMs: { first: 100, max: 50 } }, /idleHoldMs\.max/],
    [{ maxPrefixes: -1 }, /maxPrefixes/],
  ])('refuses %j', async (options, message) => {
    const refused = await setUp({ peers: [{ ...peer, ...options }] }).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'VIP_CONFIGURATION_INVALID',
      message: expect.stringMatching(message) as string,
    });
    expect(String(refused)).not.toContain('xxxx');
  });

  test('refuses a speaker that makes no sense', async () => {
    await expect(setUp({ routerId: 'fd00::1' })).rejects.toMatchObject({ code: 'VIP_CONFIGURATION_INVALID' });
    await expect(setUp({ routerId: '0.0.0.0' })).rejects.toMatchObject({ code: 'VIP_CONFIGURATION_INVALID' });
    await expect(setUp({ localAs: 0 })).rejects.toThrow(/localAs/);
    await expect(setUp({ listen: undefined, peers: [{ ...peer, passive: true }] })).rejects.toThrow(/no `listen`/);
    const { speaker } = await setUp();
    expect(() => speaker.announce({ prefix: '10.0.0.1/8' })).toThrow(/bits are set/);
    expect(() => speaker.announce({ prefix: '10.0.0.1', attributes: { med: -1 } })).toThrow(/route "10\.0\.0\.1": med/);
    speaker.destroy();
  });

  test('changes() gives the newest state', async () => {
    const { clock, transport, speaker } = await setUp();
    const abort = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const [first] of speaker.changes({ signal: abort.signal })) {
        if (first?.state !== seen.at(-1)) seen.push(first?.state ?? 'none');
        if (first?.state === 'established') abort.abort();
      }
    })();
    await clock.advanceAsync(0);
    transport.answer().establish();
    await clock.advanceAsync(0);
    await watching;
    expect(seen).toEqual(['connect', 'established']);
    speaker.destroy();
  });

  test('drain and close with drainMs', async () => {
    const { clock, transport, speaker } = await setUp({ drainMs: 2000, peers: [{ ...peer, remoteAs: 64_513 }] });
    speaker.announce({ prefix: '203.0.113.1' });
    const remote = transport.answer();
    remote.establish({ as: 64_513 });
    clock.advance(0);
    remote.received();
    const closed = speaker.close();
    await clock.advanceAsync(0);
    expect(remote.received()).toMatchObject([
      { type: 'update', update: { attributes: { communities: [0xffff_0000] } } },
    ]);
    expect(transport.incoming().state).toBe('destroyed');
    await clock.advanceAsync(2000);
    await closed;
    expect(remote.said()).toEqual(['notification 6/2']);
    expect(cease(2).subcode).toBe(2);
  });
});
