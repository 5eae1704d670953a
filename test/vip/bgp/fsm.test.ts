import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { FakeClock } from 'meshwright/testing';
import { BgpFsm } from '../../../src/vip/bgp/fsm/fsm.js';
import type { BgpFsmHost } from '../../../src/vip/bgp/fsm/fsm.js';
import { fsmEventNumbers, fsmTable } from '../../../src/vip/bgp/fsm/table.js';
import type { BgpFsmEventType, BgpFsmState } from '../../../src/vip/bgp/fsm/table.js';
import { cease, notification } from '../../../src/vip/bgp/codec/notification.js';
import { codeBlocks } from '../../support/markdown.js';

const states: readonly BgpFsmState[] = ['idle', 'connect', 'active', 'open-sent', 'open-confirm', 'established'];
const eventTypes = Object.keys(fsmEventNumbers) as BgpFsmEventType[];

/** RFC 4271 section 8.2.2 once more, by hand and in another form: event -> the next state from each state above. `.` stays. */
const rfc: Readonly<Record<BgpFsmEventType, string>> = {
  //                            I C A S F E   (Idle Connect Active OpenSent OpenConFirm Established)
  start: '                      C . . . . .',
  'start-passive': '            A . . . . .',
  restart: '                    C . . . . .',
  'restart-passive': '          A . . . . .',
  stop: '                       . I I I I I',
  'automatic-stop': '           . I I I I I',
  'connect-retry-expires': '    . C C . . .',
  'hold-expires': '             . . . I I I',
  'keepalive-expires': '        . . . . F E',
  'tcp-established': '          I S S . . .',
  'tcp-fails': '                . A . A I I',
  'open-received': '            . . . F I I',
  'header-error': '             . . . I I I',
  'open-error': '               . . . I I I',
  'collision-dump': '           . I I I I I',
  'notification-version-error': '. . . I I I',
  'notification-received': '    . . . I I I',
  'keepalive-received': '       . . . I E E',
  'update-received': '          . . . I I E',
  'update-error': '             . . . I I I',
  'refresh-received': '         . . . I I E',
};
const letters: Readonly<Record<string, BgpFsmState>> = {
  I: 'idle',
  C: 'connect',
  A: 'active',
  S: 'open-sent',
  F: 'open-confirm',
  E: 'established',
};

test('the table leads where the RFC says', () => {
  for (const type of eventTypes) {
    const expected = rfc[type].trim().split(/\s+/);
    expect(expected, type).toHaveLength(states.length);
    states.forEach((state, index) => {
      const next = fsmTable[state][type]?.next;
      const letter = expected[index] ?? '?';
      expect(next, `${type} in ${state}`).toBe(letter === '.' ? undefined : letters[letter]);
    });
  }
});

test('what each error says to the peer', () => {
  const said = (state: BgpFsmState, type: BgpFsmEventType): string | undefined => {
    const row = fsmTable[state][type];
    if (row === undefined || !row.actions.includes('notify')) return undefined;
    return row.notification?.join('/') ?? 'the event’s own';
  };
  expect(states.map((state) => said(state, 'hold-expires'))).toEqual([
    undefined,
    undefined,
    undefined,
    '4/0',
    '4/0',
    '4/0',
  ]);
  expect(states.map((state) => said(state, 'update-received'))).toEqual([
    undefined,
    undefined,
    undefined,
    '5/1',
    '5/2',
    undefined,
  ]);
  expect(states.map((state) => said(state, 'open-received'))).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
    '5/2',
    '5/3',
  ]);
  expect(states.map((state) => said(state, 'collision-dump'))).toEqual([
    undefined,
    undefined,
    undefined,
    '6/7',
    '6/7',
    '6/7',
  ]);
  for (const state of states) {
    expect(said(state, 'notification-received')).toBeUndefined();
    expect(said(state, 'tcp-fails')).toBeUndefined();
  }
});

test('the documentation shows this table', () => {
  const shown = codeBlocks('docs/vip-bgp-fsm.md')
    .find(({ info }) => info === 'text')
    ?.code.trim();
  expect(shown).toBe(tableAsText());
});

/** One line per transition, as docs/vip-bgp-fsm.md has them. */
function tableAsText(): string {
  const lines = states.flatMap((state) =>
    eventTypes.flatMap((type) => {
      const row = fsmTable[state][type];
      if (row === undefined) return [];
      const actions = row.actions.map((action) =>
        action === 'notify' && row.notification !== undefined ? `notify ${row.notification.join('/')}` : action,
      );
      return [`${state.padEnd(12)} ${type.padEnd(26)} -> ${row.next.padEnd(12)} ${actions.join(', ')}`.trimEnd()];
    }),
  );
  return lines.join('\n');
}

/** A world that writes down what it is told, and knows what must never happen. */
class Recorder implements BgpFsmHost {
  readonly log: string[] = [];
  connected = false;
  dialling = false;
  openSent = false;
  session = false;
  damped = 0;

  dial(): void {
    expect(this.connected).toBe(false);
    this.dialling = true;
    this.log.push('dial');
  }
  sendOpen(): void {
    expect(this.connected).toBe(true);
    this.openSent = true;
    this.log.push('send-open');
  }
  sendKeepalive(): void {
    expect(this.openSent).toBe(true);
    this.log.push('send-keepalive');
  }
  notify(): void {
    expect(this.openSent).toBe(true);
    this.log.push('notify');
  }
  dropConnection(): void {
    this.connected = this.dialling = this.openSent = false;
    this.log.push('drop-connection');
  }
  damp(): void {
    this.damped += 1;
    this.log.push('damp');
  }
  sessionUp(): void {
    expect(this.session).toBe(false);
    this.session = true;
    this.log.push('session-up');
  }
  sessionDown(): void {
    expect(this.session).toBe(true);
    this.session = false;
    this.log.push('session-down');
  }
  deliver(): void {
    expect(this.session).toBe(true);
    this.log.push('deliver');
  }
  resendRoutes(): void {
    expect(this.session).toBe(true);
    this.log.push('resend-routes');
  }
  transitioned(): void {
    this.log.push('transitioned');
  }
}

function machine(holdTimeMs: number) {
  const clock = new FakeClock();
  const host = new Recorder();
  const fsm = new BgpFsm({
    clock,
    host,
    connectRetryMs: 5000,
    random: { bytes: () => new Uint8Array(), fraction: () => 0.5 },
  });
  const handle = (type: BgpFsmEventType): void => {
    // The world: a connection is established before the machine hears of it, and gone before it hears that.
    if (type === 'tcp-established' && fsm.state !== 'idle') host.connected = true;
    fsm.handle({ type, notification: cease(2), holdTimeMs, keepaliveMs: holdTimeMs / 3 });
  };
  return { clock, host, fsm, handle };
}

/** Timers that may run, by state. */
const timersOf: Readonly<Record<BgpFsmState, readonly string[]>> = {
  idle: [],
  connect: ['connect-retry'],
  active: ['connect-retry'],
  'open-sent': ['hold'],
  'open-confirm': ['hold', 'keepalive'],
  established: ['hold', 'keepalive'],
};

test('any sequence of events and time follows the table, and never breaks what must hold', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...eventTypes) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 300_000 }) },
  );
  // Most sequences begin well, or none would come far.
  const start = fc.constantFrom<BgpFsmEventType[]>(
    [],
    ['start'],
    ['start-passive', 'tcp-established'],
    ['start', 'tcp-established', 'open-received'],
    ['start', 'tcp-established', 'open-received', 'keepalive-received'],
  );
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 9000), (begin, steps, holdTimeMs) => {
      const { clock, host, fsm, handle } = machine(holdTimeMs);
      for (const next of [...begin, ...steps]) {
        if (typeof next === 'number') {
          clock.advance(next);
        } else {
          const before = fsm.state;
          const isDialled =
            next === 'tcp-established' && (before === 'connect' || before === 'active' || before === 'idle');
          // A second connection belongs to another machine; one that fails was there.
          if (next === 'tcp-established' && !isDialled) continue;
          host.log.length = 0;
          handle(next);
          const row = fsmTable[before][next];
          expect(fsm.state).toBe(row?.next ?? before);
          const outward = (row?.actions ?? []).filter((action) => host.log.includes(action) || isOutward(action));
          expect(host.log).toEqual(row === undefined ? [] : [...outward, 'transitioned']);
        }
        const { state, runningTimers } = fsm;
        if (holdTimeMs === 0 && (state === 'open-confirm' || state === 'established'))
          expect(runningTimers).toEqual([]);
        else if (state === 'active') expect(timersOf.active).toEqual(expect.arrayContaining([...runningTimers]));
        else expect(runningTimers).toEqual(timersOf[state]);
        expect(host.session).toBe(state === 'established');
        if (state === 'idle') expect([host.connected, host.dialling, host.openSent]).toEqual([false, false, false]);
        if (state === 'open-sent' || state === 'open-confirm' || state === 'established')
          expect(host.openSent).toBe(true);
        expect(clock.pendingTimers).toBe(runningTimers.length);
      }
      fsm.dispose();
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 1500 },
  );
});

function isOutward(action: string): boolean {
  return ![
    'start-connect-retry',
    'start-large-hold',
    'start-session-timers',
    'restart-keepalive',
    'restart-hold',
    'stop-timers',
    'reset-retry-counter',
    'count-retry',
  ].includes(action);
}

test('keepalives leave at three quarters to all of their time, and the hold timer is fed by KEEPALIVE and UPDATE only', () => {
  const { clock, host, fsm, handle } = machine(9000);
  for (const type of ['start', 'tcp-established', 'open-received', 'keepalive-received'] as const) handle(type);
  host.log.length = 0;
  clock.advance(2624);
  expect(host.log).toEqual([]);
  clock.advance(1);
  expect(host.log).toEqual(['send-keepalive', 'transitioned']);
  clock.advance(6000);
  handle('update-received');
  clock.advance(8999);
  expect(fsm.state).toBe('established');
  handle('refresh-received');
  clock.advance(1);
  expect(fsm.state).toBe('idle');
  expect(host.damped).toBe(1);
});

test('OPEN has the large hold time to come, and events from within wait their turn', () => {
  const { clock, fsm, handle, host } = machine(9000);
  handle('start');
  handle('tcp-established');
  clock.advance(239_999);
  expect(fsm.state).toBe('open-sent');
  clock.advance(1);
  expect(fsm.state).toBe('idle');
  expect(fsm.retryCount).toBe(1);

  const reentrant = machine(9000);
  const order: string[] = [];
  reentrant.host.dial = () => {
    reentrant.fsm.handle({ type: 'tcp-fails' });
    order.push(reentrant.fsm.state);
  };
  reentrant.handle('start');
  order.push(reentrant.fsm.state);
  expect(order).toEqual(['connect', 'active']);
  expect(host.log).toContain('notify');
  expect(notification(4, 0).code).toBe(4);
});

test('a process that was held up does not blame the peer at once', () => {
  let nowMs = 0;
  const timers: { at: number; fn: () => void; gone: boolean }[] = [];
  const clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    timer: (delayMs: number, fn: () => void) => {
      const timer = { at: nowMs + delayMs, fn, gone: false };
      timers.push(timer);
      return { cancel: () => void (timer.gone = true) };
    },
  };
  const fireDue = (): void => {
    for (const timer of timers.filter(({ at, gone }) => !gone && at <= nowMs)) {
      timer.gone = true;
      timer.fn();
    }
  };
  const host = new Recorder();
  const fsm = new BgpFsm({
    clock,
    host,
    connectRetryMs: 5000,
    random: { bytes: () => new Uint8Array(), fraction: () => 0 },
  });
  host.connected = true;
  for (const type of ['restart-passive', 'tcp-established', 'open-received', 'keepalive-received'] as const) {
    fsm.handle({ type, holdTimeMs: 3000, keepaliveMs: 100_000 });
  }
  nowMs = 20_000;
  fireDue();
  expect(fsm.state).toBe('established');
  // The message that lay in the kernel.
  fsm.handle({ type: 'keepalive-received' });
  nowMs += 60;
  fireDue();
  expect(fsm.state).toBe('established');
  nowMs += 3000;
  fireDue();
  expect(fsm.state).toBe('idle');
});
