/**
 * What `lenient` puts in the place of a policy with errors: never anything that could allow more than the policy would,
 * however its author corrects what is wrong with it. What is not wrong is taken as written, the namespace above all: a
 * broken policy must not reach beyond its own.
 */
import { CompiledPolicy } from './compiled-policy.js';
import type { PolicyHead, PolicyScope } from './compiled-policy.js';
import { istioApis } from './dialects/istio-authorization.js';
import { readScopes } from './dialects/istio-scopes.js';
import { meshAuthorizationApi } from './dialects/mesh-authorization.js';
import { readMeshTarget } from './dialects/mesh-target.js';
import { ManifestReport, isFields, isObjectName } from './manifest.js';
import type { ManifestIdentity } from './manifest.js';
import type { ResolvedOptions } from './options.js';
import type { PolicyProblem } from './problem.js';

/** `policy` undefined: nothing takes its place, since it would never have changed a decision. */
export interface Quarantine {
  readonly policy: CompiledPolicy | undefined;
  /** What became of it, for the report. */
  readonly outcome: string;
}

/** Errors here leave open which requests the rules match, and nothing else. */
const inRules =
  /^(?:spec\.(?:meshAuthorization\.)?(?:rules(?:\[.*)?|notAfter|owner|reason|tier|mode)|metadata\.annotations\[.*)$/;
const inAction = /^spec\.(?:meshAuthorization\.)?(?:action|provider)(?:\..*)?$/;
const inTarget = /^spec\.(?:targetRef|targetRefs|selector)(?:[.[].*)?$/;

/** Undefined when nobody can say what the policy is or where it would apply: then the compilation must fail. */
export function quarantine(
  manifest: unknown,
  problems: readonly PolicyProblem[],
  options: ResolvedOptions,
): Quarantine | undefined {
  const identity = identityOf(manifest);
  const metadataIsWrong = problems.some(({ code }) => code === 'metadata-malformed');
  if (identity === undefined || (metadataIsWrong && !identity.hasNamespace)) return undefined;
  const paths = problems.filter(({ severity }) => severity === 'error').map(({ path }) => path);
  const within = (...places: readonly RegExp[]): boolean =>
    paths.every((path) => places.some((place) => place.test(path)));
  const native = identity.kind === 'ProxyPolicy';
  const { spec, namespace, name, annotations } = identity;
  const nested = native && isFields(spec.meshAuthorization) ? spec.meshAuthorization : undefined;
  const body = nested ?? spec;
  const scopes = within(inRules, inAction) ? writtenScopes(identity, options) : undefined;
  const action = within(inRules, inTarget) ? (body.action ?? (native ? undefined : 'ALLOW')) : undefined;
  const key = `${namespace}/${name}`;
  const head = {
    id: `${identity.kind} ${key}`,
    key,
    dryRun: false,
    scopes: scopes ?? widestScopes(identity, options),
    rulesPath: nested === undefined ? 'spec.rules' : 'spec.meshAuthorization.rules',
  };
  const observed = native
    ? options.meshwrightDialect && body.mode === 'AUDIT'
    : annotations['istio.io/dry-run'] === 'true' && (action === 'ALLOW' || action === 'DENY');
  return inPlaceOf(head, observed && action !== undefined ? 'AUDIT' : action);
}

/** The same for a policy that is well formed but may not be there, such as the second of one name. */
export function quarantineCompiled({ head }: CompiledPolicy): Quarantine {
  return inPlaceOf({ ...head, tier: undefined, grant: undefined }, head.dryRun ? 'AUDIT' : head.action);
}

function inPlaceOf(head: Omit<PolicyHead, 'action'>, action: unknown): Quarantine {
  if (action === 'AUDIT') return { policy: undefined, outcome: 'left out: it is never enforced' };
  if (action === 'ALLOW')
    return {
      policy: new CompiledPolicy({ ...head, action }, []),
      outcome: 'it allows nothing, and goes on closing what it applies to',
    };
  return {
    policy: new CompiledPolicy({ ...head, action: 'DENY', quarantined: true }, [{ from: [], to: [], when: [] }]),
    outcome: 'everything that it may apply to is denied',
  };
}

/** What can be read of it without guessing; `hasNamespace`: as opposed to being in `default`. */
function identityOf(manifest: unknown): (ManifestIdentity & { readonly hasNamespace: boolean }) | undefined {
  if (!isFields(manifest)) return undefined;
  const { apiVersion, kind, metadata, spec } = manifest;
  if (typeof apiVersion !== 'string') return undefined;
  const known = kind === 'ProxyPolicy' ? [meshAuthorizationApi] : kind === 'AuthorizationPolicy' ? istioApis : [];
  if (typeof kind !== 'string' || !known.includes(apiVersion) || !isFields(metadata)) return undefined;
  const { namespace = 'default', name } = metadata;
  if (!isObjectName(namespace)) return undefined;
  return {
    apiVersion,
    kind,
    namespace,
    hasNamespace: metadata.namespace !== undefined,
    name: isObjectName(name) ? name : '?',
    spec: isFields(spec) ? spec : {},
    annotations: isFields(metadata.annotations) ? metadata.annotations : {},
  };
}

function writtenScopes(identity: ManifestIdentity, options: ResolvedOptions): readonly PolicyScope[] | undefined {
  const report = new ManifestReport([], {});
  if (identity.kind !== 'ProxyPolicy') return readScopes(identity, options, report);
  const scope = readMeshTarget(identity, options, report);
  return scope === undefined ? undefined : [scope];
}

/** All that a policy of this namespace could be for. */
function widestScopes({ kind, namespace }: ManifestIdentity, options: ResolvedOptions): readonly PolicyScope[] {
  const mayBeForAll = kind !== 'ProxyPolicy' || options.meshwrightDialect;
  if (namespace === options.rootNamespace && mayBeForAll) return [{ kind: 'mesh' }];
  return [
    { kind: 'namespace', namespace },
    { kind: 'services', namespace },
  ];
}
