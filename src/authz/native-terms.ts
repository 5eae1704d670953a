/** The terms of MeshAuthorization. */
import type { Facts } from './facts.js';
import { globCouldMatch, matchSegmentGlob } from './segment-glob.js';
import type { SegmentGlob } from './segment-glob.js';
import type { Principal } from './principal.js';
import type { Term } from './term.js';
import { no, yes } from './tri.js';
import type { Tri } from './tri.js';

/** Which trust domains a namespace or account name is believed from in an ALLOW; undefined: any. */
export type TrustedDomains = ReadonlySet<string> | undefined;

/**
 * A namespace or account of another trust domain only shares its name with ours: an ALLOW does not reach it, a DENY does.
 * The same goes for a path longer than `/ns/<namespace>/sa/<account>`.
 */
function believed(principal: Principal, facts: Facts, domains: TrustedDomains): Tri {
  if (principal.isWorkload && (domains === undefined || domains.has(principal.trustDomain))) return yes;
  return facts.undecided;
}

interface TermSource {
  readonly path: string;
  readonly values: readonly string[];
}

export function namespacesTerm(source: TermSource, domains: TrustedDomains): Term {
  const names = new Set(source.values);
  return {
    ...source,
    field: 'namespaces',
    http: false,
    test: (facts) => {
      const { principal } = facts;
      if (principal?.namespace === undefined || !names.has(principal.namespace)) return no;
      return believed(principal, facts, domains);
    },
    actual: (facts) => facts.principal?.namespace,
  };
}

/** `accounts` are `namespace/name`, or `*` + `/name` for any namespace. */
export function serviceAccountsTerm(source: TermSource, accounts: readonly string[], domains: TrustedDomains): Term {
  const exact = new Set(accounts.filter((account) => !account.startsWith('*/')));
  const anywhere = new Set(accounts.filter((account) => account.startsWith('*/')).map((account) => account.slice(2)));
  return {
    ...source,
    field: 'serviceAccounts',
    http: false,
    test: (facts) => {
      const { principal } = facts;
      if (principal?.account === undefined || principal.serviceAccount === undefined) return no;
      if (!exact.has(principal.account) && !anywhere.has(principal.serviceAccount)) return no;
      return believed(principal, facts, domains);
    },
    actual: (facts) => facts.principal?.account,
  };
}

/** `globs` are over SPIFFE IDs without their scheme. Tested against the principal and against the node. */
export function spiffeIdsTerm(source: TermSource, globs: readonly SegmentGlob[]): Term {
  const exact = new Set(globs.flatMap((glob) => (glob.exact === undefined ? [] : [glob.exact])));
  const patterns = globs.filter((glob) => glob.exact === undefined);
  const namesNode = globs.some((glob) => globCouldMatch(glob, [undefined, 'agent', undefined]));
  const matches = (id: Principal | undefined): boolean => {
    if (id === undefined) return false;
    if (exact.has(id.name)) return true;
    for (const glob of patterns) if (matchSegmentGlob(glob, id.segments)) return true;
    return false;
  };
  return {
    ...source,
    field: 'spiffeIds',
    http: false,
    test: (facts) => {
      if (matches(facts.principal) || (facts.node !== facts.principal && matches(facts.node))) return yes;
      return namesNode && facts.node === undefined ? facts.undecided : no;
    },
    actual: (facts) => {
      const ids = [facts.principal?.uri, facts.node === facts.principal ? undefined : facts.node?.uri];
      const known = ids.filter((id) => id !== undefined).join(' via ');
      return known === '' ? undefined : known;
    },
  };
}

export function methodsTerm(source: TermSource): Term {
  const names = new Set(source.values);
  return {
    ...source,
    field: 'methods',
    http: true,
    test: (facts) => {
      if (facts.http === undefined) return facts.withoutHttp;
      const method = facts.method();
      if (method === undefined) return facts.undecided;
      return names.has(method) ? yes : no;
    },
    actual: (facts) => facts.http?.method,
  };
}

/** `globs` are over whole paths, split at `/`, the leading empty segment included. */
export function pathsTerm(
  source: TermSource,
  globs: readonly SegmentGlob[],
  mode: 'REFUSE_AMBIGUOUS' | 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES',
): Term {
  const exact = new Set(globs.flatMap((glob) => (glob.exact === undefined ? [] : [glob.exact])));
  const patterns = globs.filter((glob) => glob.exact === undefined);
  return {
    ...source,
    field: 'paths',
    http: true,
    test: (facts) => {
      if (facts.http === undefined) return facts.withoutHttp;
      const path = facts.path(mode);
      if (path === undefined) return facts.undecided;
      if (exact.has(path)) return yes;
      if (patterns.length === 0) return no;
      const segments = facts.pathSegments(mode) ?? [];
      for (const glob of patterns) if (matchSegmentGlob(glob, segments)) return yes;
      return no;
    },
    actual: (facts) => facts.http?.path,
  };
}
