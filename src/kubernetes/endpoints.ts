/** Where a service port leads: from EndpointSlices where the service has any, else Endpoints, else its selector. */
import { ipFamily, tryParseIp } from '../core/index.js';
import type { ServiceEndpoint } from '../mesh/index.js';
import type { ManifestObject } from './manifest-object.js';
import { problemAt } from './manifest-object.js';
import type { FieldPath } from './manifest-problem.js';
import type { MappingContext } from './mapping-context.js';
import { namedPort } from './pod.js';
import type { RunningPod } from './pod.js';
import type { EndpointPortManifest, EndpointSliceManifest, EndpointsManifest, ServiceManifest } from './schemas.js';
import { hasLabels } from './selector.js';

const sliceLabel = 'kubernetes.io/service-name';

export interface PortWanted {
  readonly port: number;
  readonly name: string | undefined;
  readonly protocol: 'TCP' | 'UDP';
  readonly targetPort: number | string;
}

/** A set of addresses and ports that was written down, whichever kind it came as. */
interface EndpointSet {
  readonly object: ManifestObject;
  readonly ports: readonly EndpointPortManifest[];
  readonly addresses: readonly {
    readonly text: string;
    readonly ready: boolean;
    readonly pod: string | undefined;
    readonly path: FieldPath;
  }[];
}

export class EndpointResolver {
  readonly #context: MappingContext;
  readonly #pods: readonly RunningPod[];
  readonly #podByAddress: ReadonlyMap<string, RunningPod>;
  readonly #sets: ReadonlyMap<string, readonly EndpointSet[]>;
  readonly #reported = new Set<string>();

  constructor(context: MappingContext, pods: readonly RunningPod[]) {
    this.#context = context;
    this.#pods = pods;
    this.#podByAddress = new Map(pods.flatMap((pod) => pod.addresses.map((address) => [address, pod] as const)));
    this.#sets = collectSets(context);
  }

  /** Pods that the service selects, or that its slices name. */
  podsOf(service: ManifestObject, manifest: ServiceManifest): readonly RunningPod[] {
    const selected = new Set(this.#selected(service, manifest));
    for (const set of this.#sets.get(serviceKey(service)) ?? []) {
      for (const { text } of set.addresses) {
        const pod = this.#podByAddress.get(tryParseIp(text) ?? '');
        if (pod !== undefined) selected.add(pod);
      }
    }
    return [...selected];
  }

  /** The endpoints of one port and of no other: ports of one service never mix. */
  endpointsOf(service: ManifestObject, manifest: ServiceManifest, wanted: PortWanted): readonly ServiceEndpoint[] {
    const sets = this.#sets.get(serviceKey(service));
    const found = sets === undefined ? this.#fromSelector(service, manifest, wanted) : this.#fromSets(sets, wanted);
    const unique = new Map(found.map((endpoint) => [`${endpoint.address} ${String(endpoint.port)}`, endpoint]));
    return [...unique.values()];
  }

  #selected(service: ManifestObject, manifest: ServiceManifest): readonly RunningPod[] {
    const selector = manifest.spec?.selector ?? {};
    if (Object.keys(selector).length === 0) return [];
    return this.#pods.filter((pod) => pod.object.namespace === service.namespace && hasLabels(pod.labels, selector));
  }

  #fromSelector(service: ManifestObject, manifest: ServiceManifest, wanted: PortWanted): ServiceEndpoint[] {
    const families = new Set(clusterIpsOf(manifest).map((ip) => ipFamily(ip)));
    return this.#selected(service, manifest).flatMap((pod) => {
      const { targetPort } = wanted;
      const port = typeof targetPort === 'number' ? targetPort : namedPort(pod, targetPort, wanted.protocol);
      if (port === undefined) return [];
      const ready = pod.ready || manifest.spec?.publishNotReadyAddresses === true;
      return pod.addresses
        .filter((address) => families.size === 0 || families.has(ipFamily(address)))
        .map((address) => endpoint(pod, address, port, ready));
    });
  }

  #fromSets(sets: readonly EndpointSet[], wanted: PortWanted): ServiceEndpoint[] {
    return sets.flatMap((set) => {
      const ports = set.ports.filter(
        ({ name, protocol }) => (name ?? '') === (wanted.name ?? '') && (protocol ?? 'TCP') === wanted.protocol,
      );
      return set.addresses.flatMap(({ text, ready, pod: named, path }) => {
        const address = tryParseIp(text);
        const pod = address === undefined ? undefined : this.#podByAddress.get(address);
        if (address === undefined || pod === undefined || (named !== undefined && named !== podKey(pod))) {
          this.#reportStranger(set.object, path, named === undefined ? text : `${text} of pod ${named}`);
          return [];
        }
        return ports.flatMap(({ port }) => (port === undefined ? [] : [endpoint(pod, address, port, ready)]));
      });
    });
  }

  #reportStranger(object: ManifestObject, path: FieldPath, got: string): void {
    const problem = problemAt(object, path, {
      severity: 'warning',
      expected: 'the address of a pod of the mesh, and of the pod that targetRef names',
      got,
      fix: 'add the Pod or correct the address; until then the endpoint is not used',
    });
    // Once per address, not once per port of the service.
    const key = `${problem.file}:${problem.object}:${problem.field}`;
    if (this.#reported.has(key)) return;
    this.#reported.add(key);
    this.#context.problems.push(problem);
  }
}

/** The service's cluster IPs, canonical; empty for a headless one. */
export function clusterIpsOf(manifest: ServiceManifest): readonly string[] {
  const { clusterIP, clusterIPs } = manifest.spec ?? {};
  const written = [...(clusterIP === undefined ? [] : [clusterIP]), ...(clusterIPs ?? [])];
  return [...new Set(written.map((text) => tryParseIp(text)).filter((ip) => ip !== undefined))];
}

function endpoint(pod: RunningPod, address: string, port: number, ready: boolean): ServiceEndpoint {
  return { address, port, workload: podKey(pod), node: pod.node, ready };
}

function podKey(pod: RunningPod): string {
  return `${pod.object.namespace}/${pod.object.name}`;
}

function serviceKey(object: ManifestObject): string {
  return `${object.namespace}/${object.name}`;
}

type Reference = { readonly kind?: string; readonly name?: string; readonly namespace?: string } | undefined;

function podNamed(reference: Reference, object: ManifestObject): string | undefined {
  if (reference?.kind !== 'Pod' || reference.name === undefined) return undefined;
  return `${reference.namespace ?? object.namespace}/${reference.name}`;
}

function collectSets(context: MappingContext): ReadonlyMap<string, readonly EndpointSet[]> {
  const sets = new Map<string, EndpointSet[]>();
  const add = (key: string, set: EndpointSet): void => void sets.set(key, [...(sets.get(key) ?? []), set]);
  for (const { object, manifest } of context.all<EndpointSliceManifest>('EndpointSlice')) {
    const service = manifest.metadata.labels?.[sliceLabel];
    if (service === undefined || manifest.addressType === 'FQDN') continue;
    const addresses = (manifest.endpoints ?? []).flatMap((each, index) =>
      each.addresses.map((text, position) => ({
        text,
        ready: each.conditions?.ready ?? true,
        pod: podNamed(each.targetRef, object),
        path: ['endpoints', index, 'addresses', position],
      })),
    );
    add(`${object.namespace}/${service}`, { object, ports: manifest.ports ?? [], addresses });
  }
  const sliced = new Set(sets.keys());
  for (const { object, manifest } of context.all<EndpointsManifest>('Endpoints')) {
    const key = `${object.namespace}/${object.name}`;
    if (sliced.has(key)) continue;
    (manifest.subsets ?? []).forEach((subset, index) => {
      const read = (field: 'addresses' | 'notReadyAddresses'): EndpointSet['addresses'] =>
        (subset[field] ?? []).map(({ ip, targetRef }, position) => ({
          text: ip,
          ready: field === 'addresses',
          pod: podNamed(targetRef, object),
          path: ['subsets', index, field, position, 'ip'],
        }));
      add(key, { object, ports: subset.ports ?? [], addresses: [...read('addresses'), ...read('notReadyAddresses')] });
    });
  }
  return sets;
}
