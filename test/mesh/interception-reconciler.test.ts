import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LatestValueCell } from '../../src/core/index.js';
import { InterceptionReconciler, SourcePins, prepareMeshView, resourceKey } from '../../src/mesh/index.js';
import type { HostInterface, MeshStateInput, MeshView, MeshViews, Workload } from '../../src/mesh/index.js';
import { FakeClock } from '../../src/testing/index.js';
import type { InterceptionPlan } from '../../src/tproxy/index.js';
import { meshState, meshStateInput } from './fixtures.js';

const viewOf = (changes: Partial<MeshStateInput> = {}): MeshView => prepareMeshView('node-a')(meshState(changes));
const web = (view: MeshView): Workload => view.index.workloadNamed('frontend/web')!;

/** Rules and interfaces as the test wants them. */
class Kernel {
  readonly applied: InterceptionPlan[] = [];
  interfaces = new Map<string, HostInterface>([
    ['frontend/web', { name: 'veth-web', index: 7 }],
    ['production/api-1', { name: 'veth-api', index: 8 }],
  ]);
  failures = 0;
  ok = true;
  verified = 0;
  /** Runs while the kernel is at work. */
  onApply: () => void | Promise<void> = () => undefined;
  onFind: (workload: Workload) => void = () => undefined;

  async apply(plan: InterceptionPlan): Promise<void> {
    await this.onApply();
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error('netlink: busy');
    }
    this.applied.push(plan);
    this.ok = true;
  }

  verify(): Promise<{ ok: boolean; problems: string[] }> {
    this.verified += 1;
    return Promise.resolve({ ok: this.ok, problems: this.ok ? [] : ['drift'] });
  }
}

let clock: FakeClock;
let kernel: Kernel;
let pins: SourcePins;
let cell: LatestValueCell<MeshView | undefined>;
let reconciler: InterceptionReconciler;

beforeEach(() => {
  clock = new FakeClock();
  kernel = new Kernel();
  pins = new SourcePins();
  cell = new LatestValueCell<MeshView | undefined>(undefined);
  const views: MeshViews = {
    get current() {
      return cell.current;
    },
    subscribe: (listener) => cell.subscribe((view) => view !== undefined && listener(view)),
  };
  reconciler = new InterceptionReconciler({
    views,
    rules: kernel,
    pins,
    clock,
    findInterface: (workload) => {
      kernel.onFind(workload);
      return Promise.resolve(kernel.interfaces.get(resourceKey(workload)));
    },
  });
});
afterEach(() => reconciler.close());

const show = async (view = viewOf()): Promise<MeshView> => {
  cell.set(view);
  await clock.advanceAsync(0);
  return view;
};

describe('InterceptionReconciler', () => {
  it('does nothing without a snapshot', async () => {
    await reconciler.reconcile();
    expect(kernel.applied).toEqual([]);
  });

  it('pins a source only after the kernel has the rules', async () => {
    kernel.onApply = () => expect(pins.isPinned(web(viewOf()))).toBe(false);
    const view = await show();
    expect(kernel.applied.at(-1)?.pods).toContainEqual({ hostInterface: 'veth-web', addresses: ['10.244.1.5'] });
    expect(pins.isPinned(web(view))).toBe(true);
  });

  it('keeps the old pins while applying fails, says so, and tries again', async () => {
    const view = await show();
    kernel.failures = 2;
    cell.set(viewOf({ denied: [{ service: '*', reason: 'x' }] }));
    await reconciler.reconcile();
    expect(reconciler.lastError).toMatch(/busy/);
    expect(pins.isPinned(web(view))).toBe(true);
    await clock.advanceAsync(500);
    await clock.advanceAsync(500);
    expect(reconciler.lastError).toBeUndefined();
  });

  it('tries again at its own pace when a repair of drift fails', async () => {
    await show();
    kernel.ok = false;
    kernel.failures = 1;
    await clock.advanceAsync(10_000);
    expect(reconciler.lastError).toMatch(/busy/);
    await clock.advanceAsync(500);
    expect(reconciler.lastError).toBeUndefined();
  });

  it('protects the others when the interface of one workload is missing or cannot be found out', async () => {
    kernel.interfaces.delete('frontend/web');
    const view = await show();
    expect(kernel.applied).toHaveLength(1);
    expect(pins.isPinned(web(view))).toBe(false);
    expect(pins.isPinned(view.index.workloadNamed('production/api-1')!)).toBe(true);
    kernel.onFind = (workload) => {
      if (workload.name === 'api-1') throw new Error('gone');
    };
    await reconciler.reconcile();
    expect(kernel.applied).toHaveLength(2);
    expect(pins.isPinned(view.index.workloadNamed('production/api-1')!)).toBe(false);
  });

  it.each([
    ['removed', { name: 'veth-web', index: 7, removed: true }],
    ['made anew under the same name', { name: 'veth-web', index: 9, removed: false }],
  ])('does not pin an interface that was %s while the rules were applied', async (_what, change) => {
    kernel.onApply = () => reconciler.interfaceChanged(change);
    const view = await show();
    expect(pins.isPinned(web(view))).toBe(false);
    expect(pins.isPinned(view.index.workloadNamed('production/api-1')!)).toBe(true);
  });

  it('does not pin a new interface with the old address until a newer snapshot, though drift is repaired', async () => {
    const view = await show();
    reconciler.interfaceChanged({ name: 'veth-web', index: 7, removed: true });
    expect(pins.isPinned(web(view))).toBe(false);
    // Another pod with the recycled address; the snapshot still has the old one.
    kernel.interfaces.set('frontend/web', { name: 'veth-new', index: 12 });
    reconciler.interfaceChanged({ name: 'veth-new', index: 12, removed: false });
    kernel.ok = false;
    await clock.advanceAsync(10_000);
    expect(kernel.applied).toHaveLength(2);
    // Captured, so that it is refused rather than passed by.
    expect(kernel.applied.at(-1)?.pods).toContainEqual({ hostInterface: 'veth-new', addresses: ['10.244.1.5'] });
    expect(pins.isPinned(web(view))).toBe(false);
    const newer = await show(viewOf({ denied: [{ service: '*', reason: 'x' }] }));
    expect(pins.isPinned(web(newer))).toBe(true);
  });

  it('does not pin by a run for an older snapshot what changed before the newer one', async () => {
    let first = true;
    kernel.onApply = () => {
      if (!first) return;
      first = false;
      reconciler.interfaceChanged({ name: 'veth-web', index: 7, removed: true });
      cell.set(viewOf({ denied: [{ service: '*', reason: 'x' }] }));
      kernel.interfaces.delete('frontend/web');
    };
    const view = await show();
    expect(pins.isPinned(web(view))).toBe(false);
    expect(kernel.applied).toHaveLength(2);
  });

  it('does not count a pod of the same name with another address as pinned before its rules are there', async () => {
    await show();
    kernel.failures = 1;
    const moved = viewOf({
      workloads: meshStateInput().workloads.map((each) =>
        each.name === 'web' ? { ...each, addresses: ['10.244.1.99'] } : each,
      ),
    });
    await show(moved);
    expect(pins.isPinned(web(moved))).toBe(false);
    await clock.advanceAsync(500);
    expect(pins.isPinned(web(moved))).toBe(true);
  });

  it('runs once at a time, and once more for whatever came meanwhile', async () => {
    let running = 0;
    kernel.onApply = async () => {
      running += 1;
      expect(running).toBe(1);
      await Promise.resolve();
      running -= 1;
    };
    cell.set(viewOf());
    await Promise.all([reconciler.reconcile(), reconciler.reconcile(), reconciler.reconcile()]);
    expect(kernel.applied.length).toBeLessThanOrEqual(2);
  });

  it('applies nothing after it was closed, and leaves no timer', async () => {
    kernel.onFind = () => reconciler.destroy();
    await show();
    expect(kernel.applied).toEqual([]);
    await reconciler.reconcile();
    await clock.advanceAsync(60_000);
    expect([kernel.applied.length, kernel.verified, clock.pendingTimers]).toEqual([0, 0, 0]);
  });
});
