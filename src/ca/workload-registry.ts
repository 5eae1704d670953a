import type { SpiffeId } from '../spiffe/index.js';

/** Knows which workloads run where; the CA asks before it speaks for one. */
export interface WorkloadRegistry {
  /** Whether a workload with this identity runs on the node called `node`, now. Only exactly `true` lets a token be issued. */
  runsOn(node: string, id: SpiffeId): boolean | Promise<boolean>;
}
