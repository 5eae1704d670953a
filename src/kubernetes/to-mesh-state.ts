import type { MeshSettings, MeshState } from '../mesh/index.js';
import { readEnrolment } from './annotations.js';
import type { MtlsMode } from './annotations.js';
import { hostInterfaceAnnotation } from './annotations.js';
import { denialsFor } from './denials.js';
import { withoutDuplicates } from './duplicates.js';
import type { BrokenManifest, ManifestObject } from './manifest-object.js';
import { objectKey, problemAt } from './manifest-object.js';
import { showValue } from './manifest-problem.js';
import type { ManifestProblem } from './manifest-problem.js';
import { MappingContext } from './mapping-context.js';
import { mapNodes } from './map-nodes.js';
import type { PoolAllocation } from './ip-pools.js';
import { mapPods } from './map-pods.js';
import { mapServices } from './map-services.js';
import type { MappedService } from './map-services.js';
import { mapVips } from './map-vips.js';
import { MtlsModes } from './mtls-mode.js';
import { OwnerIndex } from './owners.js';
import type { RunningPod } from './pod.js';
import { checkPolicies, engineValidator, isPolicy, missingTargets } from './policies.js';
import type { ValidatePolicy } from './policies.js';
import { salvageService } from './salvage.js';

export interface MappingOptions {
  /** The mesh's trust domain, such as `cluster.local`. */
  readonly trustDomain: string;
  /** Namespace whose Istio policies and PeerAuthentications apply to the whole mesh. Default `istio-system`. */
  readonly rootNamespace?: string | undefined;
  /** Default: `allow` where no policy targets, and declared probe ports open to the host. */
  readonly settings?: Partial<MeshSettings> | undefined;
  /** Judges each policy. Default: `AuthzEngine.compile`, so that no agent is sent a policy that it would refuse. */
  readonly validatePolicy?: ValidatePolicy | undefined;
}

/** What mappings before this one decided, and this one must keep to. */
export interface MappingMemory {
  /** Addresses that pools gave out (`MappedState.poolAllocations`). Without it, addresses move when VIPs come and go. */
  readonly poolAllocations?: readonly PoolAllocation[] | undefined;
}

export interface ToMeshStateOptions extends MappingOptions, MappingMemory {
  /** What `parseManifests` could not use; what it targets is denied. */
  readonly broken?: readonly BrokenManifest[] | undefined;
}

export interface MappedState {
  readonly state: MeshState;
  readonly problems: readonly ManifestProblem[];
  /** To be kept, and handed to the next mapping. */
  readonly poolAllocations: readonly PoolAllocation[];
}

/**
 * Maps manifests to mesh resources. Pure, and never throws for what manifests say: whatever is wrong is in `problems`,
 * costs only the object or part it is in, and is decided closed (docs/configuration.md has the rules). The result is
 * independent of the order of `objects`, except that of two objects of one name the first counts.
 *
 * @example
 * const { objects, broken } = parseManifests(text, { file: 'mesh.yaml' });
 * const { state, problems } = toMeshState(objects, { trustDomain: 'cluster.local', broken });
 */
export function toMeshState(objects: readonly ManifestObject[], options: ToMeshStateOptions): MappedState {
  const rootNamespace = options.rootNamespace ?? 'istio-system';
  const { trustDomain, settings } = options;
  const validate =
    options.validatePolicy ??
    engineValidator({ trustDomain, rootNamespace, meshwrightDialect: settings?.meshwrightDialect });
  const unique = withoutDuplicates(objects);
  const checked = checkPolicies(unique.objects, validate);
  const broken = [...(options.broken ?? []), ...unique.broken, ...checked.broken];
  const mapped = mapCheckedObjects(checked.usable, broken, options);
  return { ...mapped, problems: [...unique.problems, ...checked.problems, ...mapped.problems] };
}

/** As `toMeshState`, for objects without duplicates whose policies were judged already. */
export function mapCheckedObjects(
  objects: readonly ManifestObject[],
  broken: readonly BrokenManifest[],
  options: MappingOptions & MappingMemory,
): MappedState {
  const rootNamespace = options.rootNamespace ?? 'istio-system';
  const present = new Set(objects.map(objectKey));
  const salvaged = withoutDuplicates(
    broken
      .map(salvageService)
      .filter((each) => each !== undefined && !present.has(objectKey(each))) as ManifestObject[],
  ).objects;
  const context = new MappingContext([...objects, ...salvaged]);
  const nodes = mapNodes(context);
  const pods = mapPods(context, nodes);
  const services = mapServices(context, pods, new Set(salvaged));
  const serviceNames = new Set(services.map(({ service }) => `${service.namespace}/${service.name}`));
  const policies = objects.filter(isPolicy).toSorted(byKey);
  context.problems.push(...missingTargets(policies, serviceNames));
  const meshServices = services.map(({ service }) => service).toSorted(byKey);
  const previous = options.poolAllocations ?? [];
  const { vips, allocations } = mapVips(context, { nodes, pods, services: meshServices, previous });
  const state: MeshState = {
    trustDomain: options.trustDomain,
    nodes: nodes.toSorted((a, b) => compare(a.name, b.name)),
    workloads: mapWorkloads(context, pods, services, rootNamespace).toSorted(byKey),
    services: meshServices,
    policies: policies.map(({ source, manifest }) => ({ source: `${source.file}:${String(source.line)}`, manifest })),
    vips: vips.toSorted((a, b) => compare(a.name, b.name)),
    denied: [...denialsFor(broken, { services: serviceNames, rootNamespace })],
    settings: {
      rootNamespace,
      defaultAction: options.settings?.defaultAction ?? 'allow',
      hostTraffic: options.settings?.hostTraffic ?? 'probes',
      meshwrightDialect: options.settings?.meshwrightDialect ?? false,
    },
  };
  return { state, problems: context.problems, poolAllocations: allocations };
}

function mapWorkloads(
  context: MappingContext,
  pods: readonly RunningPod[],
  services: readonly MappedService[],
  rootNamespace: string,
): MeshState['workloads'][number][] {
  const owners = new OwnerIndex(context);
  const modes = new MtlsModes(context, rootNamespace);
  const enrolledByService = new Set<RunningPod>();
  const serviceModes = new Map<RunningPod, MtlsMode[]>();
  for (const { service, pods: selected, mtlsMode } of services) {
    for (const pod of selected) {
      if (service.enrolled) enrolledByService.add(pod);
      if (mtlsMode !== undefined) serviceModes.set(pod, [...(serviceModes.get(pod) ?? []), mtlsMode]);
    }
  }
  return pods.map((pod) => {
    // Read in every case, so that a malformed value is reported even where something else enrols the pod.
    const annotated = readEnrolment(pod.object, pod.annotations, context.problems);
    const hostInterface = readHostInterface(context, pod);
    return {
      namespace: pod.object.namespace,
      name: pod.object.name,
      node: pod.node,
      serviceAccount: pod.serviceAccount,
      addresses: [...pod.addresses],
      labels: pod.labels,
      enrolled: annotated || enrolledByService.has(pod) || owners.enrols(pod),
      ready: pod.ready,
      ports: [...pod.ports],
      probePorts: [...pod.probePorts],
      mtlsMode: modes.modeOf(pod, serviceModes.get(pod) ?? []),
      ...(hostInterface === undefined ? {} : { hostInterface }),
    };
  });
}

function readHostInterface(context: MappingContext, pod: RunningPod): string | undefined {
  const name = pod.annotations[hostInterfaceAnnotation];
  if (name === undefined || /^[^\s/:"'\\]{1,15}$/.test(name)) return name;
  context.problems.push(
    problemAt(pod.object, ['metadata', 'annotations', hostInterfaceAnnotation], {
      expected: 'the name of a network interface, at most 15 characters',
      got: showValue(name),
      fix: 'correct the name; until then the agent finds the interface by route',
    }),
  );
  return undefined;
}

function byKey(a: { readonly namespace: string; readonly name: string }, b: typeof a): number {
  return compare(a.namespace, b.namespace) || compare(a.name, b.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
