import { formatSocketAddress } from '../core/index.js';
import type { MeshService } from '../mesh/index.js';
import { readEnrolment, readMtlsMode } from './annotations.js';
import type { MtlsMode } from './annotations.js';
import { EndpointResolver, clusterIpsOf } from './endpoints.js';
import type { ManifestObject } from './manifest-object.js';
import { problemAt } from './manifest-object.js';
import type { MappingContext, Typed } from './mapping-context.js';
import type { RunningPod } from './pod.js';
import { guardAllPorts } from './salvage.js';
import type { ServiceManifest } from './schemas.js';

export interface MappedService {
  readonly service: MeshService;
  readonly pods: readonly RunningPod[];
  readonly mtlsMode: MtlsMode | undefined;
}

/** Every Service but ExternalName ones, enrolled or not: policies of a service that is not enrolled still apply. `salvaged` ones are
 * the readable parts of broken ones. */
export function mapServices(
  context: MappingContext,
  pods: readonly RunningPod[],
  salvaged: ReadonlySet<ManifestObject>,
): readonly MappedService[] {
  const resolver = new EndpointResolver(context, pods);
  const mapped = context.all<ServiceManifest>('Service').flatMap((typed) => {
    const { object, manifest } = typed;
    if (manifest.spec?.type === 'ExternalName') {
      const fix = 'nothing to do: traffic that leaves the mesh is left alone';
      context.problems.push(
        problemAt(object, ['spec', 'type'], {
          severity: 'info',
          expected: 'a service with pods',
          got: 'ExternalName',
          fix,
        }),
      );
      return [];
    }
    const annotations = manifest.metadata.annotations ?? {};
    const service: MeshService = {
      namespace: object.namespace,
      name: object.name,
      clusterIps: [...clusterIpsOf(manifest)],
      enrolled: readEnrolment(object, annotations, context.problems),
      ports: mapPorts(context, resolver, typed),
    };
    const mtlsMode = readMtlsMode(object, annotations, context.problems);
    const selected = resolver.podsOf(object, manifest);
    const guarded = salvaged.has(object) ? guardAllPorts(service, selected) : service;
    return [{ object, mapped: { service: guarded, pods: selected, mtlsMode } }];
  });
  return withoutSharedAddresses(context, mapped);
}

function mapPorts(
  context: MappingContext,
  resolver: EndpointResolver,
  { object, manifest }: Typed<ServiceManifest>,
): MeshService['ports'] {
  const seen = new Set<string>();
  return (manifest.spec?.ports ?? []).flatMap(({ port, name, protocol = 'TCP', targetPort, appProtocol }, index) => {
    const path = ['spec', 'ports', index];
    if (protocol === 'SCTP') {
      const fix = 'nothing to do: only TCP is carried';
      context.problems.push(problemAt(object, path, { severity: 'info', expected: 'TCP', got: 'SCTP', fix }));
      return [];
    }
    const key = `${protocol} ${String(port)}`;
    if (seen.has(key)) {
      const fix = 'remove one of the two; until then only the first is used';
      context.problems.push(problemAt(object, path, { expected: 'every port once', got: key, fix }));
      return [];
    }
    seen.add(key);
    const wanted = { port, name, protocol, targetPort: targetPort ?? port };
    return [
      {
        port,
        protocol,
        ...(name === undefined ? {} : { name }),
        ...(appProtocol === undefined ? {} : { appProtocol }),
        endpoints: [...resolver.endpointsOf(object, manifest, wanted)],
      },
    ];
  });
}

/** A cluster IP and port that two services claim leads nowhere: whose policy would apply is a guess. */
function withoutSharedAddresses(
  context: MappingContext,
  all: readonly { readonly object: ManifestObject; readonly mapped: MappedService }[],
): readonly MappedService[] {
  const owners = new Map<string, Set<string>>();
  const addressesOf = ({ service }: MappedService, ip: string): string[] =>
    service.ports.map(({ port, protocol }) => `${protocol} ${formatSocketAddress({ ip, port })}`);
  for (const { mapped } of all) {
    for (const ip of mapped.service.clusterIps) {
      for (const address of addressesOf(mapped, ip)) {
        const claimed = owners.get(address) ?? new Set();
        owners.set(address, claimed.add(`${mapped.service.namespace}/${mapped.service.name}`));
      }
    }
  }
  return all.map(({ object, mapped }) => {
    const own = mapped.service.clusterIps.filter((ip) => {
      const shared = addressesOf(mapped, ip).find((address) => (owners.get(address)?.size ?? 0) > 1);
      if (shared === undefined) return true;
      context.problems.push(
        problemAt(object, ['spec', 'clusterIP'], {
          expected: 'an address and port of this service alone',
          got: `${shared}, claimed by ${[...(owners.get(shared) ?? [])].join(' and ')}`,
          fix: 'correct one of them; until then neither is reached through this address',
        }),
      );
      return false;
    });
    return { ...mapped, service: { ...mapped.service, clusterIps: own } };
  });
}
