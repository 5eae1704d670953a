/**
 * One snapshot's resources, indexed by address for the two ends of the data path. Built once per snapshot and never
 * changed, so that a connection sees one consistent view however many snapshots follow.
 */
import { formatSocketAddress } from '../core/index.js';
import { MeshError } from './errors.js';
import type { MeshNode, MeshService, MeshState, ServicePort, Workload } from './resources.js';

/** `namespace/name`. */
export function resourceKey(resource: { readonly namespace: string; readonly name: string }): string {
  return `${resource.namespace}/${resource.name}`;
}

/**
 * The services whose addresses the mesh captures: those that are enrolled, and those with an enrolled workload behind
 * them. Without the second half, a ClusterIP that kube-proxy translates to an enrolled pod would be a way around the mesh.
 */
export function meshServices(state: MeshState): readonly MeshService[] {
  const enrolled = new Set(state.workloads.filter((workload) => workload.enrolled).map(resourceKey));
  return state.services.filter(
    (service) =>
      service.enrolled ||
      service.ports.some((port) => port.endpoints.some((endpoint) => enrolled.has(endpoint.workload))),
  );
}

/** Where a captured connection wants to go. */
export type Destination =
  | { readonly kind: 'service'; readonly service: MeshService; readonly port: ServicePort }
  | { readonly kind: 'workload'; readonly workload: Workload };

export class MeshIndex {
  readonly state: MeshState;
  /** The node this index was built for. */
  readonly node: string;
  readonly localWorkloads: readonly Workload[];
  readonly #nodes: ReadonlyMap<string, MeshNode>;
  readonly #workloadByAddress: ReadonlyMap<string, Workload>;
  readonly #workloadByKey: ReadonlyMap<string, Workload>;
  readonly #serviceByAddress: ReadonlyMap<string, Destination>;
  readonly #servicesByEndpoint: ReadonlyMap<string, readonly string[]>;
  readonly #denied: ReadonlyMap<string, string>;

  private constructor(state: MeshState, node: string) {
    this.state = state;
    this.node = node;
    this.localWorkloads = state.workloads.filter((workload) => workload.node === node);
    this.#nodes = indexOnce('node', state.nodes, ({ name }) => name);
    this.#workloadByKey = indexOnce('workload', state.workloads, resourceKey);
    indexOnce('service', state.services, resourceKey);
    this.#workloadByAddress = indexAddresses(state);
    this.#serviceByAddress = indexServices(state);
    this.#servicesByEndpoint = indexEndpoints(state, this.#workloadByKey, this.#workloadByAddress);
    this.#denied = new Map(state.denied.map((each) => [each.service, each.reason]));
  }

  /**
   * Indexes `state` as seen by `node`. Throws `MESH_STATE_INVALID` when a name occurs twice, when one address belongs to two
   * workloads or to a workload and a node, or one service address to two services: guessing which one is meant would be
   * guessing an identity.
   */
  static build(state: MeshState, node: string): MeshIndex {
    return new MeshIndex(state, node);
  }

  nodeNamed(name: string): MeshNode | undefined {
    return this.#nodes.get(name);
  }

  /** The workload that has this address, on whatever node. */
  workloadAt(ip: string): Workload | undefined {
    return this.#workloadByAddress.get(ip);
  }

  /** By `namespace/name`. */
  workloadNamed(key: string): Workload | undefined {
    return this.#workloadByKey.get(key);
  }

  /** The service of the mesh (`meshServices`) or enrolled workload behind a captured original destination. */
  destinationAt(ip: string, port: number): Destination | undefined {
    const service = this.#serviceByAddress.get(formatSocketAddress({ ip, port }));
    if (service !== undefined) return service;
    const workload = this.#workloadByAddress.get(ip);
    return workload?.enrolled === true ? { kind: 'workload', workload } : undefined;
  }

  /**
   * `namespace/name` of every service that has this pod and port as an endpoint, ready or not, at whichever of the pod's
   * addresses: while an endpoint is not ready, or when a pod is dialled at an address that its service does not list, the
   * service's policies must still apply. At a port that is no endpoint of any service, every service of the pod counts, so
   * that a port nobody declared is not a way around the policies of those that were.
   */
  servicesOf(ip: string, port: number): readonly string[] {
    return this.#servicesByEndpoint.get(formatSocketAddress({ ip, port })) ?? this.#servicesByEndpoint.get(ip) ?? [];
  }

  /**
   * Why everything to a workload of `namespace` that belongs to these services is denied, or undefined when nothing is.
   * A denial names a service, a whole namespace (`namespace/*`), or everything (`*`).
   */
  deniedReason(namespace: string, services: readonly string[]): string | undefined {
    for (const denied of [...services, `${namespace}/*`, '*']) {
      const reason = this.#denied.get(denied);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }
}

function indexOnce<T>(kind: string, items: readonly T[], keyOf: (item: T) => string): Map<string, T> {
  const index = new Map<string, T>();
  for (const item of items) {
    const key = keyOf(item);
    if (index.has(key)) {
      throw new MeshError('MESH_STATE_INVALID', `expected every ${kind} once, but ${key} is there twice`, {
        fields: { [kind]: key },
      });
    }
    index.set(key, item);
  }
  return index;
}

function indexAddresses(state: MeshState): Map<string, Workload> {
  const index = new Map<string, Workload>();
  const nodeOf = new Map(state.nodes.flatMap(({ name, addresses }) => addresses.map((address) => [address, name])));
  for (const workload of state.workloads) {
    for (const address of workload.addresses) {
      const node = nodeOf.get(address);
      if (node !== undefined) {
        throw new MeshError(
          'MESH_STATE_INVALID',
          `expected a workload to have addresses of its own, but ${address} of ${resourceKey(workload)} is node ${node}'s; ` +
            'pods on the host network cannot be workloads of the mesh',
          { fields: { address, workload: resourceKey(workload), node } },
        );
      }
      const other = index.get(address);
      if (other !== undefined) {
        throw new MeshError(
          'MESH_STATE_INVALID',
          `expected every address to belong to one workload, but ${address} belongs to ${resourceKey(other)} and ${resourceKey(workload)}; ` +
            'delete the pod that is gone or correct its IP',
          { fields: { address, workloads: [resourceKey(other), resourceKey(workload)] } },
        );
      }
      index.set(address, workload);
    }
  }
  return index;
}

function indexServices(state: MeshState): Map<string, Destination> {
  const index = new Map<string, Destination>();
  for (const service of meshServices(state)) {
    for (const port of service.ports) {
      if (port.protocol !== 'TCP') continue;
      for (const ip of service.clusterIps) {
        const address = formatSocketAddress({ ip, port: port.port });
        const other = index.get(address);
        if (other?.kind === 'service') {
          throw new MeshError(
            'MESH_STATE_INVALID',
            `expected every service address to belong to one service, but ${address} belongs to ${resourceKey(other.service)} and ${resourceKey(service)}`,
            { fields: { address } },
          );
        }
        index.set(address, { kind: 'service', service, port });
      }
    }
  }
  return index;
}

/**
 * Whose endpoint an address is, is told by the workload's name and by the address itself: should the two ever disagree, the
 * service's policies apply to both.
 */
function indexEndpoints(
  state: MeshState,
  workloadByKey: ReadonlyMap<string, Workload>,
  workloadByAddress: ReadonlyMap<string, Workload>,
): Map<string, string[]> {
  const index = new Map<string, string[]>();
  for (const service of state.services) {
    for (const port of service.ports) {
      if (port.protocol !== 'TCP') continue;
      for (const endpoint of port.endpoints) {
        const named = workloadByKey.get(endpoint.workload)?.addresses ?? [];
        const owner = workloadByAddress.get(endpoint.address)?.addresses ?? [];
        for (const ip of new Set([endpoint.address, ...named, ...owner])) {
          // Under the address alone: the services of the pod, whatever the port.
          for (const key of [formatSocketAddress({ ip, port: endpoint.port }), ip]) {
            const services = index.get(key) ?? [];
            if (!services.includes(resourceKey(service))) services.push(resourceKey(service));
            index.set(key, services);
          }
        }
      }
    }
  }
  return index;
}
