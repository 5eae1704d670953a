import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.js';

describe('FakeClock', () => {
  test('stands still until advanced, both times together', () => {
    const clock = new FakeClock({ start: new Date('2030-01-01T00:00:00Z') });
    expect([clock.now(), clock.monotonicMs()]).toEqual([Date.UTC(2030, 0, 1), 0]);
    clock.advance(1500);
    expect([clock.now(), clock.monotonicMs()]).toEqual([Date.UTC(2030, 0, 1) + 1500, 1500]);
  });

  test('jumpWall moves wall time alone, and no timer', () => {
    const clock = new FakeClock({ start: 1000 });
    let fired = 0;
    clock.timer(100, () => void (fired += 1));
    clock.jumpWall(1_000_000);
    expect([clock.now(), clock.monotonicMs(), fired]).toEqual([1_001_000, 0, 0]);
    clock.jumpWall(-2_000_000);
    clock.advance(100);
    expect([clock.now(), clock.monotonicMs(), fired]).toEqual([-998_900, 100, 1]);
  });

  test('fires in order, each at its own moment, those made on the way included', () => {
    const clock = new FakeClock({ start: 0 });
    const seen: string[] = [];
    const note = (name: string) => () => void seen.push(`${name}@${String(clock.now())}`);
    clock.timer(20, note('b'));
    clock.timer(10, () => {
      note('a')();
      clock.timer(5, note('a2'));
      clock.timer(500, note('late'));
    });
    clock.timer(20, note('c'));
    const cancelled = clock.timer(15, note('never'));
    cancelled.cancel();
    expect([clock.pendingTimers, clock.nextTimerMs]).toEqual([3, 10]);
    clock.advance(20);
    expect(seen).toEqual(['a@10', 'a2@15', 'b@20', 'c@20']);
    expect([clock.pendingTimers, clock.nextTimerMs]).toEqual([1, 490]);
  });

  test('advanceAsync lets promises run between timers', async () => {
    const clock = new FakeClock({ start: 0 });
    const seen: number[] = [];
    const loop = (async () => {
      for (let round = 0; round < 3; round += 1) {
        await new Promise<void>((resolve) => void clock.timer(10, resolve));
        seen.push(clock.monotonicMs());
      }
    })();
    await clock.advanceAsync(30);
    expect(seen).toEqual([10, 20, 30]);
    await loop;
  });

  test('a timer that re-arms itself without delay is an error and not a hang', () => {
    const clock = new FakeClock();
    const again = (): void => void clock.timer(0, again);
    again();
    expect(() => clock.advance(1)).toThrow(/re-arms itself/);
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('advancing by %s is refused', (ms) => {
    expect(() => new FakeClock().advance(ms)).toThrow(RangeError);
    expect(() => new FakeClock({ start: Number.NaN })).toThrow(RangeError);
  });

  test('property: every timer fires once, in order of due time, however the way is cut up', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { maxLength: 20 }), fc.array(fc.nat(60), { maxLength: 6 }), (delays, steps) => {
        const clock = new FakeClock({ start: 0 });
        const fired: number[] = [];
        for (const delay of delays) {
          clock.timer(delay, () => {
            expect(clock.monotonicMs()).toBe(delay);
            fired.push(delay);
          });
        }
        for (const step of steps) clock.advance(step);
        const total = steps.reduce((sum, step) => sum + step, 0);
        // A timer without delay waits for the next `advance`, as it would for the next turn of the event loop.
        const due = steps.length === 0 ? [] : delays.filter((delay) => delay <= total);
        expect(fired).toEqual(due.sort((a, b) => a - b));
      }),
    );
  });
});
