/** The kinds the mesh reads, and how a manifest is told to be one of them. */

const groupsAndVersions = {
  Node: ['v1'],
  Pod: ['v1'],
  Service: ['v1'],
  Endpoints: ['v1'],
  Deployment: ['apps/v1'],
  ReplicaSet: ['apps/v1'],
  EndpointSlice: ['discovery.k8s.io/v1'],
  ProxyPolicy: ['novaedge.io/v1alpha1'],
  ProxyVIP: ['novaedge.io/v1alpha1'],
  ProxyIPPool: ['novaedge.io/v1alpha1'],
  AuthorizationPolicy: ['security.istio.io/v1', 'security.istio.io/v1beta1'],
  PeerAuthentication: ['security.istio.io/v1', 'security.istio.io/v1beta1'],
} as const satisfies Record<string, readonly string[]>;

export type KnownKind = keyof typeof groupsAndVersions;

export const policyKinds: readonly string[] = ['ProxyPolicy', 'AuthorizationPolicy'];

/** Kinds whose name belongs to this mesh alone: any other API group is a slip of the pen, not another system's object. */
const ownKinds: readonly string[] = ['ProxyPolicy', 'ProxyVIP', 'ProxyIPPool'];

const clusterScopedKinds: readonly string[] = ['Node', 'ProxyVIP', 'ProxyIPPool'];

export type KindVerdict =
  | { readonly known: true; readonly kind: KnownKind }
  | { readonly known: false; readonly malformed: boolean; readonly expected: string };

/** Whether the mesh reads `kind` of `apiVersion`. A known kind of a known group in an unknown version is malformed. */
export function classifyKind(apiVersion: string, kind: string): KindVerdict {
  if (!Object.hasOwn(groupsAndVersions, kind)) return { known: false, malformed: false, expected: '' };
  const versions: readonly string[] = groupsAndVersions[kind as KnownKind];
  if (versions.includes(apiVersion)) return { known: true, kind: kind as KnownKind };
  const sameGroup = versions.some((version) => groupOf(version) === groupOf(apiVersion));
  return { known: false, malformed: sameGroup || ownKinds.includes(kind), expected: versions.join(' or ') };
}

export function isClusterScoped(kind: string): boolean {
  return clusterScopedKinds.includes(kind);
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}
