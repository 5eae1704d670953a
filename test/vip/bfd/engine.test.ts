import * as fc from 'fast-check';
import { FakeClock } from 'meshwright/testing';
import { describe, expect, it, test } from 'vitest';
import { BfdEngine } from '../../../src/vip/bfd/engine.js';
import type { BfdRefusals } from '../../../src/vip/bfd/engine.js';
import type { BfdDatagram } from '../../../src/vip/bfd/network.js';
import { decodeBfdPacket, encodeBfdPacket } from '../../../src/vip/bfd/packet.js';
import type { BfdPacket } from '../../../src/vip/bfd/packet.js';
import { resolveBfdSettings } from '../../../src/vip/bfd/settings.js';
import type { BfdSessionOptions } from '../../../src/vip/bfd/settings.js';
import type { BfdStatus } from '../../../src/vip/bfd/status.js';
import { seededFraction } from '../mutate.js';
import { samplePacket } from './corpus.js';
import { SimulatedLink, seededRandom } from './simulated-network.js';

const a = '10.0.0.1';
const b = '10.0.0.2';
const fast = { txIntervalMs: 100, rxIntervalMs: 100, multiplier: 3 };

class Machine {
  readonly changes: { readonly atMs: number; readonly status: BfdStatus }[] = [];
  readonly removed: number[] = [];
  refusals: BfdRefusals = {};
  readonly engine: BfdEngine;

  constructor(link: SimulatedLink, clock: FakeClock, seed: number) {
    this.engine = new BfdEngine({
      network: link.side(),
      clock,
      random: seededRandom(seededFraction(seed)),
      onStatus: (_, status) => this.changes.push({ atMs: clock.monotonicMs(), status }),
      onRemoved: (id) => this.removed.push(id),
      onRefusals: (refusals) => (this.refusals = refusals),
    });
  }

  get status(): BfdStatus {
    const last = this.changes.at(-1);
    if (last === undefined) throw new Error('nothing was reported yet');
    return last.status;
  }

  /** Moments at which it left Up. */
  get flaps(): readonly number[] {
    return this.changes
      .filter(({ status }, index) => status.state !== 'up' && this.changes[index - 1]?.status.state === 'up')
      .map(({ atMs }) => atMs);
  }
}

function pair(
  options: {
    readonly forA?: Partial<BfdSessionOptions>;
    readonly forB?: Partial<BfdSessionOptions>;
    readonly seed?: number;
  } = {},
) {
  const clock = new FakeClock();
  const link = new SimulatedLink(clock);
  const seed = options.seed ?? 1;
  const [left, right] = [new Machine(link, clock, seed), new Machine(link, clock, seed + 1000)];
  left.engine.add(1, resolveBfdSettings({ peer: b, local: a, ...fast, ...options.forA }));
  right.engine.add(1, resolveBfdSettings({ peer: a, local: b, ...fast, ...options.forB }));
  return { clock, link, left, right };
}

const packetIn = (bytes: Uint8Array): BfdPacket => {
  const decoded = decodeBfdPacket(bytes);
  if (!decoded.ok) throw new Error(`sent something that is ${decoded.reason}`);
  return decoded.value;
};

describe('two machines', () => {
  it('come up, agree on their intervals, and keep them', () => {
    const { clock, link, left, right } = pair();
    clock.advance(3000);
    for (const { status } of [left, right]) {
      expect(status).toMatchObject({ state: 'up', remoteState: 'up', transmitIntervalMs: 100, detectionTimeMs: 300 });
    }
    link.sent.length = 0;
    clock.advance(10_000);
    for (const from of [a, b]) {
      const times = link.sent.filter((each) => each.from === from).map(({ atMs }) => atMs);
      const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(75);
      // A timer of whole milliseconds.
      expect(Math.max(...gaps)).toBeLessThanOrEqual(101);
    }
    expect([...left.flaps, ...right.flaps]).toEqual([]);
  });

  it('notice silence within the detection time, and come back', () => {
    const { clock, link, left, right } = pair();
    clock.advance(3000);
    link.weather = () => [];
    clock.advance(302);
    expect([left.status, right.status]).toMatchObject([
      { state: 'down', diagnostic: 'detection-time-expired', remoteDiscriminator: 0 },
      { state: 'down', diagnostic: 'detection-time-expired' },
    ]);
    link.weather = () => [1];
    clock.advance(3000);
    expect([left.status.state, right.status.state]).toEqual(['up', 'up']);
  });

  it('tell a good-bye from a failure, and go when the peer knows', () => {
    const { clock, left, right } = pair();
    clock.advance(3000);
    left.engine.remove(1);
    clock.advance(3);
    expect(right.status).toMatchObject({
      state: 'down',
      diagnostic: 'neighbour-signalled-down',
      remoteState: 'admin-down',
      remoteDiagnostic: 'administratively-down',
    });
    expect(left.removed).toEqual([1]);
  });

  it('leave anyway when the peer does not answer', () => {
    const { clock, link, left } = pair();
    clock.advance(3000);
    link.weather = () => [];
    left.engine.remove(1);
    // By then it has noticed by itself.
    clock.advance(299);
    expect(left.removed).toEqual([]);
    clock.advance(1);
    expect(left.removed).toEqual([1]);
  });

  it('leave at once where nobody ever answered, and take another in their place', () => {
    const clock = new FakeClock();
    const machine = new Machine(new SimulatedLink(clock), clock, 1);
    machine.engine.add(1, resolveBfdSettings({ peer: b, local: a }));
    machine.engine.add(2, resolveBfdSettings({ peer: b, local: a }));
    expect(machine.removed).toEqual([1]);
    machine.engine.remove(2);
    clock.advance(0);
    expect(machine.removed).toEqual([1, 2]);
    machine.engine.destroy();
    clock.advance(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('change their intervals without a flap', () => {
    const { clock, left, right } = pair();
    clock.advance(3000);
    left.engine.changeTimers(1, { desiredMinTxUs: 1_000_000, requiredMinRxUs: 50_000, detectMultiplier: 5 });
    clock.advance(5000);
    right.engine.changeTimers(1, { desiredMinTxUs: 20_000, requiredMinRxUs: 20_000, detectMultiplier: 3 });
    clock.advance(5000);
    expect([...left.flaps, ...right.flaps]).toEqual([]);
    expect(left.status).toMatchObject({ transmitIntervalMs: 1000, detectionTimeMs: 150 });
    expect(right.status).toMatchObject({ transmitIntervalMs: 50, detectionTimeMs: 5000 });
  });

  it('never share a discriminator, and never use 0', () => {
    const clock = new FakeClock();
    const values = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 8];
    const seen: number[] = [];
    const engine = new BfdEngine({
      network: new SimulatedLink(clock).side(),
      clock,
      random: { fraction: () => 0, bytes: (length) => Uint8Array.from(values.splice(0, length)) },
      onStatus: (_, { localDiscriminator }) => seen.push(localDiscriminator),
      onRemoved: () => undefined,
      onRefusals: () => undefined,
    });
    engine.add(1, resolveBfdSettings({ peer: b, local: a }));
    engine.add(2, resolveBfdSettings({ peer: '10.0.0.3', local: a }));
    expect(seen).toEqual([9, 8]);
  });

  it('in any weather: up when it clears, down when it ends, and no flap while two of three packets arrive', () => {
    const arbitrary = fc.record({
      seed: fc.integer({ min: 1, max: 1e9 }),
      lossPercent: fc.integer({ min: 0, max: 60 }),
      delayMs: fc.integer({ min: 0, max: 40 }),
      jitterMs: fc.integer({ min: 0, max: 300 }),
      duplicate: fc.boolean(),
      multiplier: fc.constantFrom(1, 2, 3, 5),
      txA: fc.constantFrom(10, 50, 100, 300),
      txB: fc.constantFrom(10, 50, 100, 300),
    });
    fc.assert(
      fc.property(arbitrary, ({ seed, lossPercent, delayMs, jitterMs, duplicate, multiplier, txA, txB }) => {
        const { clock, link, left, right } = pair({
          seed,
          forA: { txIntervalMs: txA, rxIntervalMs: txA, multiplier },
          forB: { txIntervalMs: txB, rxIntervalMs: txB, multiplier },
        });
        const chance = seededFraction(seed);
        // Storm: loss, delay, disorder, duplicates. Whatever happens, both stay well-formed.
        link.weather = () => {
          if (chance() * 100 < lossPercent) return [];
          const arrival = (): number => delayMs + chance() * jitterMs;
          return duplicate ? [arrival(), arrival()] : [arrival()];
        };
        clock.advance(5000);
        for (const each of link.sent) packetIn(each.bytes);

        link.weather = () => [1];
        clock.advance(8000);
        expect([left.status.state, right.status.state]).toEqual(['up', 'up']);

        // Every third packet of each side is lost: for a multiplier above 1 nobody may notice.
        let flapsBefore = left.flaps.length + right.flaps.length;
        if (multiplier > 1) {
          const counts = new Map<string, number>();
          link.weather = ({ from }) => {
            const count = (counts.get(from) ?? 0) + 1;
            counts.set(from, count);
            return count % 3 === 0 ? [] : [1];
          };
          clock.advance(3000);
          expect(left.flaps.length + right.flaps.length).toBe(flapsBefore);
        }

        flapsBefore = left.flaps.length;
        const bound = Math.max(left.status.detectionTimeMs, right.status.detectionTimeMs);
        link.weather = () => [];
        clock.advance(bound + 2);
        expect([left.status.state, right.status.state]).toEqual(['down', 'down']);
        left.engine.destroy();
        right.engine.destroy();
      }),
      { numRuns: 40 },
    );
  });
});

describe('which session a datagram is of', () => {
  function alone(options: Partial<BfdSessionOptions> = {}) {
    const clock = new FakeClock();
    const link = new SimulatedLink(clock);
    const machine = new Machine(link, clock, 1);
    machine.engine.add(1, resolveBfdSettings({ peer: b, local: a, mode: 'single-hop', ...options }));
    const own = machine.status.localDiscriminator;
    const hello = encodeBfdPacket({ ...samplePacket, state: 'init', yourDiscriminator: own });
    const stateAfter = (datagram: Partial<BfdDatagram>): string => {
      link.deliver(a, { bytes: hello, source: b, ...datagram });
      return machine.status.state;
    };
    const refusals = (): BfdRefusals => {
      clock.advance(1000);
      return machine.refusals;
    };
    return { clock, link, machine, stateAfter, refusals };
  }

  test('is taken when everything fits', () => {
    const { stateAfter, refusals } = alone({ interface: 'eth0' });
    expect(stateAfter({})).toBe('up');
    expect(refusals()).toEqual({});
  });

  test.each<[keyof BfdRefusals, Partial<BfdSessionOptions>, Partial<BfdDatagram>]>([
    ['address-mismatch', {}, { source: '10.0.0.9' }],
    ['ttl-too-low', {}, { ttl: 254 }],
    ['ttl-too-low', {}, { ttl: undefined }],
    ['ttl-too-low', { mode: 'multihop', minTtl: 250 }, { transport: 'multihop', ttl: 249 }],
    ['ttl-too-low', { mode: 'auto' }, { transport: 'multihop', ttl: 254 }],
    ['transport-mismatch', {}, { transport: 'multihop' }],
    ['transport-mismatch', { mode: 'multihop' }, { transport: 'single-hop' }],
    ['interface-mismatch', { interface: 'eth0' }, { interfaceIndex: 3 }],
    ['interface-mismatch', { interface: 'eth0' }, { interfaceIndex: undefined }],
    ['discriminator-unknown', {}, { bytes: encodeBfdPacket(samplePacket) }],
    [
      'session-unknown',
      {},
      { source: '10.0.0.9', bytes: encodeBfdPacket({ ...samplePacket, state: 'down', yourDiscriminator: 0 }) },
    ],
    ['ttl-too-low', {}, { ttl: 1, bytes: encodeBfdPacket({ ...samplePacket, state: 'down', yourDiscriminator: 0 }) }],
    ['multipoint', {}, { bytes: encodeBfdPacket(samplePacket).map((byte, index) => (index === 1 ? byte | 1 : byte)) }],
  ])('is refused: %s', (reason, options, datagram) => {
    const { stateAfter, refusals } = alone(options);
    expect(stateAfter(datagram)).toBe('down');
    expect(refusals()).toEqual({ [reason]: 1 });
  });

  test('multihop takes what has come as far as it may', () => {
    const { stateAfter, refusals } = alone({ mode: 'multihop', minTtl: 250 });
    expect(stateAfter({ transport: 'multihop', ttl: 250 })).toBe('up');
    expect(refusals()).toEqual({});
  });

  test('a flood is counted, not reported one by one', () => {
    const { clock, link, machine } = alone();
    let reports = 0;
    for (let count = 0; count < 1000; count += 1) link.deliver(a, { bytes: new Uint8Array(3), source: b });
    const before = machine.refusals;
    clock.advance(1000);
    if (machine.refusals !== before) reports += 1;
    expect([reports, machine.refusals]).toEqual([1, { truncated: 1000 }]);
  });
});

describe('auto', () => {
  it('asks on both ports until it hears on one, answers there, and forgets with the peer', () => {
    const clock = new FakeClock();
    const link = new SimulatedLink(clock);
    const machine = new Machine(link, clock, 1);
    machine.engine.add(1, resolveBfdSettings({ peer: b, local: a, ...fast }));
    clock.advance(4000);
    expect(new Set(link.sent.slice(0, 2).map(({ transport }) => transport))).toEqual(
      new Set(['single-hop', 'multihop']),
    );
    const bytes = encodeBfdPacket({
      ...samplePacket,
      state: 'init',
      yourDiscriminator: machine.status.localDiscriminator,
    });
    link.sent.length = 0;
    link.deliver(a, { bytes, source: b, transport: 'multihop' });
    clock.advance(250);
    expect(machine.status).toMatchObject({ state: 'up', transport: 'multihop' });
    expect(link.sent.length).toBeGreaterThan(2);
    expect(link.sent.every(({ transport }) => transport === 'multihop')).toBe(true);
    clock.advance(5000);
    expect(machine.status).toMatchObject({ state: 'down', transport: undefined });
  });

  it.each(['single-hop', 'multihop'] as const)('finds a peer that is fixed to %s, and another auto', (mode) => {
    for (const forB of [{ mode }, { mode: 'auto' as const }]) {
      const { clock, left, right } = pair({ forB });
      clock.advance(5000);
      expect([left.status.state, right.status.state]).toEqual(['up', 'up']);
      if (forB.mode !== 'auto') expect(left.status.transport).toBe(mode);
      clock.advance(5000);
      expect([...left.flaps, ...right.flaps]).toEqual([]);
    }
  });
});

describe('sockets that cannot be had', () => {
  const refusal = (code: string): Error =>
    Object.assign(new Error(`bind: ${code}`), { code, errno: 1, syscall: 'bind' });

  it.each([
    ['EADDRINUSE', /taken, probably by another BFD program/],
    ['EADDRNOTAVAIL', /no such address \(yet\)/],
    ['ENODEV', /no such interface/],
    ['EMFILE', /EMFILE/],
  ])('%s is said in words, and tried again', (code, words) => {
    const clock = new FakeClock();
    const link = new SimulatedLink(clock);
    link.openErrors.set(a, refusal(code));
    const [left, right] = [new Machine(link, clock, 1), new Machine(link, clock, 2)];
    left.engine.add(1, resolveBfdSettings({ peer: b, local: a }));
    right.engine.add(1, resolveBfdSettings({ peer: a, local: b }));
    clock.advance(3000);
    expect(left.status).toMatchObject({ state: 'down', problem: expect.stringMatching(words) as string });
    // Said once, not every second.
    expect(left.changes).toHaveLength(1);
    link.openErrors.clear();
    clock.advance(4000);
    expect(left.status).toMatchObject({ state: 'up', problem: undefined });
  });

  it('and sends that are refused open them anew', () => {
    const { clock, link, left } = pair();
    clock.advance(3000);
    link.sendErrors.set(a, refusal('ENETUNREACH'));
    clock.advance(1000);
    expect(left.status).toMatchObject({ problem: expect.stringMatching(/cannot be sent.*ENETUNREACH/) as string });
    link.sendErrors.clear();
    clock.advance(5000);
    expect(left.status).toMatchObject({ state: 'up', problem: undefined });
  });
});
