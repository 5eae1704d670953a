/**
 * A controller that keeps nothing but leases, in memory: <ip:port> <node>… Prints one line of JSON: the trust bundle, and an
 * SVID for each node's agent.
 */
import { generateKeyPairSync } from 'node:crypto';
import { SpiffeCA } from '../../src/ca/index.js';
import { MemoryLeaseStore, parseSocketAddress } from '../../src/core/index.js';
import { ControlPlaneServer, leaseRoutes, peerOf } from '../../src/mesh/index.js';
import { X509Svid, agentId, controllerId } from '../../src/spiffe/index.js';
import type { SpiffeId } from '../../src/spiffe/index.js';

/** What an agent needs to use the leases. */
export interface LeaseControllerAccess {
  readonly address: string;
  readonly bundle: unknown;
  readonly chainPem: string;
  readonly privateKeyPem: string;
}

const [address = '', ...nodes] = process.argv.slice(2);
const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
const svidOf = async (spiffeId: SpiffeId): Promise<X509Svid> => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await ca.issueX509Svid({ spiffeId, publicKey });
  return X509Svid.fromPem({ chainPem, privateKey });
};
const { ip, port } = parseSocketAddress(address);
await ControlPlaneServer.listen({
  ...{ host: ip, port, bundle: ca.bundle },
  svid: await svidOf(controllerId(ca.trustDomain)),
  routes: [leaseRoutes({ leases: new MemoryLeaseStore(), peerOf, mayHold: () => true })],
});
const access: Record<string, LeaseControllerAccess> = {};
for (const node of nodes) {
  const { chainPem, privateKeyPem } = await svidOf(agentId(ca.trustDomain, node));
  access[node] = { address, bundle: ca.bundle.current, chainPem, privateKeyPem };
}
process.stdout.write(`${JSON.stringify(access)}\n`);
