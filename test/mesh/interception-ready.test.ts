import { describe, expect, it } from 'vitest';
import { LatestValueCell } from '../../src/core/index.js';
import { InterceptionReconciler, SourcePins, prepareMeshView } from '../../src/mesh/index.js';
import type { MeshView } from '../../src/mesh/index.js';
import { FakeClock } from '../../src/testing/index.js';
import { meshState } from './fixtures.js';

describe('InterceptionReconciler.applied', () => {
  it('resolves only once rules of a snapshot are in the kernel, however many attempts that takes', async () => {
    const clock = new FakeClock();
    const views = new LatestValueCell<MeshView | undefined>(undefined);
    let attempts = 0;
    const reconciler = new InterceptionReconciler({
      views: {
        get current() {
          return views.current;
        },
        subscribe: (listener) => views.subscribe((view) => view !== undefined && listener(view)),
      },
      rules: {
        apply: () => {
          attempts += 1;
          return attempts < 3 ? Promise.reject(new Error('nft is missing')) : Promise.resolve();
        },
        verify: () => Promise.resolve({ ok: true, problems: [] }),
      },
      pins: new SourcePins(),
      findInterface: () => Promise.resolve(undefined),
      verifyIntervalMs: 0,
      retryMs: 100,
      clock,
    });
    let ready = false;
    const applied = reconciler.applied().then(() => {
      ready = true;
    });
    await reconciler.reconcile();
    await clock.advanceAsync(1_000);
    expect([attempts, ready]).toEqual([0, false]);
    views.set(prepareMeshView('node-a')(meshState()));
    await clock.advanceAsync(50);
    expect([attempts, ready, reconciler.lastError]).toEqual([1, false, 'nft is missing']);
    await clock.advanceAsync(1_000);
    await applied;
    expect([attempts, ready, reconciler.lastError]).toEqual([3, true, undefined]);
    await reconciler.close();
  });

  it('gives up with the reason of its signal', async () => {
    const reconciler = new InterceptionReconciler({
      views: { current: undefined, subscribe: () => ({ [Symbol.dispose]: () => undefined }) },
      rules: { apply: () => Promise.resolve(), verify: () => Promise.resolve({ ok: true, problems: [] }) },
      pins: new SourcePins(),
      findInterface: () => Promise.resolve(undefined),
      verifyIntervalMs: 0,
    });
    await expect(reconciler.applied({ signal: AbortSignal.abort(new Error('closing')) })).rejects.toThrowError(
      'closing',
    );
    await reconciler.close();
  });
});
