/** ProxyVIP and the Services that stand behind one -> virtual IPs of the mesh. */
import type { MeshNode, MeshService, MeshVip } from '../mesh/index.js';
import { vipRefAnnotation } from './annotations.js';
import type { PoolAllocation } from './ip-pools.js';
import { problemAt } from './manifest-object.js';
import { showValue } from './manifest-problem.js';
import type { FieldPath } from './manifest-problem.js';
import type { MappingContext, Typed } from './mapping-context.js';
import type { RunningPod } from './pod.js';
import type { NodeManifest, ServiceManifest } from './schemas.js';
import { matchesSelector } from './selector.js';
import { addressesOfVips } from './vip-addresses.js';
import { SpeakerRegister, readBfd, readBgp } from './vip-routing.js';
import { warnOfUnknownFields } from './unknown-fields.js';
import { proxyVipFields } from './vip-schemas.js';
import type { ProxyVipManifest } from './vip-schemas.js';

type TypedVip = Typed<ProxyVipManifest>;

export interface MapVipsInput {
  readonly nodes: readonly MeshNode[];
  readonly pods: readonly RunningPod[];
  readonly services: readonly MeshService[];
  /** What pools gave out before. */
  readonly previous: readonly PoolAllocation[];
}

export interface MappedVips {
  readonly vips: readonly MeshVip[];
  readonly allocations: readonly PoolAllocation[];
}

/** A VIP that cannot be as written is left out and reported: announcing something else would be worse than nothing. */
export function mapVips(context: MappingContext, input: MapVipsInput): MappedVips {
  const { addresses, allocations } = addressesOfVips(context, reservedAddresses(input), input.previous);
  const speakers = new SpeakerRegister();
  const vips = [...addresses].flatMap(([vip, own]) => mapVip(context, vip, own, { input, speakers }));
  reportDanglingReferences(context);
  return { vips, allocations };
}

interface Shared {
  readonly input: MapVipsInput;
  readonly speakers: SpeakerRegister;
}

function mapVip(
  context: MappingContext,
  vip: TypedVip,
  addresses: readonly string[],
  { input, speakers }: Shared,
): readonly MeshVip[] {
  const { object, manifest } = vip;
  const { spec } = manifest;
  warnOfUnknownFields(context, object, proxyVipFields({}), spec);
  const wrong = (path: FieldPath, expected: string, got: string, fix: string): readonly MeshVip[] => {
    context.problems.push(problemAt(object, path, { expected, got, fix: `${fix}; until then this VIP is left out` }));
    return [];
  };
  const mode = modes[spec.mode];
  if (mode === undefined) {
    return wrong(['spec', 'mode'], 'L2ARP or BGP', showValue(spec.mode), 'choose one of these modes');
  }
  const device = spec.interface;
  if (device !== undefined && !/^[^\s/:"'\\]{1,15}$/.test(device)) {
    return wrong(['spec', 'interface'], 'the name of a network interface', showValue(device), 'correct the name');
  }
  const nodes = nodesOf(context, vip, input.nodes);
  const least = spec.healthPolicy?.minHealthyNodes ?? 1;
  if (nodes.length < least) {
    const expected = `at least ${String(least)} ${least === 1 ? 'node' : 'nodes'} that can announce it`;
    return wrong(['spec', 'nodeSelector'], expected, String(nodes.length), 'label more nodes, or select more of them');
  }
  const common = {
    name: object.name,
    addresses: [...addresses],
    nodes: nodes.map(({ name }) => name),
    ports: [...new Set(spec.ports ?? [])].toSorted((a, b) => a - b),
    targets: [...targetsOf(context, vip, input.services)],
    ...(device === undefined ? {} : { interface: device }),
  };
  if (mode === 'l2') return [{ ...common, mode }];
  const bfd = readBfd(context, vip);
  if (bfd === 'malformed') return [];
  const bgp = readBgp(context, vip, nodes, speakers);
  if (bgp === undefined) return [];
  return [{ ...common, mode, nodes: bgp.speakers.map(({ node }) => node), bgp, ...(bfd === undefined ? {} : { bfd }) }];
}

/** Both names that the documents of the format use. */
const modes: Readonly<Record<string, 'l2' | 'bgp' | undefined>> = { L2ARP: 'l2', L2: 'l2', BGP: 'bgp' };

function nodesOf(context: MappingContext, { manifest }: TypedVip, nodes: readonly MeshNode[]): readonly MeshNode[] {
  const { nodeSelector } = manifest.spec;
  if (nodeSelector === undefined) return nodes.toSorted(byName);
  const labels = new Map(
    context.all<NodeManifest>('Node').map((node) => [node.object.name, node.manifest.metadata.labels ?? {}]),
  );
  return nodes.filter(({ name }) => matchesSelector(labels.get(name) ?? {}, nodeSelector)).toSorted(byName);
}

function byName(a: MeshNode, b: MeshNode): number {
  return a.name < b.name ? -1 : 1;
}

/** Services that name this VIP: each of their TCP ports that the VIP has. Two for one port lead nowhere. */
function targetsOf(
  context: MappingContext,
  { object, manifest }: TypedVip,
  services: readonly MeshService[],
): MeshVip['targets'] {
  const targets = new Map<number, MeshVip['targets'][number]>();
  const contested = new Set<number>();
  for (const service of context.all<ServiceManifest>('Service')) {
    const path = ['metadata', 'annotations', vipRefAnnotation];
    if (service.manifest.metadata.annotations?.[vipRefAnnotation] !== object.name) continue;
    const mapped = services.find(
      ({ namespace, name }) => namespace === service.object.namespace && name === service.object.name,
    );
    const shared = (mapped?.ports ?? []).filter(
      ({ port, protocol }) => protocol === 'TCP' && (manifest.spec.ports ?? []).includes(port),
    );
    if (mapped === undefined || shared.length === 0) {
      context.problems.push(
        problemAt(service.object, path, {
          expected: `a TCP port that ProxyVIP ${object.name} has too`,
          got: 'none',
          fix: 'add the port to one of them; until then the VIP does not lead here',
        }),
      );
      continue;
    }
    for (const { port } of shared) {
      const other = targets.get(port);
      const key = `${mapped.namespace}/${mapped.name}`;
      if (other === undefined) targets.set(port, { port, service: key, servicePort: port });
      else {
        contested.add(port);
        context.problems.push(
          problemAt(service.object, path, {
            expected: `a port of ProxyVIP ${object.name} that no other service has`,
            got: `${String(port)}, which ${other.service} has`,
            fix: 'correct one of them; until then this port of the VIP leads nowhere',
          }),
        );
      }
    }
  }
  return [...targets.values()].filter(({ port }) => !contested.has(port)).toSorted((a, b) => a.port - b.port);
}

function reportDanglingReferences(context: MappingContext): void {
  const names = new Set(context.all<ProxyVipManifest>('ProxyVIP').map(({ object }) => object.name));
  for (const { object, manifest } of context.all<ServiceManifest>('Service')) {
    const name = manifest.metadata.annotations?.[vipRefAnnotation];
    if (name === undefined || names.has(name)) continue;
    context.problems.push(
      problemAt(object, ['metadata', 'annotations', vipRefAnnotation], {
        expected: 'the name of a ProxyVIP',
        got: showValue(name),
        fix: 'make that ProxyVIP or correct the name',
      }),
    );
  }
}

/** Addresses that no VIP may take, with whose they are. */
function reservedAddresses({ nodes, pods, services }: MapVipsInput): ReadonlyMap<string, string> {
  const reserved = new Map<string, string>();
  for (const { name, addresses } of nodes) for (const address of addresses) reserved.set(address, `node ${name}`);
  for (const { object, addresses } of pods) {
    for (const address of addresses) reserved.set(address, `pod ${object.namespace}/${object.name}`);
  }
  for (const { namespace, name, clusterIps } of services) {
    for (const address of clusterIps) reserved.set(address, `service ${namespace}/${name}`);
  }
  return reserved;
}
