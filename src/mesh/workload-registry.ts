import { readWorkloadId } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import type { MeshState } from './resources.js';

/**
 * Answers the CA's question "does such a workload run on that node?" from the newest mesh state. A workload of another
 * trust domain, or anything that is not a workload ID, runs nowhere.
 */
export function workloadRegistry(state: { readonly current: MeshState }): {
  runsOn(node: string, id: SpiffeId): boolean;
} {
  return {
    runsOn(node, id) {
      const workload = readWorkloadId(id);
      const { trustDomain, workloads } = state.current;
      if (workload === undefined || id.trustDomain.toString() !== trustDomain) return false;
      return workloads.some(
        (each) =>
          each.node === node &&
          each.namespace === workload.namespace &&
          each.serviceAccount === workload.serviceAccount,
      );
    },
  };
}
