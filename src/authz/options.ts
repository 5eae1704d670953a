import type { Clock } from '../core/index.js';
import { AuthzError } from './errors.js';
import { isObjectName } from './manifest.js';
import { pathNormalizations } from './path-normalization.js';
import type { PathNormalization } from './path-normalization.js';
import { show } from './problem.js';

export interface AuthzOptions {
  /** What happens where no ALLOW policy applies and no DENY matches. Default `allow`. With `deny`, a DENY policy alone opens nothing. */
  readonly defaultAction?: 'allow' | 'deny' | undefined;
  /** The mesh's trust domain. When given, an ALLOW by namespace or service account believes only its principals (and its aliases'). */
  readonly trustDomain?: string | undefined;
  /** Former or additional names of the trust domain. Default none. */
  readonly trustDomainAliases?: readonly string[] | undefined;
  /** Namespace whose policies apply to the whole mesh. Default `istio-system`. */
  readonly rootNamespace?: string | undefined;
  /** How paths are normalised before rules see them. Default `REFUSE_AMBIGUOUS` for MeshAuthorization, `BASE` for Istio's policies, as there. */
  readonly pathNormalization?: PathNormalization | undefined;
  /**
   * What is understood beyond the dialects that others share. `meshwright: true` adds tiers, audit mode, grants that end
   * and wider targets to MeshAuthorization; without it they are errors. Istio's policies mean the same either way.
   */
  readonly dialects?: { readonly meshwright?: boolean | undefined } | undefined;
  /**
   * Namespaces (or `all`) whose MeshAuthorization policies are observed and not enforced unless they say `mode: ENFORCE`
   * themselves. Needs `dialects: { meshwright: true }`. Default none.
   */
  readonly audit?: 'all' | readonly string[] | undefined;
  /**
   * Puts up with policies that have errors where that cannot allow more. An ALLOW with errors in its rules allows nothing
   * and goes on closing what it applies to; a DENY or CUSTOM denies everything that it applies to; where the target cannot
   * be read that is its whole namespace, and for the root namespace the mesh; AUDIT and dry-run policies are left out. The
   * errors are then in `engine.problems`. Still thrown: what cannot be told to be a policy or of which namespace, and
   * errors in PeerAuthentication and RequestAuthentication, for which nothing could stand in. Default false.
   */
  readonly lenient?: boolean | undefined;
  /** Tells when grants end. Default the system's. */
  readonly clock?: Clock | undefined;
}

export interface ResolvedOptions {
  readonly defaultAction: 'allow' | 'deny';
  readonly trustDomain: string | undefined;
  readonly trustDomainAliases: readonly string[];
  readonly rootNamespace: string;
  /** Undefined: each dialect's own default. */
  readonly pathNormalization: PathNormalization | undefined;
  readonly meshwrightDialect: boolean;
  readonly audit: 'all' | readonly string[];
  readonly lenient: boolean;
}

const known = [
  'defaultAction',
  'trustDomain',
  'trustDomainAliases',
  'rootNamespace',
  'pathNormalization',
  'dialects',
  'audit',
  'lenient',
  'clock',
];

/** Checks and completes the options. Throws `AUTHZ_OPTION_INVALID`. */
export function resolveOptions(options: AuthzOptions = {}): ResolvedOptions {
  const invalid = (name: string, expected: string, got: unknown): AuthzError =>
    new AuthzError('AUTHZ_OPTION_INVALID', `expected ${name} to be ${expected}, got ${show(got)}`, {
      fields: { option: name },
    });
  for (const name of Object.keys(options))
    if (!known.includes(name)) throw invalid(name, `absent (the options are ${known.join(', ')})`, 'it');
  const {
    defaultAction = 'allow',
    trustDomain,
    trustDomainAliases = [],
    rootNamespace = 'istio-system',
    pathNormalization,
    dialects = {},
    audit = [],
    lenient = false,
    clock,
  } = options;
  if (defaultAction !== 'allow' && defaultAction !== 'deny')
    throw invalid('defaultAction', "'allow' or 'deny'", defaultAction);
  const isTrustDomain = (text: unknown): boolean => typeof text === 'string' && /^[a-z0-9._-]{1,255}$/.test(text);
  if (trustDomain !== undefined && !isTrustDomain(trustDomain))
    throw invalid('trustDomain', 'a trust domain name such as cluster.local', trustDomain);
  if (!Array.isArray(trustDomainAliases) || !trustDomainAliases.every(isTrustDomain))
    throw invalid('trustDomainAliases', 'a list of trust domain names', trustDomainAliases);
  if (typeof rootNamespace !== 'string' || rootNamespace === '')
    throw invalid('rootNamespace', 'a namespace name', rootNamespace);
  if (pathNormalization !== undefined && !pathNormalizations.includes(pathNormalization))
    throw invalid('pathNormalization', `one of ${pathNormalizations.join(', ')}`, pathNormalization);
  if (typeof dialects !== 'object' || dialects === null || Object.keys(dialects).some((name) => name !== 'meshwright'))
    throw invalid('dialects', 'an object with meshwright: true or false', dialects);
  const { meshwright = false } = dialects;
  if (typeof meshwright !== 'boolean') throw invalid('dialects.meshwright', 'true or false', meshwright);
  if (audit !== 'all' && !(Array.isArray(audit) && audit.every(isObjectName)))
    throw invalid('audit', "'all' or a list of namespaces", audit);
  if (audit.length > 0 && !meshwright) throw invalid('audit', 'absent without dialects: { meshwright: true }', audit);
  if (typeof lenient !== 'boolean') throw invalid('lenient', 'true or false', lenient);
  if (clock !== undefined && typeof (clock as Partial<Clock> | null)?.now !== 'function')
    throw invalid('clock', 'a Clock', clock);
  return Object.freeze({
    defaultAction,
    trustDomain,
    trustDomainAliases: Object.freeze([...(trustDomainAliases as readonly string[])]),
    rootNamespace,
    pathNormalization,
    meshwrightDialect: meshwright,
    lenient,
    audit: audit === 'all' ? audit : Object.freeze([...(audit as readonly string[])]),
  });
}
