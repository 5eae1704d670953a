/**
 * MeshAuthorization policies written in TypeScript. With the names of the mesh given, a workload or service that does
 * not exist is a type error; the result is the same manifest that one would write in YAML.
 */
import { AuthzError } from './errors.js';
import { PolicyDraft, mergeFields } from './builder/draft.js';
import type { PolicyTarget, SourceSpec } from './builder/manifest.js';

/** What the mesh has, by namespace; nodes by name. */
export interface MeshNames {
  /** Service accounts. */
  readonly workloads: Readonly<Record<string, string>>;
  readonly services: Readonly<Record<string, string>>;
  /** Default: any name. */
  readonly nodes?: string;
}

const everybody = Symbol('anyone');

/** Everybody, with an identity or without: said in as many words, since it opens or shuts completely. */
export interface Anyone {
  readonly [everybody]: true;
}

/** Who asks. */
export type PolicySource = SourceSpec | Anyone;

export interface PolicyBuilderOptions {
  /** Of nodes. Default `cluster.local`. */
  readonly trustDomain?: string | undefined;
  /** Where policies for the whole mesh stand. Default `istio-system`. */
  readonly rootNamespace?: string | undefined;
}

/** The words to write policies with. */
export interface PolicyBuilder<Names extends MeshNames> {
  /** Allows any of the sources; for everybody write `allow(anyone())`. Throws `AUTHZ_POLICY_INCOMPLETE` without a source. */
  allow(...sources: readonly [PolicySource, ...SourceSpec[]]): PolicyDraft;
  /** Denies any of the sources; for everybody write `deny(anyone())`. Throws `AUTHZ_POLICY_INCOMPLETE` without a source. */
  deny(...sources: readonly [PolicySource, ...SourceSpec[]]): PolicyDraft;
  anyone(): Anyone;
  workload<Namespace extends keyof Names['workloads'] & string>(
    namespace: Namespace,
    serviceAccount: Names['workloads'][Namespace],
  ): SourceSpec;
  namespace(name: keyof Names['workloads'] & string): SourceSpec;
  /** Whatever runs on a node, as far as the node is known. */
  node(name: NonNullable<Names['nodes']>): SourceSpec;
  /** A glob over SPIFFE IDs of workloads or nodes, such as `spiffe://cluster.local/agent/edge-*`. */
  spiffe(pattern: string): SourceSpec;
  /** Addresses and CIDR blocks of the peer. */
  ip(...blocks: readonly [string, ...string[]]): SourceSpec;
  /** Everybody but these: the not-form of each field. */
  not(source: SourceSpec): SourceSpec;
  /** Who is all of these at once. Throws `AUTHZ_POLICY_CONFLICT` when two of them have a list of the same field. */
  both(...sources: readonly [SourceSpec, SourceSpec, ...SourceSpec[]]): SourceSpec;
  service<Namespace extends keyof Names['services'] & string>(
    namespace: Namespace,
    name: Names['services'][Namespace],
  ): PolicyTarget;
  /** Every pod of a namespace. Of the meshwright dialect. */
  wholeNamespace(name: (keyof Names['services'] | keyof Names['workloads']) & string): PolicyTarget;
  /** Every pod of the mesh. Of the meshwright dialect. */
  wholeMesh(): PolicyTarget;
}

function draft(action: 'ALLOW' | 'DENY', sources: readonly PolicySource[]): PolicyDraft {
  const word = action.toLowerCase();
  if (sources.length === 0)
    throw new AuthzError(
      'AUTHZ_POLICY_INCOMPLETE',
      `expected ${word}() to say whom, got nobody; write ${word}(anyone()) for everybody`,
    );
  const named = sources.filter((source): source is SourceSpec => !(everybody in source));
  if (named.length === sources.length) return PolicyDraft.start(action, named);
  if (named.length > 0)
    throw new AuthzError('AUTHZ_POLICY_CONFLICT', `expected ${word}(anyone()) alone, got other sources beside it`);
  return PolicyDraft.start(action, undefined);
}

function negate(source: SourceSpec): SourceSpec {
  const fields = Object.entries(source);
  // Neither of two fields is not the same as not both.
  const [field, ...others] = fields;
  if (field === undefined || others.length > 0 || /^not[A-Z]/.test(field[0]))
    throw new AuthzError(
      'AUTHZ_POLICY_CONFLICT',
      `expected not() of one plain source, got ${fields.map(([name]) => name).join(' and ') || 'none'}`,
    );
  return { [`not${field[0].slice(0, 1).toUpperCase()}${field[0].slice(1)}`]: field[1] as readonly string[] };
}

/**
 * The builder for a mesh whose names are known to the compiler.
 *
 * @example
 * const { allow, workload, service } = policyBuilder<{
 *   workloads: { production: 'web' | 'worker' };
 *   services: { production: 'api' };
 * }>();
 * allow(workload('production', 'web')).to(service('production', 'api')).get('/orders/*').toString();
 */
export function policyBuilder<Names extends MeshNames = MeshNames>({
  trustDomain = 'cluster.local',
  rootNamespace = 'istio-system',
}: PolicyBuilderOptions = {}): PolicyBuilder<Names> {
  const words = {
    allow: (...sources: readonly PolicySource[]) => draft('ALLOW', sources),
    deny: (...sources: readonly PolicySource[]) => draft('DENY', sources),
    anyone: (): Anyone => ({ [everybody]: true }),
    workload: (namespace: string, serviceAccount: string): SourceSpec => ({
      serviceAccounts: [`${namespace}/${serviceAccount}`],
    }),
    namespace: (name: string): SourceSpec => ({ namespaces: [name] }),
    node: (name: string): SourceSpec => ({ spiffeIds: [`spiffe://${trustDomain}/agent/${name}`] }),
    spiffe: (pattern: string): SourceSpec => ({ spiffeIds: [pattern] }),
    ip: (...blocks: readonly string[]): SourceSpec => ({ ipBlocks: blocks }),
    not: negate,
    both: (...sources: readonly SourceSpec[]): SourceSpec => sources.reduce(mergeFields, {}),
    service: (namespace: string, name: string): PolicyTarget => ({ kind: 'Service', namespace, name }),
    wholeNamespace: (name: string): PolicyTarget => ({ kind: 'Namespace', namespace: name, name }),
    wholeMesh: (): PolicyTarget => ({ kind: 'Mesh', namespace: rootNamespace }),
  };
  return Object.freeze(words) as PolicyBuilder<Names>;
}
