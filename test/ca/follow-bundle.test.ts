import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { followBundle } from 'meshwright/ca';
import { LatestValueCell } from 'meshwright/core';
import type { TrustBundle, X509Svid } from 'meshwright/spiffe';
import { FakeClock, TestCa } from 'meshwright/testing';
import { until } from './support.js';

const ca = TestCa.create();
const steady = { bytes: (length: number) => new Uint8Array(length), fraction: () => 0.5 };

/** A watch that yields one bundle, then waits until it is told to end. */
function watches(): {
  readonly opened: AbortSignal[];
  end: () => void;
  watch(options: { readonly signal: AbortSignal }): AsyncIterableIterator<TrustBundle>;
} {
  const made = {
    opened: [] as AbortSignal[],
    end: (): void => undefined,
    async *watch({ signal }: { readonly signal: AbortSignal }): AsyncIterableIterator<TrustBundle> {
      made.opened.push(signal);
      yield ca.bundle;
      await new Promise<void>((resolve) => {
        made.end = resolve;
        signal.addEventListener('abort', () => resolve());
      });
    },
  };
  return made;
}

it('opens a lost watch again after a while, and one whose SVID was renewed at once', async () => {
  const clock = new FakeClock();
  const source = watches();
  const svid = new LatestValueCell<X509Svid>(ca.svid('spiffe://cluster.local/agent/node-a'));
  const stop = new AbortController();
  const seen: number[] = [];
  const following = followBundle({
    watch: (options) => source.watch(options),
    onBundle: ({ sequence }) => void seen.push(sequence),
    signal: stop.signal,
    svid,
    clock,
    random: steady,
  });
  await until(() => seen.length === 1);
  source.end();
  await sleep(20);
  expect(source.opened).toHaveLength(1);
  await clock.advanceAsync(1000);
  await until(() => seen.length === 2);

  svid.set(ca.svid('spiffe://cluster.local/agent/node-a'));
  await until(() => seen.length === 3);
  expect(source.opened.map(({ aborted }) => aborted)).toEqual([false, true, false]);

  stop.abort();
  await following;
  svid.set(ca.svid('spiffe://cluster.local/agent/node-a'));
  expect(source.opened).toHaveLength(3);
  expect(clock.pendingTimers).toBe(0);
});
