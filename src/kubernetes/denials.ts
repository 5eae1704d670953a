/** What is denied because a manifest that would have a say in it cannot be used. */
import type { MeshState } from '../mesh/index.js';
import { policyKinds } from './kinds.js';
import type { BrokenManifest } from './manifest-object.js';
import { field, targetService } from './policies.js';

type Denial = MeshState['denied'][number];

export interface DenialScope {
  /** `namespace/name` of every service. */
  readonly services: Iterable<string>;
  readonly rootNamespace: string;
}

/**
 * A broken policy denies what it targets: the service it names, or of the root namespace the namespace or the mesh;
 * where that cannot be read, every service of its namespace (`namespace/*` as well); where not even that can be read,
 * everything. A broken Service denies itself. Other kinds deny nothing: without them something is unknown, and the
 * unknown is refused anyway.
 */
export function denialsFor(broken: readonly BrokenManifest[], scope: DenialScope): readonly Denial[] {
  const services = [...scope.services];
  const denied = new Map<string, string>();
  for (const manifest of broken) {
    const reason = `${describe(manifest)} cannot be used: ${manifest.reason}`;
    for (const service of targets(manifest, services, scope.rootNamespace)) {
      if (!denied.has(service)) denied.set(service, reason);
    }
  }
  return [...denied].map(([service, reason]) => ({ service, reason })).sort((a, b) => (a.service < b.service ? -1 : 1));
}

function targets(broken: BrokenManifest, services: readonly string[], rootNamespace: string): readonly string[] {
  const { kind, namespace, name } = broken;
  if (kind === 'Service') return namespace === undefined || name === undefined ? [] : [`${namespace}/${name}`];
  if (kind === 'ProxyPolicy' && field(field(broken.manifest, 'spec'), 'type') !== 'MeshAuthorization') {
    // Of another type for certain, or of a type that cannot be read.
    if (broken.parsed && typeof field(field(broken.manifest, 'spec'), 'type') === 'string') return [];
  }
  const isPolicy = kind === undefined || !broken.parsed ? broken.mayBePolicy : policyKinds.includes(kind);
  if (!isPolicy) return [];
  if (namespace === undefined) return ['*'];
  const target = kind === 'ProxyPolicy' ? targetService(broken.manifest) : undefined;
  if (target !== undefined) return [`${namespace}/${target}`];
  const ref = kind === 'ProxyPolicy' ? field(field(broken.manifest, 'spec'), 'targetRef') : undefined;
  const wide = namespace === rootNamespace ? field(ref, 'kind') : undefined;
  if (wide === 'Mesh') return ['*'];
  const other = field(ref, 'name');
  if (wide === 'Namespace' && typeof other === 'string') return allOf(other, services);
  if (kind === 'AuthorizationPolicy' && namespace === rootNamespace) return ['*'];
  return allOf(namespace, services);
}

function allOf(namespace: string, services: readonly string[]): readonly string[] {
  return [`${namespace}/*`, ...services.filter((service) => service.startsWith(`${namespace}/`))];
}

function describe({ kind, namespace, name, source }: BrokenManifest): string {
  const object = kind === undefined || name === undefined ? 'a manifest' : `${kind} ${namespace ?? '?'}/${name}`;
  return `${object} at ${source.file}:${String(source.line)}`;
}
