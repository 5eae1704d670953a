/**
 * The three shapes of identity in a mesh. The readers take exactly these shapes and nothing that only resembles them,
 * whatever the trust domain: check that first (`verifyX509Svid` does).
 */
import { SpiffeId } from './spiffe-id.js';
import type { TrustDomain } from './trust-domain.js';

/** `spiffe://<td>/agent/<node>`. Throws `SPIFFE_ID_MALFORMED` for a node name that is not a path segment. */
export function agentId(trustDomain: TrustDomain, node: string): SpiffeId {
  return SpiffeId.fromSegments(trustDomain, 'agent', node);
}

/** `spiffe://<td>/ns/<namespace>/sa/<service account>`. Throws `SPIFFE_ID_MALFORMED`. */
export function workloadId(trustDomain: TrustDomain, namespace: string, serviceAccount: string): SpiffeId {
  return SpiffeId.fromSegments(trustDomain, 'ns', namespace, 'sa', serviceAccount);
}

/** `spiffe://<td>/controller`. */
export function controllerId(trustDomain: TrustDomain): SpiffeId {
  return SpiffeId.fromSegments(trustDomain, 'controller');
}

/** The node of an agent's ID; undefined for any other ID. */
export function readAgentId(id: SpiffeId): { readonly node: string } | undefined {
  const [kind, node, ...rest] = id.segments;
  return kind === 'agent' && node !== undefined && rest.length === 0 ? { node } : undefined;
}

/** Namespace and service account of a workload's ID; undefined for any other ID. */
export function readWorkloadId(
  id: SpiffeId,
): { readonly namespace: string; readonly serviceAccount: string } | undefined {
  const [ns, namespace, sa, serviceAccount, ...rest] = id.segments;
  if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined;
  return namespace === undefined || serviceAccount === undefined ? undefined : { namespace, serviceAccount };
}

export function isControllerId(id: SpiffeId): boolean {
  return id.path === '/controller';
}
