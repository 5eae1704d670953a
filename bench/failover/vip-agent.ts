/**
 * A node with a `VipManager`, to be killed or ended in order. One JSON argument; `ready <resident MiB>` once it is made,
 * `applied <ms>`, and `announcing <n> <ms since ready>` whenever the number of addresses that it announces has changed.
 */
import { EtcdLeaseStore } from '../../src/etcd/index.js';
import { VipManager } from '../../src/vip/vip-manager.js';
import type { VipManagerOptions } from '../../src/vip/options.js';
import type { VipAssignment } from '../../src/vip/vip-assignment.js';

interface AgentOptions {
  readonly manager: VipManagerOptions;
  readonly etcd?: string;
  readonly assignments: readonly VipAssignment[];
}

// The manager alone does not keep a process alive.
setInterval(() => undefined, 60_000);

const { manager, etcd, assignments } = JSON.parse(process.argv[2] ?? '{}') as AgentOptions;
const leases = etcd === undefined ? undefined : new EtcdLeaseStore({ endpoints: [etcd] });
const vips = await VipManager.create({ ...manager, leases });
process.once('SIGTERM', () => {
  void (async () => {
    await vips.close();
    process.exit(0);
  })();
});
process.stdout.write(`ready ${String(process.memoryUsage.rss() / 2 ** 20)}\n`);
const readyMs = performance.now();
await vips.apply(assignments);
process.stdout.write(`applied ${String(performance.now() - readyMs)}\n`);
let told = -1;
for await (const status of vips.changes()) {
  void status;
  const count = vips.state.filter(({ state }) => state === 'announcing').length;
  if (count !== told) process.stdout.write(`announcing ${String(count)} ${String(performance.now() - readyMs)}\n`);
  told = count;
}
