/** What an Istio policy applies to: the mesh, its namespace, selected pods, or the targets it names. */
import type { PolicyScope } from '../compiled-policy.js';
import { checkKeys, isFields, isObjectName, readArray } from '../manifest.js';
import type { ManifestIdentity, ManifestReport } from '../manifest.js';
import type { ResolvedOptions } from '../options.js';
import { show } from '../problem.js';
import { readSelector } from './selector.js';

export function readScopes(
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): readonly PolicyScope[] {
  const { spec, namespace } = identity;
  const refs = spec.targetRefs ?? (spec.targetRef === undefined ? undefined : [spec.targetRef]);
  if (spec.selector !== undefined && refs !== undefined) {
    report.error('two-targets', 'spec.targetRefs', 'selector or targetRefs', 'both', 'keep one of them');
    return [];
  }
  const root = namespace === options.rootNamespace;
  if (refs === undefined) {
    const labels = readSelector(spec.selector, 'spec.selector', report);
    if (labels !== undefined) return [{ kind: 'selector', namespace: root ? undefined : namespace, labels }];
    return [root ? { kind: 'mesh' } : { kind: 'namespace', namespace }];
  }
  const list = readArray(refs, 'spec.targetRefs', report, 'references') ?? [];
  if (list.length === 0)
    report.error(
      'empty-list',
      'spec.targetRefs',
      'at least one reference',
      show(refs),
      'leave targetRefs out for the whole namespace',
    );
  return list.flatMap(
    (ref, index) => readTargetRef(ref, `spec.targetRefs[${String(index)}]`, identity, root, report) ?? [],
  );
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
  const group = ref.group ?? '';
  const kind = `${group === 'core' ? '' : String(group)}/${String(ref.kind)}`;
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
        show(kind),
        'correct group and kind',
      );
      return undefined;
  }
}
