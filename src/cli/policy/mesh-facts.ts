/** What the mesh has, for lint: from a file of facts, or from the manifests that lie beside the policies. */
import { readTestMesh } from '../../authz/index.js';
import type { LintFacts, LintPort, LintService, TestMesh } from '../../authz/index.js';
import { readDocuments } from './files.js';
import type { LocatedDocument } from './files.js';

type Json = Readonly<Record<string, unknown>>;
type Workload = NonNullable<LintFacts['workloads']>[number];

/** Facts as test files have them: the file's `mesh`, or the file itself. Throws `AUTHZ_TEST_MALFORMED`. */
export function factsOfFile(file: string): LintFacts {
  const [document, ...others] = readDocuments(file);
  if (document === undefined || others.length > 0)
    throw new Error(`${file}: expected one YAML document with mesh facts`);
  return factsOfMesh(readTestMesh(fields(document.manifest).mesh ?? document.manifest));
}

export function factsOfMesh(mesh: TestMesh): LintFacts {
  const services = Object.entries(mesh.services);
  return {
    services: services.map(([name, { port, protocol }]) => ({
      name,
      ...(port === undefined ? {} : { ports: [{ port, protocol }] }),
    })),
    workloads: [
      ...Object.values(mesh.workloads).map(({ namespace, labels = {} }) => ({ namespace, labels })),
      ...services.map(([name, { labels = {} }]) => ({ namespace: name.slice(0, name.indexOf('/')), labels })),
    ],
  };
}

/** Facts from Services, Pods and what makes pods; kinds of which there is none are not checked. */
export function factsOfManifests(documents: readonly LocatedDocument[]): LintFacts {
  const manifests = documents.map(({ manifest }) => fields(manifest));
  const services = manifests.filter(({ kind }) => kind === 'Service').map(readService);
  const workloads = manifests.flatMap((manifest) => readWorkload(manifest) ?? []);
  return {
    complete: false,
    ...(services.length === 0 ? {} : { services }),
    ...(workloads.length === 0 ? {} : { workloads }),
  };
}

function readService({ metadata, spec }: Json): LintService {
  const { ports } = fields(spec);
  return {
    name: `${namespaceOf(metadata)}/${String(fields(metadata).name)}`,
    ...(Array.isArray(ports) ? { ports: ports.flatMap((port) => readPort(fields(port)) ?? []) } : {}),
  };
}

/** A target port by name is one of the pod's, which is not looked for: nothing is said of it. */
function readPort({ port, targetPort = port, name, appProtocol }: Json): LintPort | undefined {
  if (typeof targetPort !== 'number') return undefined;
  const protocol = (typeof appProtocol === 'string' ? appProtocol : typeof name === 'string' ? name : '').toLowerCase();
  if (/^(?:kubernetes\.io\/(?:h2c|ws)|http|http2|grpc|grpc-web|ws)(?:-.*)?$/.test(protocol))
    return { port: targetPort, protocol: 'http' };
  // Encrypted HTTP is opaque to the mesh.
  if (
    /^(?:kubernetes\.io\/wss|tcp|tls|https|mongo|mysql|postgres|postgresql|redis|amqp|kafka|wss)(?:-.*)?$/.test(
      protocol,
    )
  )
    return { port: targetPort, protocol: 'tcp' };
  return { port: targetPort };
}

const makers = ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'ReplicationController'];

function readWorkload({ kind, metadata, spec }: Json): Workload | undefined {
  const podOf = (owner: unknown): unknown => fields(fields(owner).template).metadata;
  const pod =
    kind === 'Pod'
      ? metadata
      : kind === 'CronJob'
        ? podOf(fields(fields(spec).jobTemplate).spec)
        : makers.includes(String(kind))
          ? podOf(spec)
          : undefined;
  if (pod === undefined) return undefined;
  const labels = Object.entries(fields(fields(pod).labels)).map(([name, value]) => [name, String(value)]);
  return { namespace: namespaceOf(metadata), labels: Object.fromEntries(labels) as Record<string, string> };
}

function namespaceOf(metadata: unknown): string {
  const { namespace } = fields(metadata);
  return typeof namespace === 'string' ? namespace : 'default';
}

function fields(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}
