/** The resource model of a test mesh, from its options: what a controller would have read from manifests. */
import type { MeshStateInput } from '../mesh/index.js';
import { TestingError } from './errors.js';
import type { TestMeshOptions, TestServiceOptions, TestWorkloadOptions } from './test-mesh-options.js';

/** Addresses are made up in the usual ranges. Throws `TESTING_ARGUMENT_INVALID`. */
export function modelOf(options: TestMeshOptions): MeshStateInput {
  const entries = Object.entries(options.workloads);
  const nodes = options.nodes ?? [...new Set(entries.map(([, { node }]) => node))];
  const workloads = entries.map(([key, workload], index) => {
    const { namespace, name } = splitKey(key);
    const ports = Object.keys(workload.servers ?? {}).map(Number);
    return {
      namespace,
      name,
      node: workload.node,
      serviceAccount: workload.serviceAccount ?? name,
      addresses: [`10.244.${String(nodes.indexOf(workload.node) + 1)}.${String(index + 10)}`],
      labels: { ...workload.labels },
      enrolled: workload.enrolled ?? ports.length > 0,
      ready: workload.ready ?? true,
      ports: ports.map((port) => ({ port })),
      mtlsMode: workload.mtlsMode ?? ('STRICT' as const),
    };
  });
  const services = Object.entries(options.services ?? {}).map(([key, service], index) => {
    const targetPort = targetPortOf(key, service, options.workloads);
    return {
      ...splitKey(key),
      clusterIps: [`10.96.0.${String(index + 10)}`],
      enrolled: true,
      ports: [
        {
          port: service.port ?? targetPort,
          endpoints: service.workloads.map((workload) => {
            const found = workloads.find(({ namespace, name }) => `${namespace}/${name}` === workload);
            if (found === undefined) {
              throw new TestingError(
                'TESTING_ARGUMENT_INVALID',
                `service ${key} names ${workload}, which is no workload`,
              );
            }
            const { addresses, node, ready } = found;
            return { address: addresses[0] ?? '', port: targetPort, workload, node, ready };
          }),
        },
      ],
    };
  });
  return {
    trustDomain: options.trustDomain ?? 'cluster.local',
    nodes: nodes.map((name) => ({ name, addresses: ['127.0.0.1'] })),
    workloads,
    services,
    policies: (options.policies ?? []).map((manifest) => ({ manifest: { ...manifest } })),
    settings: { ...options.settings },
  };
}

function targetPortOf(
  key: string,
  service: TestServiceOptions,
  workloads: Readonly<Record<string, TestWorkloadOptions>>,
): number {
  const first = service.workloads[0];
  const served = Object.keys((first === undefined ? undefined : workloads[first]?.servers) ?? {}).map(Number);
  const targetPort = service.targetPort ?? (served.length === 1 ? served[0] : undefined);
  if (targetPort === undefined) {
    throw new TestingError(
      'TESTING_ARGUMENT_INVALID',
      `service ${key} needs a targetPort: its first workload serves ${String(served.length)} ports`,
    );
  }
  return targetPort;
}

function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const [namespace, name, ...rest] = key.split('/');
  if (namespace === undefined || name === undefined || namespace === '' || name === '' || rest.length > 0) {
    throw new TestingError('TESTING_ARGUMENT_INVALID', `expected namespace/name, got ${JSON.stringify(key)}`);
  }
  return { namespace, name };
}
