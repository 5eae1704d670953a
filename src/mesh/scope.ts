import { meshServices, resourceKey } from './mesh-index.js';
import type { MeshState, PolicyManifest, ServiceEndpoint, Workload } from './resources.js';

/**
 * Cuts a mesh state down to what the agent of `node` needs: its own workloads in full; of the others only what it takes
 * to dial them and to recognise their addresses (no labels, no probe ports); the mesh's services, and those with a
 * local endpoint; and only policies that can judge a local workload.
 */
export function scopeToNode(state: MeshState, node: string): MeshState {
  const local = state.workloads.filter((workload) => workload.node === node);
  const localKeys = new Set(local.map(resourceKey));
  const localAddresses = new Set(local.flatMap(({ addresses }) => addresses));
  // What an endpoint says of its node is not enough: a policy left out here is one that its pod's agent never sees.
  const isLocal = (endpoint: ServiceEndpoint): boolean =>
    endpoint.node === node || localKeys.has(endpoint.workload) || localAddresses.has(endpoint.address);
  const localServices = new Set(
    state.services.filter((service) => service.ports.some((port) => port.endpoints.some(isLocal))).map(resourceKey),
  );
  const inMesh = new Set(meshServices(state).map(resourceKey));
  const localNamespaces = new Set(local.map((workload) => workload.namespace));
  return {
    ...state,
    workloads: state.workloads.map((workload) => (workload.node === node ? workload : remote(workload))),
    services: state.services.filter(
      (service) => inMesh.has(resourceKey(service)) || localServices.has(resourceKey(service)),
    ),
    policies: state.policies.filter((policy) => concerns(policy, localServices, localNamespaces)),
    vips: state.vips.filter((vip) => vip.nodes.includes(node)),
    denied: state.denied.filter(
      ({ service }) =>
        service === '*' ||
        localServices.has(service) ||
        (service.endsWith('/*') && localNamespaces.has(service.slice(0, -2))),
    ),
  };
}

function remote(workload: Workload): Workload {
  return { ...workload, labels: {}, ports: [], probePorts: [], hostInterface: undefined };
}

/** Keeps every policy unless it names services of its own namespace and none of them has a local endpoint. */
function concerns(policy: PolicyManifest, services: ReadonlySet<string>, namespaces: ReadonlySet<string>): boolean {
  const { kind, metadata, spec } = policy.manifest as {
    kind?: unknown;
    metadata?: { namespace?: unknown };
    spec?: { targetRef?: { kind?: unknown; name?: unknown } };
  };
  if (kind !== 'ProxyPolicy') return true;
  const namespace = typeof metadata?.namespace === 'string' ? metadata.namespace : 'default';
  const target = spec?.targetRef;
  if (target?.kind === 'Service' && typeof target.name === 'string') return services.has(`${namespace}/${target.name}`);
  if (target?.kind === 'Mesh') return true;
  // Of the root namespace it may name another than its own.
  if (target?.kind === 'Namespace' && typeof target.name === 'string') return namespaces.has(target.name);
  return namespaces.has(namespace);
}
