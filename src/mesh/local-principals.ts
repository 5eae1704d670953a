import { TrustDomain, workloadId } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import type { MeshIndex } from './mesh-index.js';

/** The distinct identities of this node's workloads: those an agent needs tokens for. */
export function localPrincipals(index: MeshIndex): readonly SpiffeId[] {
  const trustDomain = TrustDomain.parse(index.state.trustDomain);
  const ids = new Map<string, SpiffeId>();
  for (const workload of index.localWorkloads) {
    const id = workloadId(trustDomain, workload.namespace, workload.serviceAccount);
    ids.set(id.toString(), id);
  }
  return [...ids.values()];
}
