import { describe, expect, it } from 'vitest';
import { closeAll } from '../../src/core/index.js';
import { FakeClock } from '../../src/testing/index.js';

/** Closes when told to, or when destroyed. */
function slow(log: string[], name: string): { close(): Promise<void>; destroy(): void } {
  let finish: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => {
    finish = resolve;
  });
  return {
    close: () => {
      log.push(`close ${name}`);
      return closed;
    },
    destroy: () => {
      log.push(`destroy ${name}`);
      finish();
    },
  };
}

describe('closeAll with a drain time-out', () => {
  it('destroys what has not finished by then, and still closes everything', async () => {
    const clock = new FakeClock();
    const log: string[] = [];
    const ended = closeAll([slow(log, 'a'), slow(log, 'b')], { drainTimeoutMs: 1_000, clock });
    await clock.advanceAsync(999);
    expect(log).toEqual(['close b']);
    await clock.advanceAsync(1);
    await ended;
    expect(log).toEqual(['close b', 'destroy b', 'destroy a', 'close a']);
  });

  it('destroys nothing that finished in time, and leaves no timer', async () => {
    const clock = new FakeClock();
    await closeAll([{ close: () => Promise.resolve() }], { drainTimeoutMs: 1_000, clock });
    expect(clock.pendingTimers).toBe(0);
  });
});
