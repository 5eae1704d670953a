/** A Service that is malformed and never was good: what can still be read of it keeps protecting its pods. */
import { tryParseIp } from '../core/index.js';
import type { MeshService } from '../mesh/index.js';
import { meshAnnotation } from './annotations.js';
import type { BrokenManifest, ManifestObject } from './manifest-object.js';
import type { RunningPod } from './pod.js';
import { field } from './policies.js';
import { schemaDefects } from './validate-manifest.js';

/**
 * The readable part of an enrolled Service, so that its addresses stay captured and its pods enrolled while everything to
 * it is denied; undefined when it is not enrolled, or not even its name or selector can be read.
 */
export function salvageService(broken: BrokenManifest): ManifestObject | undefined {
  const { kind, namespace, name, source, manifest } = broken;
  if (kind !== 'Service' || namespace === undefined || name === undefined) return undefined;
  const metadata = field(manifest, 'metadata');
  const enrolment = field(field(metadata, 'annotations'), meshAnnotation);
  if (enrolment === undefined || enrolment === null || enrolment === 'disabled') return undefined;
  const spec = field(manifest, 'spec');
  const readable = {
    apiVersion: 'v1',
    kind,
    // Whatever else the annotation says, an unreadable value counts as enabled.
    metadata: { name, namespace, annotations: { [meshAnnotation]: 'enabled' } },
    spec: {
      clusterIPs: [field(spec, 'clusterIP'), ...listOf(field(spec, 'clusterIPs'))].filter(isIp),
      selector: field(spec, 'selector') ?? {},
      ports: listOf(field(spec, 'ports')).filter((port) => isReadable({ ports: [port] })),
    },
  };
  if (schemaDefects('Service', readable).length > 0) return undefined;
  return { kind, apiVersion: 'v1', namespace, name, manifest: readable, source };
}

/**
 * A salvaged service with every declared TCP port of its pods as an endpoint: since its ports could not all be read, each
 * of them may be one that its denial is about.
 */
export function guardAllPorts(service: MeshService, pods: readonly RunningPod[]): MeshService {
  const ports = new Map(service.ports.map((port) => [`${port.protocol} ${String(port.port)}`, port]));
  for (const pod of pods) {
    for (const { port, protocol } of pod.ports) {
      if (protocol !== 'TCP') continue;
      const key = `TCP ${String(port)}`;
      const guarded = ports.get(key) ?? { port, protocol, endpoints: [] };
      const workload = `${pod.object.namespace}/${pod.object.name}`;
      const endpoints = pod.addresses
        .filter((address) => !guarded.endpoints.some((each) => each.address === address && each.port === port))
        .map((address) => ({ address, port, workload, node: pod.node, ready: false }));
      ports.set(key, { ...guarded, endpoints: [...guarded.endpoints, ...endpoints] });
    }
  }
  return { ...service, ports: [...ports.values()] };
}

function isReadable(spec: Readonly<Record<string, unknown>>): boolean {
  return schemaDefects('Service', { metadata: { name: 'x' }, spec }).length === 0;
}

function isIp(value: unknown): boolean {
  return typeof value === 'string' && tryParseIp(value) !== undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
