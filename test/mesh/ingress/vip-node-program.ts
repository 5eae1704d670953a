/**
 * One node for tests: manifests from a file, mapped as the controller does, cut down as for an agent, and served and announced
 * as the reference agent does. Reads the file again on SIGHUP. Usage: vip-node-program.ts NODE FILE
 */
import { readFileSync } from 'node:fs';
import { parseManifests, toMeshState } from '../../../src/kubernetes/index.js';
import { VipIngress, VipRunner, prepareMeshView, scopeToNode, viewsOf } from '../../../src/mesh/index.js';
import type { MeshState, MeshView } from '../../../src/mesh/index.js';
import { SnapshotStore } from '../../../src/snapshot/index.js';
import { dialUpstream } from '../../../src/tproxy/index.js';
import { VipManager } from '../../../src/vip/index.js';

const [node = '', file = ''] = process.argv.slice(2);

function read(): MeshState {
  const { objects, broken } = parseManifests(readFileSync(file, 'utf8'), { file });
  const { state, problems } = toMeshState(objects, { trustDomain: 'cluster.local', broken });
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return scopeToNode(state, node);
}

const store = new SnapshotStore<MeshState, MeshView>({ prepare: prepareMeshView(node) });
await store.swap(read());
const views = viewsOf(store);
const ingress = new VipIngress({
  views,
  plaintext: { onConnection: ({ socket }) => Promise.resolve(void socket.destroy()) },
  dial: ({ destination, signal }) => dialUpstream({ destination, timeoutMs: 1_000, signal }),
});
const runner = new VipRunner({
  node,
  views,
  serving: ingress.serving,
  bgp: { passwords: new Map([['10.30.0.254', 's3cr3t']]) },
  start: () =>
    VipManager.create({
      node,
      quiesce: (address, options) => ingress.quiesce(address, options),
      // Also on a machine that has much else to do.
      quiesceMs: 10_000,
    }),
});
process.on('SIGHUP', () => void store.swap(read()));
process.on('SIGTERM', () => void runner.close().then(() => process.exit(0)));
setInterval(() => process.stdout.write(`${JSON.stringify(runner.report())}\n`), 100);
