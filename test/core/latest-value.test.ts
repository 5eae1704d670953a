import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LatestValueCell, constantValue } from '../../src/core/index.js';

describe('LatestValueCell', () => {
  test('holds the newest value and tells subscribers of changes, in order, not of the current one', () => {
    const cell = new LatestValueCell(1);
    const seen: number[] = [];
    const subscription = cell.subscribe((value) => seen.push(value));
    expect([cell.current, seen]).toEqual([1, []]);
    cell.set(2);
    cell.set(3);
    subscription[Symbol.dispose]();
    subscription[Symbol.dispose]();
    cell.set(4);
    expect([cell.current, seen]).toEqual([4, [2, 3]]);
  });

  test('the same function subscribed twice is two subscriptions', () => {
    const cell = new LatestValueCell(1);
    let calls = 0;
    const count = (): void => void (calls += 1);
    const first = cell.subscribe(count);
    cell.subscribe(count);
    first[Symbol.dispose]();
    cell.set(2);
    expect(calls).toBe(1);
  });

  test('a subscriber that throws stops neither the others nor the change; the first error comes out', () => {
    const cell = new LatestValueCell(1);
    const seen: number[] = [];
    cell.subscribe(() => {
      throw new Error('first');
    });
    cell.subscribe((value) => seen.push(value));
    cell.subscribe(() => {
      throw new Error('second');
    });
    expect(() => cell.set(2)).toThrow('first');
    expect([cell.current, seen]).toEqual([2, [2]]);
  });

  test('even when what it throws is undefined', () => {
    const cell = new LatestValueCell(1);
    cell.subscribe(() => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- code that is not ours may
      throw undefined;
    });
    let threw = false;
    try {
      cell.set(2);
    } catch {
      threw = true;
    }
    expect(threw).toBe(true);
  });

  test('changes() begins with the current value, skips what a slow reader missed, and ends with the signal', async () => {
    const cell = new LatestValueCell(1);
    const abort = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const value of cell.changes({ signal: abort.signal })) {
        seen.push(value);
        if (value === 1) {
          cell.set(2);
          cell.set(3);
        }
      }
    })();
    await new Promise(setImmediate);
    expect(seen).toEqual([1, 3]);
    cell.set(4);
    await new Promise(setImmediate);
    abort.abort();
    await reading;
    expect(seen).toEqual([1, 3, 4]);
  });

  test('changes() ends at once under an aborted signal, and leaves no subscriber behind when broken off', async () => {
    const cell = new LatestValueCell(1);
    for await (const _value of cell.changes({ signal: AbortSignal.abort() })) expect.unreachable();
    for await (const value of cell.changes()) {
      expect(value).toBe(1);
      break;
    }
    const pending = cell.changes();
    await pending.next();
    await pending.return?.();
    expect(() => cell.set(2)).not.toThrow();
  });

  test('constantValue never changes', async () => {
    const value = constantValue('a');
    expect(value.current).toBe('a');
    expect(await value.changes().next()).toEqual({ done: false, value: 'a' });
  });

  test('property: a reader always ends on the newest value, and sees values in order', async () => {
    const steps = fc.array(fc.oneof(fc.constant('set' as const), fc.constant('wait' as const)), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        const cell = new LatestValueCell(0);
        const abort = new AbortController();
        const seen: number[] = [];
        const reading = (async () => {
          for await (const value of cell.changes({ signal: abort.signal })) seen.push(value);
        })();
        for (const step of plan) {
          if (step === 'set') cell.set(cell.current + 1);
          else await new Promise(setImmediate);
        }
        await new Promise(setImmediate);
        abort.abort();
        await reading;
        expect(seen.at(-1)).toBe(cell.current);
        expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
      }),
      { numRuns: 100 },
    );
  });
});
