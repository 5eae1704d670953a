/**
 * A node with a `VipManager`, to be killed or ended in order, that may serve its addresses by HTTP. One JSON argument;
 * `ready <resident MiB>` once it is made, `applied <ms>`, and `announcing <n> <ms since ready>` whenever the number of addresses that it announces has changed.
 */
import { createServer } from 'node:http';
import { socketAddress } from '../../src/core/index.js';
import type { LeaseStore } from '../../src/core/index.js';
import { EtcdLeaseStore } from '../../src/etcd/index.js';
import { ControllerLeaseStore, controlPlaneTransport } from '../../src/mesh/index.js';
import { TrustBundle, TrustDomain, X509Svid, controllerId } from '../../src/spiffe/index.js';
import { VipListener, VipManager } from '../../src/vip/index.js';
import type { VipAssignment, VipManagerOptions } from '../../src/vip/index.js';
import type { LeaseControllerAccess } from './lease-controller.js';

interface AgentOptions {
  readonly manager: VipManagerOptions;
  /** HTTP on all assigned addresses. */
  readonly serve?: { readonly name: string; readonly port: number; readonly quiesce: boolean };
  readonly etcd?: string;
  readonly controller?: LeaseControllerAccess;
  readonly assignments: readonly VipAssignment[];
}

// The manager alone does not keep a process alive.
setInterval(() => undefined, 60_000);

const { manager, serve, etcd, controller, assignments } = JSON.parse(process.argv[2] ?? '{}') as AgentOptions;
const leases = leaseStore();
const listeners = new Map<string, VipListener>();
if (serve !== undefined) {
  const http = createServer((request, response) => {
    const waitMs = Number(request.url?.slice(1));
    if (waitMs > 0) setTimeout(() => response.end(serve.name), waitMs);
    else response.end(serve.name);
  });
  for (const ip of assignments.flatMap(({ addresses }) => addresses)) {
    const listener = await VipListener.listen({
      address: socketAddress(ip, serve.port),
      onConnection: ({ socket }) => {
        http.emit('connection', socket);
        socket.resume();
      },
    });
    listeners.set(ip, listener);
  }
}
const vips = await VipManager.create({
  ...{ ...manager, leases },
  observer: (event) => {
    if (event.type === 'vip.quiesced') process.stdout.write(`quiesced ${event.outcome}\n`);
  },
  quiesce: serve?.quiesce === true ? (ip, options) => listeners.get(ip)?.quiesce(options) : undefined,
});
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

function leaseStore(): LeaseStore | undefined {
  if (etcd !== undefined) return new EtcdLeaseStore({ endpoints: [etcd] });
  if (controller === undefined) return undefined;
  const { address, chainPem, privateKeyPem } = controller;
  const trustDomain = TrustDomain.parse('cluster.local');
  const bundle = TrustBundle.parse(controller.bundle, trustDomain);
  const svid = X509Svid.fromPem({ chainPem, privateKeyPem });
  const transport = controlPlaneTransport({ address, svid, bundle, controller: controllerId(trustDomain) });
  return new ControllerLeaseStore({ transport });
}
