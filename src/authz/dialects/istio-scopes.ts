/** What an Istio policy applies to: the mesh, its namespace, selected pods, or the targets it names. */
import type { PolicyScope } from '../compiled-policy.js';
import { checkKeys, isFields, isObjectName, readArray } from '../manifest.js';
import type { Fields, ManifestIdentity, ManifestReport } from '../manifest.js';
import type { ResolvedOptions } from '../options.js';
import { show } from '../problem.js';
import { readSelector } from './selector.js';

export function readScopes(
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): readonly PolicyScope[] {
  const { spec, namespace } = identity;
  const refs = readTargetRefs(spec, report);
  if (refs === 'malformed') return [];
  const root = namespace === options.rootNamespace;
  if (refs === undefined) {
    const labels = readSelector(spec.selector, 'spec.selector', report);
    if (labels !== undefined) return [{ kind: 'selector', namespace: root ? undefined : namespace, labels }];
    return [root ? { kind: 'mesh' } : { kind: 'namespace', namespace }];
  }
  return refs.flatMap(({ ref, path }) => readTargetRef(ref, path, identity, root, report) ?? []);
}

/** A reference and where it stands. */
export interface LocatedRef {
  readonly ref: unknown;
  readonly path: string;
}

/** The references of `targetRefs`, or the one of `targetRef`; undefined when there are none. One of `selector` and these may be given. */
export function readTargetRefs(spec: Fields, report: ManifestReport): readonly LocatedRef[] | 'malformed' | undefined {
  const given = ['selector', 'targetRef', 'targetRefs'].filter((field) => spec[field] !== undefined);
  if (given.length > 1) {
    report.error(
      'two-targets',
      `spec.${given.at(-1) ?? ''}`,
      'one of selector, targetRef and targetRefs',
      given.join(' and '),
      'keep one of them',
    );
    return 'malformed';
  }
  if (spec.targetRef !== undefined) return [{ ref: spec.targetRef, path: 'spec.targetRef' }];
  if (spec.targetRefs === undefined) return undefined;
  const list = readArray(spec.targetRefs, 'spec.targetRefs', report, 'references');
  if (list === undefined) return 'malformed';
  if (list.length === 0) {
    report.error(
      'empty-list',
      'spec.targetRefs',
      'at least one reference',
      '[]',
      'leave targetRefs out for the whole namespace',
    );
    return 'malformed';
  }
  return list.map((ref, index) => ({ ref, path: `spec.targetRefs[${String(index)}]` }));
}

function readTargetRef(
  ref: unknown,
  path: string,
  { namespace }: ManifestIdentity,
  root: boolean,
  report: ManifestReport,
): PolicyScope | undefined {
  if (!isFields(ref)) {
    report.error('wrong-type', path, 'a reference with kind and name', show(ref), 'write group, kind and name');
    return undefined;
  }
  checkKeys(ref, ['group', 'kind', 'name', 'namespace'], path, report);
  const { name } = ref;
  if (!isObjectName(name)) {
    report.error('target-malformed', `${path}.name`, 'an object name', show(name), 'add the name of the target');
    return undefined;
  }
  if (ref.namespace !== undefined && ref.namespace !== namespace) {
    report.error(
      'target-foreign',
      `${path}.namespace`,
      `the policy's own namespace, ${namespace}`,
      show(ref.namespace),
      'put the policy into the namespace of its target',
    );
    return undefined;
  }
  const kind = qualifiedKind(ref);
  switch (kind) {
    case '/Service':
      return { kind: 'service', service: `${namespace}/${name}` };
    case 'gateway.networking.k8s.io/Gateway':
      return { kind: 'selector', namespace, labels: { 'gateway.networking.k8s.io/gateway-name': name } };
    case 'gateway.networking.k8s.io/GatewayClass':
      if (root && name === 'istio-waypoint') return { kind: 'mesh' };
      if (root) {
        report.error(
          'target-malformed',
          `${path}.name`,
          '"istio-waypoint"',
          show(name),
          'policies for other classes belong to their gateways',
        );
        return undefined;
      }
      report.error(
        'target-foreign',
        path,
        'a GatewayClass only from the root namespace',
        namespace,
        'move the policy to the root namespace',
      );
      return undefined;
    case 'networking.istio.io/ServiceEntry':
      return { kind: 'service', service: `serviceentry:${namespace}/${name}` };
    default:
      report.error(
        'target-malformed',
        `${path}.kind`,
        'Service, Gateway, GatewayClass or ServiceEntry with its group',
        show(kind ?? ref.kind),
        'correct group and kind',
      );
      return undefined;
  }
}

/** `group/kind`, of the core group `/kind`; undefined when one of the two is no text. */
export function qualifiedKind({ group = '', kind }: Fields): string | undefined {
  if (typeof group !== 'string' || typeof kind !== 'string') return undefined;
  return `${group === 'core' ? '' : group}/${kind}`;
}
