import { tryParseIp } from '../core/index.js';
import type { WorkloadPort } from '../mesh/index.js';
import type { ManifestObject } from './manifest-object.js';
import type { ContainerManifest, ObjectMeta, PodManifest, ProbeManifest } from './schemas.js';

/** A pod that runs on a node and has addresses of its own, read but not yet judged. */
export interface RunningPod {
  readonly object: ManifestObject;
  readonly meta: ObjectMeta;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly node: string;
  readonly serviceAccount: string;
  /** Canonical, without repetition. */
  readonly addresses: readonly string[];
  readonly ports: readonly WorkloadPort[];
  readonly probePorts: readonly number[];
  readonly ready: boolean;
}

/** Why a pod is no workload of the mesh, or the pod. */
export function readPod(object: ManifestObject, manifest: PodManifest): RunningPod | string {
  const { spec = {}, status = {}, metadata } = manifest;
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return `a pod whose phase is ${status.phase}`;
  if (spec.hostNetwork === true) return 'a pod on the host network, which has no address of its own';
  if (spec.nodeName === undefined) return 'a pod without spec.nodeName, not scheduled yet';
  const written = [...(status.podIP === undefined ? [] : [status.podIP]), ...(status.podIPs ?? []).map(({ ip }) => ip)];
  const addresses = [...new Set(written.map((ip) => tryParseIp(ip)).filter((ip) => ip !== undefined))];
  if (addresses.length === 0) return 'a pod without status.podIP, not started yet';
  const containers = [
    ...(spec.containers ?? []),
    // An init container that restarts always is a sidecar: it serves and is probed like the others.
    ...(spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always'),
  ];
  return {
    object,
    meta: metadata,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    node: spec.nodeName,
    serviceAccount: spec.serviceAccountName ?? spec.serviceAccount ?? 'default',
    addresses,
    ports: containers.flatMap(containerPorts),
    probePorts: [...new Set(containers.flatMap(containerProbePorts))].sort((a, b) => a - b),
    ready: isReady(manifest),
  };
}

/** The pod's port with this name and protocol, as a Service's `targetPort` means it. */
export function namedPort(pod: RunningPod, name: string, protocol: 'TCP' | 'UDP'): number | undefined {
  return pod.ports.find((port) => port.name === name && port.protocol === protocol)?.port;
}

function containerPorts(container: ContainerManifest): WorkloadPort[] {
  return (container.ports ?? []).flatMap(({ containerPort, name, protocol = 'TCP' }) =>
    protocol === 'SCTP' ? [] : [{ port: containerPort, protocol, ...(name === undefined ? {} : { name }) }],
  );
}

function containerProbePorts(container: ContainerManifest): number[] {
  const probes = [container.livenessProbe, container.readinessProbe, container.startupProbe];
  return probes.flatMap((probe) => {
    const port = probe === undefined ? undefined : probePort(probe);
    if (typeof port === 'number') return [port];
    // A name means a port of the same container.
    const named = (container.ports ?? []).find((each) => each.name === port && (each.protocol ?? 'TCP') === 'TCP');
    return port === undefined || named === undefined ? [] : [named.containerPort];
  });
}

function probePort(probe: ProbeManifest): number | string | undefined {
  return probe.httpGet?.port ?? probe.tcpSocket?.port ?? probe.grpc?.port;
}

/** Without any conditions (a manifest written by hand) a pod counts as ready. */
function isReady({ metadata, status }: PodManifest): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  if (status?.conditions === undefined) return true;
  return status.conditions.some(({ type, status: value }) => type === 'Ready' && value === 'True');
}
