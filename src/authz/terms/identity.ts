/** Terms about who is asking: the verified principal and node. */
import { unknownNode } from '../dimension.js';
import type { Dimension, Key } from '../dimension.js';
import type { Facts } from '../facts.js';
import { parsePrincipal } from '../principal.js';
import type { Principal } from '../principal.js';
import { globCouldMatch, matchSegmentGlob, parseSegmentGlob } from '../segment-glob.js';
import type { SegmentGlob } from '../segment-glob.js';
import { StringMatcher, inSmallSet, matchStars, smallSet } from '../string-match.js';
import type { SmallSet } from '../string-match.js';
import { no, unknown, yes } from '../tri.js';
import type { TermValue } from '../tri.js';
import { Term } from './term.js';

const scheme = 'spiffe://';

/** Istio's `principals`: string values over `td/ns/NS/sa/SA`, trust domain aliases already written out. */
export class PrincipalsTerm extends Term {
  readonly #matcher: StringMatcher;
  readonly #patterns: readonly string[];
  readonly #expand: (pattern: string) => readonly string[];
  readonly #keys = new Map<Dimension, readonly Key[] | undefined>();

  constructor(
    field: string,
    values: readonly string[],
    negated: boolean,
    expand: (pattern: string) => readonly string[],
  ) {
    super(field, values, negated);
    this.#expand = expand;
    this.#patterns = values.flatMap(expand);
    this.#matcher = new StringMatcher(this.#patterns);
  }

  protected override holds({ principal }: Facts): TermValue {
    return principal !== undefined && this.#matcher.test(principal.name) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.principal?.name;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    if (dimension !== 'account' && dimension !== 'namespace') return undefined;
    // Asked again for each rule that shares this term.
    if (!this.#keys.has(dimension))
      this.#keys.set(
        dimension,
        allKeys(this.#patterns, (pattern) => principalKey(pattern, dimension)),
      );
    return this.#keys.get(dimension);
  }

  protected override single(value: string): Term {
    return new PrincipalsTerm(this.field, [value], false, this.#expand);
  }
}

/** The namespace or account that a pattern needs; undefined when it says none. */
function principalKey(pattern: string, dimension: 'account' | 'namespace'): Key | undefined {
  const segments = StringMatcher.literalPrefix(pattern).split('/');
  // Only a whole segment counts: the last one of a prefix may go on.
  const complete = pattern.endsWith('*') && !pattern.startsWith('*') ? segments.slice(0, -1) : segments;
  if (complete[1] !== 'ns' || complete[2] === undefined) return undefined;
  if (dimension === 'namespace') return complete[2];
  return complete[3] === 'sa' && complete[4] !== undefined ? `${complete[2]}/${complete[4]}` : undefined;
}

/** Istio's `namespaces`: every star is any text. */
export class NamespacePatternsTerm extends Term {
  readonly #exact: SmallSet;
  readonly #stars: readonly string[];

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#exact = smallSet(values.filter((value) => !value.includes('*')));
    this.#stars = values.filter((value) => value.includes('*'));
  }

  protected override holds({ principal }: Facts): TermValue {
    const namespace = principal?.namespace;
    if (namespace === undefined) return no;
    if (inSmallSet(this.#exact, namespace)) return yes;
    for (const pattern of this.#stars) if (matchStars(pattern, namespace)) return yes;
    return no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.principal?.namespace;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    return dimension === 'namespace' && this.#stars.length === 0 ? this.values : undefined;
  }

  protected override single(value: string): Term {
    return new NamespacePatternsTerm(this.field, [value], false);
  }
}

/** Istio's `trustDomains`. */
export class TrustDomainsTerm extends Term {
  readonly #matcher: StringMatcher;

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#matcher = new StringMatcher(values);
  }

  protected override holds({ principal }: Facts): TermValue {
    return principal !== undefined && this.#matcher.test(principal.trustDomain) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.principal?.trustDomain;
  }

  protected override single(value: string): Term {
    return new TrustDomainsTerm(this.field, [value], false);
  }
}

/** How names without a trust domain are believed. */
export interface NameTrust {
  /** Trust domains whose names an ALLOW believes; undefined: any. */
  readonly domains: ReadonlySet<string> | undefined;
  /**
   * Whether a not-form holds without any principal. Istio's does; the native one leaves it open, so that no ALLOW
   * reaches plaintext because of a name it does not have.
   */
  readonly absentPassesNot: boolean;
}

abstract class NamesTerm extends Term {
  protected readonly trust: NameTrust;

  constructor(field: string, values: readonly string[], negated: boolean, trust: NameTrust) {
    super(field, values, negated);
    this.trust = trust;
  }

  protected abstract has(principal: Principal): boolean;

  protected override holds({ principal }: Facts): TermValue {
    if (principal === undefined) return this.negated && !this.trust.absentPassesNot ? unknown : no;
    if (!this.has(principal)) return no;
    // Another trust domain's name, or a path that only begins like a workload's: an ALLOW does not reach it, a DENY does.
    if (!principal.isWorkload) return unknown;
    return this.trust.domains === undefined || this.trust.domains.has(principal.trustDomain) ? yes : unknown;
  }
}

/** The native `namespaces`: exact names. */
export class NamespacesTerm extends NamesTerm {
  readonly #names: SmallSet;

  constructor(field: string, values: readonly string[], negated: boolean, trust: NameTrust) {
    super(field, values, negated, trust);
    this.#names = smallSet(values);
  }

  protected override has(principal: Principal): boolean {
    return principal.namespace !== undefined && inSmallSet(this.#names, principal.namespace);
  }

  override actual(facts: Facts): string | undefined {
    return facts.principal?.namespace;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    return dimension === 'namespace' ? this.values : undefined;
  }

  protected override single(value: string): Term {
    return new NamespacesTerm(this.field, [value], false, this.trust);
  }
}

/** Service accounts of both dialects: `name` (of the policy's namespace), `namespace/name`, natively also `*` + `/name`. */
export class ServiceAccountsTerm extends NamesTerm {
  readonly #exact: SmallSet;
  readonly #anywhere: SmallSet;
  readonly #qualified: readonly string[];
  readonly #namespace: string;

  constructor(field: string, values: readonly string[], negated: boolean, trust: NameTrust, namespace: string) {
    super(field, values, negated, trust);
    this.#namespace = namespace;
    this.#qualified = values.map((value) => (value.includes('/') ? value : `${namespace}/${value}`));
    this.#exact = smallSet(this.#qualified.filter((value) => !value.startsWith('*/')));
    this.#anywhere = smallSet(this.#qualified.filter((value) => value.startsWith('*/')).map((value) => value.slice(2)));
  }

  protected override has(principal: Principal): boolean {
    const { account, serviceAccount } = principal;
    if (account === undefined || serviceAccount === undefined) return false;
    return inSmallSet(this.#exact, account) || inSmallSet(this.#anywhere, serviceAccount);
  }

  override actual(facts: Facts): string | undefined {
    return facts.principal?.account;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    if (dimension !== 'account' && dimension !== 'namespace') return undefined;
    return allKeys(this.#qualified, (account) => {
      if (account.startsWith('*/')) return undefined;
      return dimension === 'account' ? account : account.slice(0, account.indexOf('/'));
    });
  }

  protected override single(value: string): Term {
    return new ServiceAccountsTerm(this.field, [value], false, this.trust, this.#namespace);
  }
}

/** The native `spiffeIds`: globs by segment, tested against the principal and against the node. */
export class SpiffeIdsTerm extends Term {
  readonly #exact: SmallSet;
  readonly #globs: readonly SegmentGlob[];
  readonly #namesNode: boolean;

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    const globs = values.map((value) => parseSegmentGlob(value.slice(scheme.length)));
    this.#exact = smallSet(globs.flatMap((glob) => (glob.exact === undefined ? [] : [glob.exact])));
    this.#globs = globs.filter((glob) => glob.exact === undefined);
    this.#namesNode = globs.some((glob) => globCouldMatch(glob, [undefined, 'agent', undefined]));
  }

  #matches(id: Principal | undefined): boolean {
    if (id === undefined) return false;
    if (inSmallSet(this.#exact, id.name)) return true;
    for (const glob of this.#globs) if (matchSegmentGlob(glob, id.name)) return true;
    return false;
  }

  protected override holds(facts: Facts): TermValue {
    const { principal, node } = facts;
    if (this.#matches(principal) || (node !== principal && this.#matches(node))) return yes;
    if (node === undefined && this.#namesNode) return unknown;
    return principal === undefined && this.negated ? unknown : no;
  }

  override actual({ principal, node }: Facts): string | undefined {
    const known = [principal?.uri, node === principal ? undefined : node?.uri]
      .filter((id) => id !== undefined)
      .join(' via ');
    return known === '' ? undefined : known;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    if (dimension !== 'identity' || this.#globs.length > 0) return undefined;
    const names = this.values.map((value) => value.slice(scheme.length));
    return this.#namesNode ? [...names, unknownNode] : names;
  }

  protected override single(value: string): Term {
    return new SpiffeIdsTerm(this.field, [value], false);
  }
}

/** Keys of all patterns, or undefined when one of them has none. */
export function allKeys(
  patterns: readonly string[],
  keyOf: (pattern: string) => Key | undefined,
): readonly Key[] | undefined {
  const keys: Key[] = [];
  for (const pattern of patterns) {
    const key = keyOf(pattern);
    if (key === undefined) return undefined;
    keys.push(key);
  }
  return keys;
}

/** Whether `text` is a SPIFFE ID without its scheme. */
export function isPrincipalName(text: string): boolean {
  return parsePrincipal(scheme + text) !== undefined;
}
