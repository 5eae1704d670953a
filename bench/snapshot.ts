/** Reading the snapshot in force, beside reading a field; and how long a snapshot of many workloads takes to apply. */
import { parseMeshState, prepareMeshView } from 'meshwright/mesh';
import type { MeshState } from 'meshwright/mesh';
import { SnapshotStore } from 'meshwright/snapshot';
import { compare } from './support.js';

const readsPerRun = 20_000_000;

const store = new SnapshotStore<{ readonly n: number }, { readonly n: number }>({ prepare: (next) => next });
await store.swap({ n: 1 });
const plain = { current: { value: { n: 1 } } };
let sink = 0;
const reader = (name: string, read: () => number) => ({
  name,
  run: () => {
    for (let count = 0; count < readsPerRun; count += 1) sink += read();
    return { units: readsPerRun };
  },
});
await compare({
  title: 'snapshot reads',
  unit: 'read',
  contenders: [
    reader('a plain field', () => plain.current.value.n),
    reader('SnapshotStore.current', () => store.current?.value.n ?? 0),
  ],
});
if (sink === 0) throw new Error('nothing was read');

function state(workloads: number): MeshState {
  return parseMeshState({
    trustDomain: 'cluster.local',
    nodes: Array.from({ length: 100 }, (_, node) => ({
      name: `node-${String(node)}`,
      addresses: [`172.16.0.${String(node + 1)}`],
    })),
    workloads: Array.from({ length: workloads }, (_, index) => ({
      namespace: `ns-${String(index % 50)}`,
      name: `pod-${String(index)}`,
      node: `node-${String(index % 100)}`,
      addresses: [`10.${String((index >> 16) & 255)}.${String((index >> 8) & 255)}.${String(index & 255)}`],
      enrolled: index % 2 === 0,
    })),
    services: [],
    policies: [],
  });
}
const prepare = prepareMeshView('node-1');
await compare({
  title: 'agent snapshots applied',
  unit: 'workload',
  contenders: [1_000, 10_000].map((workloads) => {
    const next = state(workloads);
    return {
      name: `${String(workloads)} workloads`,
      run: () => {
        prepare(next);
        return { units: workloads };
      },
    };
  }),
});
