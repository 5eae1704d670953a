import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { BfdPacket, BfdState } from '../../../src/vip/bfd/packet.js';
import {
  detectionDueMs,
  detectionTimeUs,
  newSession,
  transmitDueMs,
  transmitIntervalUs,
} from '../../../src/vip/bfd/session.js';
import type { BfdSessionVariables, BfdTimers } from '../../../src/vip/bfd/session.js';
import { changeTimers, disable, dueMs, enable, passTime, receivePacket } from '../../../src/vip/bfd/session-steps.js';
import type { BfdStep } from '../../../src/vip/bfd/session-steps.js';
import { arbitraryPacket } from './arbitrary.js';
import { samplePacket } from './corpus.js';
import { NaiveSession } from './naive-session.js';

const timers: BfdTimers = { desiredMinTxUs: 100_000, requiredMinRxUs: 100_000, detectMultiplier: 3 };
const at = (nowMs: number, fraction = 0): { nowMs: number; fraction: number } => ({ nowMs, fraction });
const from = (state: BfdState, more: Partial<BfdPacket> = {}): BfdPacket => ({ ...samplePacket, state, ...more });

/** A session that is Up since 0 and has agreed on its intervals. */
function up(wanted: BfdTimers = timers): BfdSessionVariables {
  let { session } = passTime(newSession(7, wanted, 0), at(-60));
  ({ session } = receivePacket(session, from('down'), at(-40)));
  ({ session } = receivePacket(session, from('up'), at(-20)));
  ({ session } = receivePacket(session, from('up', { final: true }), at(0)));
  return session;
}

describe('the states (RFC 5880 section 6.2)', () => {
  const table: readonly (readonly [BfdState, BfdState, BfdState, number])[] = [
    // own, received, then, diagnostic
    ['down', 'admin-down', 'down', 0],
    ['down', 'down', 'init', 0],
    ['down', 'init', 'up', 0],
    ['down', 'up', 'down', 0],
    ['init', 'admin-down', 'down', 3],
    ['init', 'down', 'init', 0],
    ['init', 'init', 'up', 0],
    ['init', 'up', 'up', 0],
    ['up', 'admin-down', 'down', 3],
    ['up', 'down', 'down', 3],
    ['up', 'init', 'up', 0],
    ['up', 'up', 'up', 0],
    ['admin-down', 'admin-down', 'admin-down', 7],
    ['admin-down', 'down', 'admin-down', 7],
    ['admin-down', 'init', 'admin-down', 7],
    ['admin-down', 'up', 'admin-down', 7],
  ];

  function inState(state: BfdState): BfdSessionVariables {
    const fresh = passTime(newSession(7, timers, 0), at(0)).session;
    if (state === 'down') return fresh;
    if (state === 'init') return receivePacket(fresh, from('down'), at(0)).session;
    return state === 'up' ? up() : disable(up(), at(0)).session;
  }

  test.each(table)('%s, on receipt of %s: %s', (own, received, then, diagnostic) => {
    const { session } = receivePacket(inState(own), from(received), at(20));
    expect(session).toMatchObject({ state: then, diagnostic });
  });

  test.each<BfdState>(['init', 'up'])('%s, after silence: down', (state) => {
    const before = inState(state);
    const { session } = passTime(before, at(detectionDueMs(before) ?? 0));
    expect(session).toMatchObject({ state: 'down', diagnostic: 1, remoteDiscriminator: 0, poll: 'idle' });
  });

  it('says every change at once', () => {
    const fresh = passTime(newSession(7, timers, 0), at(0));
    expect(fresh.packets).toMatchObject([{ state: 'down', yourDiscriminator: 0, desiredMinTxUs: 1_000_000 }]);
    const init = receivePacket(fresh.session, from('down', { myDiscriminator: 9 }), at(10));
    expect(init.packets).toMatchObject([{ state: 'init', yourDiscriminator: 9, desiredMinTxUs: 1_000_000 }]);
    const isUp = receivePacket(init.session, from('init', { myDiscriminator: 9 }), at(20));
    expect(isUp.packets).toMatchObject([{ state: 'up', poll: true, desiredMinTxUs: 100_000 }]);
  });

  it('but never less than ten milliseconds after another', () => {
    const down = passTime(newSession(7, timers, 0), at(100));
    const init = receivePacket(down.session, from('down'), at(101));
    expect(init.packets).toEqual([]);
    expect(dueMs(init.session)).toBe(110);
    expect(passTime(init.session, at(110)).packets).toMatchObject([{ state: 'init' }]);
    // An answer to a poll says it earlier, and then it is said.
    const answered = receivePacket(down.session, from('down', { poll: true }), at(101));
    expect(answered.packets).toMatchObject([{ state: 'init', final: true }]);
    expect(dueMs(answered.session)).toBe(101 + 300);
  });

  it('stays down while the operator wants it, and begins anew afterwards', () => {
    const { session, packets } = disable(up(), at(100));
    expect(packets).toMatchObject([{ state: 'admin-down', diagnostic: 7, desiredMinTxUs: 1_000_000 }]);
    expect(disable(session, at(120)).packets).toEqual([]);
    expect(enable(session, at(140))).toMatchObject({
      session: { state: 'down', diagnostic: 0 },
      packets: [{ state: 'down' }],
    });
  });
});

describe('intervals (sections 6.8.2 to 6.8.4)', () => {
  it('are the slower wish of both sides, and detection counts with the peer’s multiplier', () => {
    const { session } = receivePacket(
      up({ desiredMinTxUs: 50_000, requiredMinRxUs: 80_000, detectMultiplier: 3 }),
      from('up', { desiredMinTxUs: 60_000, requiredMinRxUs: 200_000, detectMultiplier: 5 }),
      at(20),
    );
    expect(transmitIntervalUs(session)).toBe(200_000);
    expect(detectionTimeUs(session)).toBe(5 * 80_000);
  });

  it.each([
    [3, 75, 100],
    [1, 75, 90],
  ])('with a multiplier of %i are shortened to between %i and %i percent', (detectMultiplier, least, most) => {
    for (const [fraction, expected] of [
      [0, most],
      [1, least],
    ] as const) {
      const session = { ...up({ ...timers, detectMultiplier }), lastSentMs: 1000, jitterFraction: fraction };
      expect(transmitDueMs(session)).toBeCloseTo(1000 + expected, 6);
    }
  });

  it('are a second until Up, and short from that moment on', () => {
    const down = passTime(newSession(7, timers, 0), at(0)).session;
    expect(transmitDueMs(down)).toBe(1000);
    const isUp = receivePacket(down, from('init'), at(900)).session;
    expect(transmitDueMs(isUp)).toBe(1000);
    expect(transmitIntervalUs(isUp)).toBe(100_000);
  });

  it('end, for the peer that wants no periodic packets', () => {
    const { session } = receivePacket(up(), from('up', { requiredMinRxUs: 0 }), at(20));
    expect(transmitDueMs(session)).toBeUndefined();
    expect(dueMs(session)).toBe(detectionDueMs(session));
    // It is still told when something changes.
    expect(disable(session, at(40)).packets).toHaveLength(1);
    // And when it is forgotten, so is its wish.
    const { session: lost, packets } = passTime(session, at(detectionDueMs(session) ?? 0));
    expect(packets).toMatchObject([{ state: 'down', diagnostic: 1 }]);
    expect(transmitDueMs(lost)).toBeDefined();
  });

  it('end, for a peer in demand mode, except to poll it', () => {
    const { session } = receivePacket(up(), from('up', { demand: true }), at(20));
    expect(transmitDueMs(session)).toBeUndefined();
    const polling = changeTimers(session, { ...timers, requiredMinRxUs: 50_000 }, at(40));
    expect(polling.packets).toMatchObject([{ poll: true }]);
    expect(transmitDueMs(polling.session)).toBeDefined();
  });
});

describe('a poll sequence (section 6.5)', () => {
  it('is answered at once, in every state but AdminDown, without touching the timer', () => {
    const before = up();
    const { session, packets } = receivePacket(before, from('up', { poll: true }), at(20));
    expect(packets).toMatchObject([{ final: true, poll: false }]);
    expect(session.lastSentMs).toBe(before.lastSentMs);
    const off = disable(before, at(20)).session;
    expect(receivePacket(off, from('up', { poll: true }), at(40)).packets).toEqual([]);
  });

  it('must confirm slower sending and shorter patience before they count', () => {
    const started = changeTimers(
      up(),
      { desiredMinTxUs: 400_000, requiredMinRxUs: 30_000, detectMultiplier: 3 },
      at(20),
    );
    expect(started.packets).toMatchObject([{ poll: true, desiredMinTxUs: 400_000, requiredMinRxUs: 30_000 }]);
    expect(transmitIntervalUs(started.session)).toBe(100_000);
    expect(detectionTimeUs(started.session)).toBe(300_000);
    const agreed = receivePacket(started.session, from('up', { final: true, desiredMinTxUs: 30_000 }), at(40)).session;
    expect(transmitIntervalUs(agreed)).toBe(400_000);
    expect(detectionTimeUs(agreed)).toBe(90_000);
    expect(passTime(agreed, at(450)).packets).toMatchObject([{ poll: false }]);
  });

  it('lets faster sending and longer patience count at once', () => {
    const { session } = changeTimers(
      up(),
      { desiredMinTxUs: 100_000, requiredMinRxUs: 900_000, detectMultiplier: 3 },
      at(20),
    );
    expect(detectionTimeUs(session)).toBe(2_700_000);
    expect(transmitIntervalUs(changeTimers(session, timers, at(40)).session)).toBe(100_000);
  });

  it('begins again when values change while it runs', () => {
    let { session } = changeTimers(up(), { ...timers, desiredMinTxUs: 300_000 }, at(20));
    ({ session } = changeTimers(session, { ...timers, desiredMinTxUs: 400_000 }, at(40)));
    ({ session } = receivePacket(session, from('up', { final: true }), at(60)));
    // That final bit may have spoken of 300 ms.
    expect(session.poll).toBe('active');
    expect(transmitIntervalUs(session)).toBe(100_000);
    ({ session } = receivePacket(session, from('up', { final: true }), at(80)));
    expect(session.poll).toBe('idle');
    expect(transmitIntervalUs(session)).toBe(400_000);
  });
});

describe('against a plain reading of the RFC', () => {
  const interval = fc.constantFrom(10_000, 50_000, 100_000, 300_000, 1_000_000, 2_500_000);
  const arbitraryTimers = fc.record({ tx: interval, rx: interval, multiplier: fc.constantFrom(1, 2, 3, 10) });
  // Mostly as peers are, now and then as nobody would be.
  const sane = fc.record({
    desiredMinTxUs: interval,
    requiredMinRxUs: interval,
    detectMultiplier: fc.constantFrom(1, 3, 5),
  });
  const packet = fc
    .tuple(arbitraryPacket, sane, fc.boolean(), fc.constantFrom(1, 2))
    .map(([wild, tame, isWild, myDiscriminator]) =>
      isWild ? { ...wild, myDiscriminator } : { ...wild, ...tame, myDiscriminator, demand: false },
    );
  const input = fc.oneof(
    { weight: 6, arbitrary: packet.map((value) => ({ type: 'packet' as const, value })) },
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 2000 }).map((value) => ({ type: 'wait' as const, value })) },
    { weight: 1, arbitrary: arbitraryTimers.map((value) => ({ type: 'timers' as const, value })) },
    { weight: 1, arbitrary: fc.boolean().map((value) => ({ type: 'admin' as const, value })) },
  );

  it('does the same, and says the same, at the same times', () => {
    fc.assert(
      fc.property(
        arbitraryTimers,
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.array(input, { maxLength: 60 }),
        (first, fraction, inputs) => {
          const naive = new NaiveSession(first, fraction);
          const asTimers = ({ tx, rx, multiplier }: typeof first): BfdTimers => ({
            desiredMinTxUs: tx,
            requiredMinRxUs: rx,
            detectMultiplier: multiplier,
          });
          let session = newSession(7, asTimers(first), fraction);
          const sent: string[] = [];
          let nowMs = 0;
          const take = (step: BfdStep): void => {
            session = step.session;
            for (const each of step.packets) {
              const kind = each.final ? 'final' : each.poll ? 'poll' : 'plain';
              sent.push(
                `${kind} ${each.state} ${each.diagnostic} ${each.desiredMinTxUs} ${each.requiredMinRxUs} ${each.detectMultiplier} ${each.yourDiscriminator}`,
              );
            }
          };
          const moment = (): { nowMs: number; fraction: number } => ({ nowMs, fraction });
          take(passTime(session, moment()));
          naive.time(0);
          for (const each of inputs) {
            if (each.type === 'packet') {
              take(receivePacket(session, each.value, moment()));
              naive.receive(each.value, nowMs);
            } else if (each.type === 'timers') {
              take(changeTimers(session, asTimers(each.value), moment()));
              naive.configure(each.value, nowMs);
            } else if (each.type === 'admin') {
              take(each.value ? disable(session, moment()) : enable(session, moment()));
              naive.admin(each.value, nowMs);
            } else {
              const endMs = nowMs + each.value;
              for (
                let due = dueMs(session);
                due !== undefined && due <= endMs && sent.length < 5000;
                due = dueMs(session)
              ) {
                expect(naive.next()).toBeCloseTo(due, 6);
                nowMs = Math.max(nowMs, due);
                take(passTime(session, moment()));
                naive.time(nowMs);
              }
              nowMs = Math.max(nowMs, endMs);
            }
            expect({
              state: session.state,
              diagnostic: session.diagnostic,
              remote: session.remoteDiscriminator,
              poll: session.poll !== 'idle',
            }).toEqual({
              state: naive.sessionState,
              diagnostic: naive.localDiag,
              remote: naive.remoteDiscr,
              poll: naive.polling,
            });
            expect(sent).toEqual(naive.sent);
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});
