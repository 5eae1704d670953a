/** What a MeshAuthorization is for: a Service of its namespace or, with the meshwright dialect, a namespace or the mesh. */
import type { PolicyScope } from '../compiled-policy.js';
import { checkKeys, isFields, isObjectName } from '../manifest.js';
import type { Fields, ManifestIdentity, ManifestReport } from '../manifest.js';
import type { ResolvedOptions } from '../options.js';
import { show } from '../problem.js';
import { disabled } from './meshwright-fields.js';

export function readMeshTarget(
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): PolicyScope | undefined {
  const target = identity.spec.targetRef;
  if (!isFields(target)) {
    report.error(
      'target-missing',
      'spec.targetRef',
      'the Service that the policy is for',
      show(target),
      'add targetRef: { kind: Service, name: … }',
    );
    return undefined;
  }
  const before = report.errors;
  checkKeys(target, ['group', 'kind', 'name', 'namespace'], 'spec.targetRef', report);
  if (target.group !== undefined && target.group !== '' && target.group !== 'core') {
    report.error(
      'target-malformed',
      'spec.targetRef.group',
      'no group, as Service is of the core group',
      show(target.group),
      'remove group',
    );
  }
  const scope =
    target.kind === 'Namespace' || target.kind === 'Mesh'
      ? readWide(target, target.kind, identity, options, report)
      : readService(target, identity, report);
  return report.errors > before ? undefined : scope;
}

function readService(target: Fields, { namespace }: ManifestIdentity, report: ManifestReport): PolicyScope {
  if (target.kind !== 'Service') {
    report.error(
      'target-malformed',
      'spec.targetRef.kind',
      '"Service"',
      show(target.kind),
      'MeshAuthorization targets a Service',
    );
  }
  if (!isObjectName(target.name)) {
    report.error(
      'target-malformed',
      'spec.targetRef.name',
      'the name of a Service',
      show(target.name),
      'add the name of the Service',
    );
  }
  if (target.namespace !== undefined && target.namespace !== namespace) {
    report.error(
      'target-foreign',
      'spec.targetRef.namespace',
      `the policy's own namespace, ${namespace}`,
      show(target.namespace),
      'put the policy into the namespace of the Service: a policy cannot govern another namespace',
    );
  }
  return { kind: 'service', service: `${namespace}/${String(target.name)}` };
}

/** Only the root namespace may speak for others. */
function readWide(
  target: Fields,
  kind: 'Namespace' | 'Mesh',
  { namespace }: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): PolicyScope | undefined {
  if (!options.meshwrightDialect) {
    disabled('spec.targetRef.kind', kind, report);
    return undefined;
  }
  const root = namespace === options.rootNamespace;
  if (target.namespace !== undefined)
    report.error(
      'target-malformed',
      'spec.targetRef.namespace',
      `no namespace beside kind ${kind}`,
      show(target.namespace),
      kind === 'Mesh' ? 'remove it' : 'write the namespace as the name',
    );
  if (kind === 'Mesh') {
    if (target.name !== undefined)
      report.error(
        'target-malformed',
        'spec.targetRef.name',
        'no name: there is one mesh',
        show(target.name),
        'remove it',
      );
    if (!root)
      report.error(
        'target-foreign',
        'spec.targetRef.kind',
        `a policy of the root namespace, ${options.rootNamespace}`,
        namespace,
        'move the policy there, or target a Service or Namespace of its own',
      );
    return { kind: 'mesh' };
  }
  if (!isObjectName(target.name)) {
    report.error(
      'target-malformed',
      'spec.targetRef.name',
      'the name of a namespace',
      show(target.name),
      `write name: ${namespace}`,
    );
    return undefined;
  }
  if (target.name !== namespace && !root)
    report.error(
      'target-foreign',
      'spec.targetRef.name',
      `the policy's own namespace, ${namespace}`,
      show(target.name),
      `only policies of ${options.rootNamespace} govern other namespaces`,
    );
  return { kind: 'namespace', namespace: target.name };
}
