import { describe, expect, it, onTestFinished } from 'vitest';
import { LatestValueCell } from '../../../src/core/index.js';
import { VipRunner, parseMeshState, prepareMeshView, viewsOf } from '../../../src/mesh/index.js';
import type { MeshState, MeshView, MeshVip, RunningVips } from '../../../src/mesh/index.js';
import { SnapshotStore } from '../../../src/snapshot/index.js';
import { meshStateInput } from '../fixtures.js';
import { until } from '../support.js';

const l2 = { name: 'l2', addresses: ['203.0.113.1'], mode: 'l2', nodes: ['node-a'], ports: [80] } as const;
const bgp = {
  name: 'bgp',
  addresses: ['203.0.113.2'],
  mode: 'bgp',
  nodes: ['node-a'],
  ports: [80],
  bgp: {
    speakers: [{ node: 'node-a', localAs: 64513, routerId: '192.0.2.1' }],
    peers: [{ address: '192.0.2.254', as: 64512 }],
  },
} as const;

const stateWith = (...vips: readonly unknown[]): MeshState => parseMeshState({ ...meshStateInput(), vips });

/** Writes down what it is told, and fails as often as it is told to. */
class RecordingVips implements RunningVips {
  readonly calls: string[] = [];
  /** Of each `apply`. */
  readonly addresses: string[] = [];
  readonly state = [];
  readonly peers = new LatestValueCell([]);
  failures = 0;

  apply: RunningVips['apply'] = (assignments) => {
    if (this.failures > 0) {
      this.failures -= 1;
      return Promise.reject(new Error('not now'));
    }
    this.addresses.push(assignments.flatMap(({ addresses }) => addresses).join(' '));
    this.calls.push(`apply ${assignments.map(({ name }) => name).join(' ')}`);
    return Promise.resolve();
  };

  configureBgp: RunningVips['configureBgp'] = (options) => {
    this.calls.push(options === undefined ? 'no bgp' : `bgp as ${String(options.localAs)}`);
    return Promise.resolve();
  };

  close: RunningVips['close'] = () => {
    this.calls.push('close');
    return Promise.resolve();
  };

  destroy = (): void => void this.calls.push('destroy');
}

async function runner(first: MeshState) {
  const store = new SnapshotStore<MeshState, MeshView>({ prepare: prepareMeshView('node-a') });
  await store.swap(first);
  const views = viewsOf(store);
  const serving = new LatestValueCell<readonly MeshVip[]>(views.current?.index.state.vips ?? []);
  const vips = new RecordingVips();
  let starts = 0;
  const failStarts = { left: 0 };
  const made = new VipRunner({
    node: 'node-a',
    views,
    serving,
    start: () => {
      starts += 1;
      if (failStarts.left-- > 0) return Promise.reject(new Error('CAP_NET_RAW is missing'));
      return Promise.resolve(vips);
    },
    retryMs: 10,
  });
  onTestFinished(() => made.destroy());
  const swap = async (state: MeshState): Promise<void> => {
    await store.swap(state);
    serving.set(views.current?.index.state.vips ?? []);
  };
  return { made, vips, serving, swap, starts: () => starts, failStarts };
}

describe('VipRunner', () => {
  it('starts nothing while there are no virtual IPs', async () => {
    const { starts, swap, vips } = await runner(stateWith());
    await new Promise((done) => setTimeout(done, 20));
    expect(starts()).toBe(0);
    await swap(stateWith(l2));
    await until(() => vips.calls.includes('apply l2'));
    expect(starts()).toBe(1);
  });

  it('follows snapshots and readiness with one manager, sessions before assignments', async () => {
    const { made, starts, swap, serving, vips } = await runner(stateWith(l2));
    await until(() => vips.calls.at(-1) === 'apply l2');
    await swap(stateWith(l2, bgp));
    await until(() => vips.calls.at(-1) === 'apply l2 bgp');
    expect(vips.calls.at(-2)).toBe('bgp as 64513');
    serving.set([]);
    await until(() => vips.calls.slice(-3).join() === 'apply ,bgp as 64513,apply ');
    await swap(stateWith());
    await until(() => vips.calls.at(-2) === 'no bgp');
    expect(starts()).toBe(1);
    await made.close();
    expect(vips.calls.at(-1)).toBe('close');
  });

  it('withdraws before it ends the sessions that told of it', async () => {
    const { swap, vips } = await runner(stateWith(l2, bgp));
    await until(() => vips.calls.at(-1) === 'apply l2 bgp');
    vips.calls.splice(0);
    await swap(stateWith(l2));
    await until(() => vips.calls.length >= 3);
    expect(vips.calls.slice(0, 3)).toEqual(['apply l2', 'no bgp', 'apply l2']);
    // An address alone counts as well.
    await swap(stateWith({ ...l2, addresses: ['203.0.113.1', '203.0.113.3'] }));
    await until(() => vips.addresses.at(-1) === '203.0.113.1 203.0.113.3');
    await swap(stateWith({ ...l2, addresses: ['203.0.113.3', '203.0.113.4'] }));
    await until(() => vips.addresses.at(-1) === '203.0.113.3 203.0.113.4');
    expect(vips.addresses.at(-2)).toBe('203.0.113.3');
  });

  it('tries again what failed, and says nothing but the newest', async () => {
    const { swap, vips } = await runner(stateWith(l2));
    await until(() => vips.calls.includes('apply l2'));
    vips.failures = 2;
    await swap(stateWith(bgp));
    await swap(stateWith(l2, bgp));
    await until(() => vips.calls.at(-1) === 'apply l2 bgp');
  });

  it('tries again to start, and can be closed meanwhile', async () => {
    const { made, starts, failStarts, swap, vips } = await runner(stateWith());
    failStarts.left = 2;
    await swap(stateWith(l2));
    await until(() => vips.calls.includes('apply l2'));
    expect(starts()).toBe(3);
    await made.close();
    await swap(stateWith(bgp));
    expect(vips.calls.at(-1)).toBe('close');
  });
});
