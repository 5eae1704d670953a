import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { sleep, systemClock } from '../../src/core/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';

describe('systemClock', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('fires once, after the delay, unless cancelled', () => {
    let fired = 0;
    systemClock.timer(100, () => void (fired += 1));
    const cancelled = systemClock.timer(100, () => void (fired += 100));
    vi.advanceTimersByTime(99);
    expect(fired).toBe(0);
    cancelled.cancel();
    vi.advanceTimersByTime(1000);
    expect(fired).toBe(1);
    cancelled.cancel();
  });

  test('waits 30 days for a timer of 30 days, which Node alone would fire after 1 ms', () => {
    const dayMs = 86_400_000;
    let fired = 0;
    systemClock.timer(30 * dayMs, () => void (fired += 1));
    const cancelled = systemClock.timer(60 * dayMs, () => void (fired += 100));
    vi.advanceTimersByTime(30 * dayMs - 1);
    expect(fired).toBe(0);
    vi.advanceTimersByTime(1);
    expect(fired).toBe(1);
    cancelled.cancel();
    vi.advanceTimersByTime(60 * dayMs);
    expect(fired).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([-1, Number.NaN, 0])('a delay of %s is none', (delayMs) => {
    let fired = 0;
    systemClock.timer(delayMs, () => void (fired += 1));
    vi.advanceTimersByTime(1);
    expect(fired).toBe(1);
  });
});

describe('the real system clock', () => {
  test('has wall and monotonic time', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
    const before = systemClock.monotonicMs();
    expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(before);
  });
});

describe('sleep', () => {
  test('resolves when its time has come', async () => {
    const clock = new FakeClock();
    let done = false;
    const sleeping = sleep(clock, 100).then(() => void (done = true));
    await clock.advanceAsync(99);
    expect(done).toBe(false);
    await clock.advanceAsync(1);
    expect(done).toBe(true);
    await sleeping;
  });

  test('rejects with the reason of its signal, and leaves no timer and no listener', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const sleeping = sleep(clock, 100, { signal: abort.signal });
    expect(clock.pendingTimers).toBe(1);
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
    expect(clock.pendingTimers).toBe(0);
    await expect(sleep(clock, 100, { signal: abort.signal })).rejects.toBe(reason);
    expect(clock.pendingTimers).toBe(0);
  });

  test('an abort after the end changes nothing', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const sleeping = sleep(clock, 1, { signal: abort.signal });
    clock.advance(1);
    abort.abort();
    await expect(sleeping).resolves.toBeUndefined();
  });
});
