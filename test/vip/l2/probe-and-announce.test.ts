// When what is sent, and what follows from what is heard: on a simulated segment, with a clock that stands still.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Random } from '../../../src/core/index.js';
import { FakeClock } from '../../../src/testing/fake-clock.js';
import { L2Link } from '../../../src/vip/l2/index.js';
import type { L2Announcement, L2Event, L2LinkOptions, ProbeResult } from '../../../src/vip/l2/index.js';
import { announcementPackets, probePacket } from '../../../src/vip/l2/sighting.js';
import { SimulatedSegment } from './support/simulated-segment.js';
import type { SimulatedStation } from './support/simulated-segment.js';

const vip4 = '192.0.2.10';
const vip6 = 'fd20::100';
const middle: Random = { bytes: (length) => new Uint8Array(length), fraction: () => 0.5 };

interface Bench extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly segment: SimulatedSegment;
  readonly station: SimulatedStation;
  readonly other: SimulatedStation;
  readonly link: L2Link;
  readonly events: L2Event[];
  /** When the station sent something since the last call, in ms of the clock; several at one moment count once. */
  times(): number[];
  /** The other station says that it has the address. */
  claim(ip: string): void;
}

async function bench(options: Partial<L2LinkOptions> = {}): Promise<Bench> {
  const clock = new FakeClock();
  const segment = new SimulatedSegment(clock);
  const [station, other] = [segment.station(1), segment.station(2)];
  const events: L2Event[] = [];
  const link = await L2Link.open({
    ...{ interface: 'eth0', clock, random: middle, openTransport: station.open, ...options },
    observer: (event) => void events.push(event),
  });
  let seen = 0;
  return {
    ...{ clock, segment, station, other, link, events },
    times: () => {
      const fresh = segment.sent.slice(seen).filter(({ from }) => from === station.mac);
      seen = segment.sent.length;
      return [...new Set(fresh.map(({ atMs }) => atMs))];
    },
    claim: (ip) => {
      for (const packet of announcementPackets(ip, other.mac, false)) segment.carry(other, packet);
    },
    [Symbol.asyncDispose]: () => link.close(),
  };
}

describe('a probe', () => {
  test.each([vip4, vip6])('of a free address asks three times within 400 ms (%s)', async (ip) => {
    await using b = await bench();
    const result = b.link.probe(ip);
    await b.clock.advanceAsync(0);
    expect(b.station.watched).toEqual([ip]);
    await b.clock.advanceAsync(400);
    expect(await result).toEqual({ free: true });
    expect(b.times()).toEqual([10, 110, 210]);
    expect(b.events.at(-1)).toEqual({
      ...{ type: 'vip.l2-probed', interface: 'eth0', address: ip, outcome: 'free', durationMs: 330 },
    });
    await b.clock.advanceAsync(100);
    expect(b.station.watched).toEqual([]);
    expect(b.clock.pendingTimers).toBe(0);
  });

  test('takes the seconds of RFC 5227 when asked to', async () => {
    await using b = await bench({ probe: 'rfc5227' });
    const result = b.link.probe(vip4);
    await b.clock.advanceAsync(5499);
    await b.clock.advanceAsync(1);
    expect(await result).toEqual({ free: true });
    expect(b.times()).toEqual([500, 2000, 3500]);
  });

  test.each([vip4, vip6])('names the owner that answers, and stops asking (%s)', async (ip) => {
    await using b = await bench();
    b.other.owned.add(ip);
    const result = b.link.probe(ip);
    await b.clock.advanceAsync(20);
    expect(await result).toEqual({ free: false, mac: b.other.mac, by: 'owner' });
    await b.clock.advanceAsync(1000);
    expect(b.times()).toEqual([10]);
  });

  test.each([vip4, vip6])('yields to another that asks (%s)', async (ip) => {
    await using b = await bench();
    const result = b.link.probe(ip);
    b.segment.carry(b.other, probePacket(ip, b.other.mac));
    expect(await result).toEqual({ free: false, mac: b.other.mac, by: 'prober' });
  });

  test('counts what was heard before its first packet, and after its last', async () => {
    await using b = await bench();
    const early = b.link.probe(vip4);
    b.claim(vip4);
    expect(await early).toMatchObject({ free: false });
    const late = b.link.probe(vip4);
    await b.clock.advanceAsync(329);
    b.claim(vip4);
    expect(await late).toMatchObject({ free: false });
  });

  test('is not moved by other addresses, by requests of clients, by malformed packets or by its own echo', async () => {
    await using b = await bench();
    const result = b.link.probe(vip4);
    b.claim('192.0.2.11');
    b.claim(vip6);
    b.station.hear('arp', Buffer.alloc(28), b.other.mac);
    b.station.hear('nd', Buffer.alloc(3), b.other.mac);
    for (const packet of announcementPackets(vip4, b.station.mac, false))
      b.station.hear(packet.protocol, packet.bytes, b.station.mac);
    await b.clock.advanceAsync(400);
    expect(await result).toEqual({ free: true });
    expect(b.events).toContainEqual({
      ...{ type: 'vip.l2-packet-refused', interface: 'eth0', protocol: 'arp', reason: 'hardware-type' },
    });
    expect(b.events).toContainEqual({
      ...{ type: 'vip.l2-packet-refused', interface: 'eth0', protocol: 'nd', reason: 'truncated' },
    });
  });

  test('does not call free what it could not ask for', async () => {
    await using b = await bench();
    const down = expect.objectContaining({ code: 'VIP_L2_LINK_DOWN' }) as Error;
    b.station.change({ up: false });
    await expect(b.link.probe(vip4)).rejects.toEqual(down);
    b.station.change({ up: true });
    const fallsDown = b.link.probe(vip4);
    await b.clock.advanceAsync(150);
    b.station.change({ up: false });
    await expect(fallsDown).rejects.toEqual(down);
    b.station.change({ up: true });
    const cannotSend = b.link.probe(vip4);
    b.station.failure = () => false;
    const refused = expect(cannotSend).rejects.toEqual(down);
    await b.clock.advanceAsync(400);
    await refused;
    expect(b.clock.pendingTimers).toBe(0);
  });

  test('ends when told to, and with the link', async () => {
    await using b = await bench();
    const controller = new AbortController();
    const aborted = b.link.probe(vip4, { signal: controller.signal });
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    await expect(b.link.probe(vip4, { signal: controller.signal })).rejects.toBe(reason);
    const open = b.link.probe(vip4);
    await b.link.close();
    await expect(open).rejects.toMatchObject({ code: 'CORE_CLOSED' });
    await expect(b.link.probe(vip4)).rejects.toMatchObject({ code: 'CORE_CLOSED' });
    expect(b.clock.pendingTimers).toBe(0);
  });

  test('tells at most one of several that ask at about the same time that the address is free', async () => {
    const offsets = fc.array(fc.nat(500), { minLength: 2, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(vip4, vip6),
        offsets,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        async (ip, starts, fractions) => {
          const clock = new FakeClock();
          const segment = new SimulatedSegment(clock);
          const random: Random = { bytes: middle.bytes, fraction: () => fractions.next().value as number };
          const results: (ProbeResult | undefined)[] = [];
          const links = await Promise.all(
            starts.map(async (startMs, index) => {
              const station = segment.station(index + 1);
              const link = await L2Link.open({ interface: 'eth0', clock, random, openTransport: station.open });
              clock.timer(startMs, () => {
                void link.probe(ip).then((result) => {
                  results.push(result);
                  // Whoever is told so puts the address on its interface, which takes a moment.
                  if (result.free) clock.timer(5, () => void station.owned.add(ip));
                });
              });
              return link;
            }),
          );
          await clock.advanceAsync(1500);
          expect(results.length).toBe(starts.length);
          expect(results.filter((result) => result?.free).length).toBeLessThanOrEqual(1);
          for (const link of links) link.destroy();
          expect(clock.pendingTimers).toBe(0);
        },
      ),
    );
  });

  test.each(['0.0.0.0', '255.255.255.255', '224.0.0.1', '127.0.0.1', '::', '::1', 'ff02::1', 'eth0', 'fe80::1%eth0'])(
    'of %s is refused',
    async (ip) => {
      await using b = await bench();
      await expect(b.link.probe(ip)).rejects.toMatchObject({ code: 'VIP_CONFIGURATION_INVALID' });
      expect(() => b.link.announce(ip, { onConflict: () => undefined })).toThrow(
        expect.objectContaining({ code: 'VIP_CONFIGURATION_INVALID' }) as Error,
      );
    },
  );
});

describe('an announcement', () => {
  const quiet = { onConflict: () => undefined };

  test.each([vip4, vip6])('goes out at once, five times more a second apart, then slowly (%s)', async (ip) => {
    await using b = await bench();
    const announcement = b.link.announce(ip, quiet);
    b.clock.advance(100_000);
    expect(b.times()).toEqual([0, 1000, 2000, 3000, 4000, 5000, 50_000, 95_000]);
    announcement.stop();
    announcement.stop();
    b.clock.advance(100_000);
    expect(b.times()).toEqual([]);
    expect(b.clock.pendingTimers).toBe(0);
  });

  test('of IPv4 is a request and a reply', async () => {
    await using b = await bench();
    b.link.announce(vip4, quiet);
    expect(b.segment.sent.map(({ bytes }) => bytes[7])).toEqual([1, 2]);
  });

  test('starts over when the link comes up, has a new MAC address or is another, and when asked', async () => {
    await using b = await bench();
    const announcement = b.link.announce(vip4, quiet);
    b.clock.advance(10_000);
    b.times();
    b.station.change({ up: false });
    b.clock.advance(90_000);
    expect(b.times()).toEqual([]);
    expect(b.events.at(-1)).toMatchObject({ type: 'vip.l2-announcement-withheld', reason: 'repeat', why: 'link-down' });
    b.station.change({ up: true });
    expect(b.times()).toEqual([100_000]);
    b.clock.advance(3000);
    expect(b.times()).toEqual([101_000, 102_000, 103_000]);
    b.station.change({ mac: '02:00:00:00:00:77' });
    expect(b.times()).toEqual([103_000]);
    b.station.change({ present: false });
    expect(b.link.state.current).toEqual({ present: false, up: false, mac: undefined });
    b.station.change({ present: true, index: 7 });
    expect(b.times()).toEqual([103_000]);
    b.clock.advance(20_000);
    b.times();
    announcement.reannounce();
    b.clock.advance(1000);
    expect(b.times()).toEqual([123_000, 124_000]);
  });

  test('is sent at most a few times at once, however often the link flaps', async () => {
    await using b = await bench();
    b.link.announce(vip4, quiet);
    b.segment.sent.length = 0;
    for (let flap = 0; flap < 1000; flap += 1) {
      b.station.change({ up: false });
      b.station.change({ up: true });
      b.clock.advance(10);
    }
    // 7 left of the first 8, one a second for 10 s, and what the burst itself sends; two packets each.
    expect(b.segment.sent.length / 2).toBeLessThanOrEqual(7 + 10 + 10);
    expect(b.events.some((event) => event.type === 'vip.l2-announcement-withheld' && event.why === 'rate')).toBe(true);
    b.segment.sent.length = 0;
    b.clock.advance(1000);
    expect(b.segment.sent.length).toBeGreaterThan(0);
  });

  test('is repeated in defence once per ten seconds, and the holder hears of a conflict that goes on', async () => {
    await using b = await bench();
    const conflicts: { mac: string }[] = [];
    b.link.announce(vip4, { onConflict: (conflict) => void conflicts.push(conflict) });
    b.clock.advance(10_000);
    b.times();
    b.claim(vip4); // A request and a reply: the second is the conflict that persists.
    expect(b.times()).toEqual([10_000]);
    expect(conflicts).toEqual([{ mac: b.other.mac }]);
    for (let second = 0; second < 9; second += 1) {
      b.clock.advance(1000);
      b.claim(vip4);
    }
    expect(b.times()).toEqual([]);
    expect(conflicts.length).toBe(10);
    b.clock.advance(1000);
    b.claim(vip4);
    expect(b.times()).toEqual([20_000]);
    const defended = b.events.filter((event) => event.type === 'vip.l2-conflict' && event.defended);
    expect(defended.length).toBe(2);
  });

  test('one false claim is answered, and not reported', async () => {
    await using b = await bench();
    const conflicts: unknown[] = [];
    b.link.announce(vip6, { onConflict: (conflict) => void conflicts.push(conflict) });
    b.clock.advance(7000);
    b.times();
    b.claim(vip6);
    expect(b.times()).toEqual([7000]);
    expect(conflicts).toEqual([]);
    b.clock.advance(10_000);
    b.claim(vip6);
    expect(conflicts).toEqual([]);
  });

  test('is withheld for as long as this machine is not the owner, in defence too', async () => {
    await using b = await bench();
    const conflicts: unknown[] = [];
    let owner = true;
    b.link.announce(vip4, { onConflict: (conflict) => void conflicts.push(conflict), mayAnnounce: () => owner });
    b.times();
    owner = false;
    b.claim(vip4);
    expect(conflicts.length).toBe(1);
    b.clock.advance(200_000);
    expect(b.times()).toEqual([]);
    owner = true;
    b.clock.advance(60_000);
    expect(b.times().length).toBeGreaterThan(0);
  });

  test('is withheld when the answer is an error, and the listener may fail', async () => {
    await using b = await bench();
    b.link.announce(vip4, {
      onConflict: () => {
        throw new Error('the listener');
      },
      mayAnnounce: () => {
        throw new Error('the answer');
      },
    });
    b.claim(vip4);
    b.clock.advance(60_000);
    expect(b.times()).toEqual([]);
  });

  test('is not disturbed by another that asks whether the address is free', async () => {
    await using b = await bench();
    const conflicts: unknown[] = [];
    b.link.announce(vip4, { onConflict: (conflict) => void conflicts.push(conflict) });
    const asking = await L2Link.open({ interface: 'eth0', clock: b.clock, openTransport: b.other.open });
    b.station.owned.add(vip4);
    const result = asking.probe(vip4);
    await b.clock.advanceAsync(500);
    expect(await result).toMatchObject({ free: false, mac: b.station.mac });
    expect(conflicts).toEqual([]);
    expect(b.events.filter(({ type }) => type === 'vip.l2-conflict')).toEqual([]);
    await asking.close();
  });

  test('a packet that cannot be sent is counted, and tried again soon, a few times', async () => {
    await using b = await bench();
    const tries: number[] = [];
    b.station.failure = () => {
      tries.push(b.clock.monotonicMs());
      throw Object.assign(new Error('no buffer'), { code: 'ENOBUFS', errno: -105, syscall: 'sendto' });
    };
    b.link.announce(vip6, quiet);
    expect(b.events.at(-1)).toEqual({ type: 'vip.l2-send-failed', interface: 'eth0', error: 'ENOBUFS' });
    b.clock.advance(1240);
    expect(tries).toEqual([0, 50, 100, 150, 200, 250]);
    b.station.failure = () => {
      b.station.failure = undefined;
      return false;
    };
    b.clock.advance(10_000);
    // One more failure, its repetition, and the four that are left of the burst.
    expect(b.times()).toEqual([1300, 2300, 3300, 4300, 5300]);
  });

  test('500 at once keep to the rate of the link, and none is forgotten', async () => {
    await using b = await bench();
    const ips = Array.from({ length: 500 }, (_, index) => `10.9.${String(index >> 8)}.${String(index & 0xff)}`);
    for (const ip of ips) b.link.announce(ip, quiet);
    const announced = (): number => new Set(b.segment.sent.map(({ bytes }) => bytes.subarray(14, 18).join('.'))).size;
    expect(announced()).toBe(100);
    await b.clock.advanceAsync(450);
    expect(announced()).toBe(500);
    expect(b.station.watched.length).toBe(500);
  });

  test('of the same address twice is refused, until the first has ended', async () => {
    await using b = await bench();
    const first = b.link.announce(vip4, quiet);
    expect(() => b.link.announce(vip4, quiet)).toThrow(
      expect.objectContaining({ code: 'VIP_CONFIGURATION_INVALID' }) as Error,
    );
    first.stop();
    const second: L2Announcement = b.link.announce(vip4, quiet);
    expect(second.address).toBe(vip4);
    await b.link.close();
    expect(() => b.link.announce(vip4, quiet)).toThrow(expect.objectContaining({ code: 'CORE_CLOSED' }) as Error);
    expect(b.clock.pendingTimers).toBe(0);
  });
});

test.each([
  { interface: '' },
  { interface: 'a/b' },
  { interface: 'a-name-that-is-too-long' },
  { interface: 'eth0', probe: { count: 0 } },
  { interface: 'eth0', probe: { minIntervalMs: 50, maxIntervalMs: 10 } },
  { interface: 'eth0', probe: 'slow' as 'fast' },
  { interface: 'eth0', announce: { burst: -1 } },
  { interface: 'eth0', announce: { minRepeatMs: 60_000, maxRepeatMs: 30_000 } },
  { interface: 'eth0', announce: { perSecond: Number.NaN } },
  { interface: 'eth0', maxPacketsPerSecond: 0 },
])('options are checked: %j', async (options) => {
  await expect(L2Link.open(options)).rejects.toMatchObject({ code: 'VIP_CONFIGURATION_INVALID' });
});
