/** What is held when, as an address that is announced by BGP leaves. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FakeClock } from '../../../src/testing/index.js';
import { VipManager } from '../../../src/vip/index.js';
import type { VipEvent, VipManagerOptions } from '../../../src/vip/index.js';
import { bgp, recorded, web } from './recorded-parts.js';

/** A manager that announces one address, a hook whose calls it writes down too, and what it reported of them. */
async function announcing(options: Partial<VipManagerOptions>, answer: (signal: AbortSignal) => Promise<void> | void) {
  const { calls, parts } = recorded();
  const clock = new FakeClock();
  const events: VipEvent[] = [];
  const vips = await VipManager.create({
    ...{ node: 'a', bgp, parts, clock, lingerMs: 100, ...options },
    observer: (event) => void events.push(event),
    quiesce: (address, { signal }) => {
      calls.push(`hold ${address}`);
      signal.addEventListener('abort', () => calls.push('release'));
      return answer(signal);
    },
  });
  await vips.apply([web]);
  await clock.advanceAsync(10);
  calls.splice(0);
  const outcomes = (): unknown[] =>
    events.flatMap((event) => (event.type === 'vip.quiesced' ? [[event.outcome, event.tookMs]] : []));
  return { calls, clock, vips, outcomes };
}

it('holds new connections until those under way have ended, withdraws, and releases them when the address is gone', async () => {
  let quiet = (): void => undefined;
  const { calls, clock, vips, outcomes } = await announcing({}, () => new Promise<void>((done) => (quiet = done)));
  const leaving = vips.apply([]);
  await clock.advanceAsync(499);
  expect(calls.splice(0)).toEqual(['hold 203.0.113.10']);
  expect(vips.state.map(({ state }) => state)).toEqual(['draining']);
  quiet();
  await clock.advanceAsync(0);
  expect(calls.splice(0)).toEqual(['withdraw 203.0.113.10/32']);
  await clock.advanceAsync(100);
  await leaving;
  expect(calls).toEqual(['remove 203.0.113.10', 'release']);
  expect(outcomes()).toEqual([['quiet', 499]]);
  vips.destroy();
  expect(clock.pendingTimers).toBe(0);
});

it.each<readonly [string, unknown, (signal: AbortSignal) => Promise<void> | void]>([
  ['never resolves', ['late', 500], () => new Promise(() => undefined)],
  ['rejects', ['failed', 0], () => Promise.reject(new Error('no'))],
  [
    'throws',
    ['failed', 0],
    () => {
      throw new Error('no');
    },
  ],
  ['waits for nothing', ['quiet', 0], () => undefined],
])('withdraws though the hook that holds connections %s', async (_, outcome, answer) => {
  const { calls, clock, vips, outcomes } = await announcing({}, answer);
  const closing = vips.close();
  await clock.advanceAsync(500);
  await clock.advanceAsync(100);
  await closing;
  expect(calls.slice(0, 4)).toEqual([
    ...['hold 203.0.113.10', 'withdraw 203.0.113.10/32', 'remove 203.0.113.10', 'release'],
  ]);
  expect(outcomes()).toEqual([outcome]);
  expect(clock.pendingTimers).toBe(0);
});

it('holds connections when the node is not healthy, and takes them again before it announces', async () => {
  let healthy = true;
  const { calls, clock, vips } = await announcing({ health: () => healthy, drainMs: 5_000 }, () => undefined);
  healthy = false;
  await clock.advanceAsync(200);
  healthy = true;
  await clock.advanceAsync(400);
  expect(calls).toEqual([
    ...['hold 203.0.113.10', 'withdraw 203.0.113.10/32', 'remove 203.0.113.10', 'release'],
    ...['add 203.0.113.10 lo 60', 'announce 203.0.113.10/32 '],
  ]);
  vips.destroy();
});

it('holds connections around GRACEFUL_SHUTDOWN too, which routers may act on, and not for all of a long drain', async () => {
  const { calls, clock, vips } = await announcing({ drainMs: 5_000 }, () => undefined);
  const leaving = vips.apply([]);
  await clock.advanceAsync(249);
  expect(calls.splice(0)).toEqual(['hold 203.0.113.10', 'drain 203.0.113.10/32']);
  await clock.advanceAsync(1);
  expect(calls.splice(0)).toEqual(['release']);
  await clock.advanceAsync(4_749);
  expect(calls.splice(0)).toEqual([]);
  await clock.advanceAsync(1);
  expect(calls.splice(0)).toEqual(['hold 203.0.113.10', 'withdraw 203.0.113.10/32']);
  await clock.advanceAsync(100);
  await leaving;
  vips.destroy();
});

it('ends hold and wait when it is destroyed, and withdraws nothing then', async () => {
  const { calls, clock, vips, outcomes } = await announcing({}, () => new Promise(() => undefined));
  const leaving = vips.apply([]);
  await clock.advanceAsync(10);
  vips.destroy();
  await clock.advanceAsync(0);
  await leaving;
  expect(calls.slice(0, 2)).toEqual(['hold 203.0.113.10', 'release']);
  expect(calls.filter((call) => /withdraw|remove/.test(call))).toEqual([]);
  expect(outcomes()).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
});

it('refuses a hook that is none, and a time that is no bound', async () => {
  const { parts } = recorded();
  for (const wrong of [{ quiesceMs: -1 }, { quiesceMs: 60_001 }, { quiesceMs: NaN }, { quiesce: true as never }]) {
    await expect(VipManager.create({ node: 'a', parts, ...wrong })).rejects.toMatchObject({
      code: 'VIP_CONFIGURATION_INVALID',
    });
  }
});

/** What a hook does: resolves or rejects after so long, throws at once, or hangs. */
const hook = fc.oneof(
  fc.record({ what: fc.constantFrom('resolve', 'reject'), afterMs: fc.nat(1_500) }),
  fc.record({ what: fc.constantFrom('throw', 'hang'), afterMs: fc.constant(0) }),
);
const step = fc.oneof(
  fc.record({ do: fc.constantFrom('assign', 'unassign', 'sicken', 'heal'), ms: fc.constant(0) }),
  fc.record({ do: fc.constant('wait'), ms: fc.nat(2_000) }),
);

it('withdraws within its bounds, announces nothing that is held, and ends every hold, whatever the hook does', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(hook, { minLength: 1, maxLength: 8 }),
      fc.array(step, { maxLength: 20 }),
      fc.constantFrom(0, 100, 700),
      async (hooks, steps, drainMs) => {
        const [quiesceMs, lingerMs, shutdownHoldMs] = [500, 300, 250];
        const { calls, parts } = recorded();
        const clock = new FakeClock();
        let called = 0;
        let healthy = true;
        const vips = await VipManager.create({
          ...{ node: 'a', bgp, parts, clock, lingerMs, drainMs, quiesceMs, health: () => healthy },
          quiesce: (_, { signal }) => {
            const { what, afterMs } = hooks[called++ % hooks.length] ?? { what: 'hang', afterMs: 0 };
            calls.push('hold');
            signal.addEventListener('abort', () => calls.push('release'));
            if (what === 'throw') throw new Error('no');
            return new Promise((resolve, reject) => {
              if (what === 'resolve') clock.timer(afterMs, () => resolve());
              if (what === 'reject') clock.timer(afterMs, () => reject(new Error('no')));
            });
          },
        });
        const settled: Promise<void>[] = [];
        for (const { do: what, ms } of steps) {
          if (what === 'assign') settled.push(vips.apply([web]));
          if (what === 'unassign') settled.push(vips.apply([]));
          if (what === 'sicken') healthy = false;
          if (what === 'heal') healthy = true;
          await clock.advanceAsync(ms);
        }
        settled.push(vips.close());
        // Health is looked at every 200 ms; then both holds, the drain and the pause.
        await clock.advanceAsync(200 + 2 * quiesceMs + shutdownHoldMs + drainMs + lingerMs);
        await Promise.all(settled);
        let held = false;
        let announced = false;
        for (const call of calls) {
          const [word = ''] = call.split(' ');
          if (word === 'hold') expect([held, announced, (held = true)]).toEqual([false, true, true]);
          if (word === 'release') expect([held, (held = false)]).toEqual([true, false]);
          if (word === 'announce') expect([held, (announced = true)]).toEqual([false, true]);
          if (word === 'withdraw') expect([held, announced, (announced = false)]).toEqual([true, true, false]);
          if (word === 'remove') expect(announced).toBe(false);
        }
        expect([held, announced]).toEqual([false, false]);
      },
    ),
    { numRuns: 200 },
  );
});
