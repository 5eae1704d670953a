import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { SnapshotStore, contentHash } from '../../src/snapshot/index.js';
import type { Snapshot } from '../../src/snapshot/index.js';

interface Source {
  readonly n: number;
}

const doubling = (): SnapshotStore<Source, number> =>
  new SnapshotStore<Source, number>({
    prepare: (next) => {
      if (next.n < 0) throw new Error(`negative: ${String(next.n)}`);
      return next.n * 2;
    },
  });

/** A promise and its resolve function. */
function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

describe('SnapshotStore', () => {
  it('starts empty, then holds what was prepared', async () => {
    const store = doubling();
    expect(store.current).toBeUndefined();
    const snapshot = await store.swap({ n: 2 });
    expect(snapshot).toEqual({ sequence: 1, hash: contentHash({ n: 2 }), source: { n: 2 }, value: 4 });
    expect(store.current).toBe(snapshot);
    expect(Object.isFrozen(snapshot)).toBe(true);
  });

  it('keeps the old one when the new one is refused', async () => {
    const store = doubling();
    const good = await store.swap({ n: 1 });
    await expect(store.swap({ n: -1 })).rejects.toThrow('negative: -1');
    expect(store.current).toBe(good);
    await expect(store.swap({ n: NaN })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_JSON' });
    expect((await store.swap({ n: 3 })).sequence).toBe(2);
  });

  it('does not prepare the content in force again', async () => {
    const prepare = vi.fn((next: Source) => next.n);
    const store = new SnapshotStore({ prepare });
    const first = await store.swap({ n: 1 });
    expect(await store.swap({ n: 1 })).toBe(first);
    expect(prepare).toHaveBeenCalledTimes(1);
  });

  it('shows the old one until an asynchronous prepare is done, and swaps in the order of the calls', async () => {
    const gate = deferred();
    const seen: [number, number | undefined][] = [];
    const store = new SnapshotStore<Source, number>({
      prepare: async (next, previous) => {
        seen.push([next.n, previous?.source.n]);
        if (next.n === 1) await gate.promise;
        return next.n;
      },
    });
    const both = [store.swap({ n: 1 }), store.swap({ n: 2 })];
    await new Promise((resolve) => setImmediate(resolve));
    expect(store.current).toBeUndefined();
    expect(seen).toEqual([[1, undefined]]);
    gate.resolve();
    await Promise.all(both);
    expect(seen).toEqual([
      [1, undefined],
      [2, 1],
    ]);
    expect(store.current?.source.n).toBe(2);
  });

  it('tells subscribers; one that throws disturbs nobody', async () => {
    const store = doubling();
    const seen: number[] = [];
    store.subscribe(() => {
      throw new Error('mine');
    });
    const subscription = store.subscribe((snapshot) => seen.push(snapshot.value));
    await store.swap({ n: 1 });
    subscription[Symbol.dispose]();
    await store.swap({ n: 2 });
    expect(seen).toEqual([2]);
  });

  it('yields the newest to a slow reader', async () => {
    const store = doubling();
    const stop = new AbortController();
    const changes = store.changes({ signal: stop.signal });
    await store.swap({ n: 1 });
    expect((await changes.next()).value).toMatchObject({ value: 2 });
    await store.swap({ n: 2 });
    await store.swap({ n: 3 });
    expect((await changes.next()).value).toMatchObject({ value: 6 });
    stop.abort();
    expect((await changes.next()).done).toBe(true);
  });

  it('has nothing to roll back to at first', async () => {
    const store = doubling();
    await expect(store.rollback()).rejects.toMatchObject({ code: 'SNAPSHOT_NO_PREVIOUS' });
    await store.swap({ n: 1 });
    await expect(store.rollback()).rejects.toMatchObject({ code: 'SNAPSHOT_NO_PREVIOUS' });
  });

  it('refuses a history out of bounds', () => {
    expect(() => new SnapshotStore({ prepare: () => 1, history: 0 })).toThrow(
      expect.objectContaining({ code: 'SNAPSHOT_OPTION_INVALID' }),
    );
  });

  it('behaves as its model under any sequence of swaps, refusals and rollbacks', async () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('swap' as const), n: fc.integer({ min: -2, max: 4 }) }),
      fc.record({ kind: fc.constant('rollback' as const), n: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
        const store = doubling();
        const history: number[] = [];
        let current: number | undefined;
        let sequence = 0;
        let told: Snapshot<Source, number> | undefined;
        store.subscribe((snapshot) => (told = snapshot));
        for (const { kind, n } of commands) {
          if (kind === 'rollback') {
            const back = history.pop();
            if (back === undefined) await expect(store.rollback()).rejects.toThrow();
            else {
              current = back;
              sequence += 1;
              await store.rollback();
            }
          } else if (n < 0) await expect(store.swap({ n })).rejects.toThrow();
          else {
            if (n !== current) {
              if (current !== undefined) history.push(current);
              if (history.length > 3) history.shift();
              current = n;
              sequence += 1;
            }
            await store.swap({ n });
          }
          expect(store.current?.source.n).toBe(current);
          expect(store.current?.sequence ?? 0).toBe(sequence);
          expect(told).toBe(store.current);
          if (current !== undefined)
            expect(store.current).toMatchObject({ value: current * 2, hash: contentHash({ n: current }) });
        }
      }),
      { numRuns: 200 },
    );
  });
});
