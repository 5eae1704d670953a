/** One node for tests: a VipManager told by its argument what to do. Prints each status as a line of JSON. */
import { MemoryLeaseStore } from '../../../src/core/index.js';
import { EtcdLeaseStore } from '../../../src/etcd/index.js';
import { VipManager } from '../../../src/vip/index.js';
import type { VipAssignment, VipManagerOptions } from '../../../src/vip/index.js';

export interface NodeProgramOptions {
  readonly node: string;
  /** URLs of etcd; none: a store of its own. */
  readonly etcd?: readonly string[];
  readonly interface: string;
  readonly assignments: readonly VipAssignment[];
  readonly manager?: Partial<VipManagerOptions>;
}

const { node, etcd, interface: device, assignments, manager } = JSON.parse(process.argv[2] ?? '') as NodeProgramOptions;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const leases =
  etcd === undefined ? new MemoryLeaseStore() : new EtcdLeaseStore({ endpoints: etcd, requestTimeoutMs: 400 });

// Wall time jumps about, and nothing may come of it.
let skew = 0;
const realNow = Date.now;
Date.now = () => realNow() + skew;
process.on('SIGUSR2', () => {
  skew = skew > 0 ? -86_400_000 : 86_400_000;
  say({ skew });
});

const vips = await VipManager.create({
  ...manager,
  ...{ node, leases },
  l2: { interface: device, ...manager?.l2 },
  observer: (event) => {
    if (event.type === 'vip.l2-conflict' || event.type === 'vip.lease' || event.type === 'vip.swept')
      say({ ...event, ...('fencingToken' in event ? { fencingToken: String(event.fencingToken) } : {}) });
  },
});
const stop = new AbortController();
void (async () => {
  for await (const status of vips.changes({ signal: stop.signal })) say({ type: 'status', ...status });
})();
process.on('SIGTERM', () => {
  void (async () => {
    await vips.close();
    if (leases instanceof EtcdLeaseStore) await leases.close();
    stop.abort();
    process.exit(0);
  })();
});
const startMs = performance.now();
await vips.apply(assignments);
say({ type: 'ready', applyMs: performance.now() - startMs });
process.on('message', () => undefined);
setInterval(() => undefined, 60_000);
