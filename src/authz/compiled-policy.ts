/** The one compiled form of all dialects. */
import { prepareDecision } from './decision.js';
import type { PreparedDecision } from './decision.js';
import type { Dimension, Key } from './dimension.js';
import type { Facts } from './facts.js';
import type { Grant } from './grant.js';
import type { ResolvedOptions } from './options.js';
import type { PathNormalization } from './path-normalization.js';
import { PathTerm } from './terms/http.js';
import type { Term } from './terms/term.js';
import { needsHttp, no, unknown, yes } from './tri.js';
import type { Tri } from './tri.js';

export type PolicyAction = 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';

/** What a policy applies to. */
export type PolicyScope =
  | { readonly kind: 'mesh' }
  | { readonly kind: 'namespace'; readonly namespace: string }
  /** Pods with all of these labels; of every namespace when `namespace` is undefined. */
  | {
      readonly kind: 'selector';
      readonly namespace: string | undefined;
      readonly labels: Readonly<Record<string, string>>;
    }
  /** `namespace/name`. */
  | { readonly kind: 'service'; readonly service: string }
  /** Every service of a namespace, wherever its pods are. */
  | { readonly kind: 'services'; readonly namespace: string };

/** Terms of which all must hold: one `source` or one `operation`. */
export type Conjunction = readonly Term[];

export interface PolicyHead {
  /** `Kind namespace/name`: no two policies share it. */
  readonly id: string;
  /** `namespace/name`, as decisions name it. */
  readonly key: string;
  readonly action: PolicyAction;
  /** Of CUSTOM: whose answer is needed. */
  readonly provider?: string | undefined;
  /** Judged beside the others and never enforced. */
  readonly dryRun: boolean;
  /** Its place among the tiers; undefined: none, so that its DENY has no exceptions. */
  readonly tier?: number | undefined;
  /** When, and for whom, its rules end; of an ALLOW only. */
  readonly grant?: Grant | undefined;
  /** Stands in for a policy with errors: denies all that the policy may apply to. */
  readonly quarantined?: boolean | undefined;
  /** What it applies to: any of these. */
  readonly scopes: readonly PolicyScope[];
  /** Where its rules are written, such as `spec.rules`. */
  readonly rulesPath: string;
}

export interface RuleParts {
  /** Any of these; empty: any source. */
  readonly from: readonly Conjunction[];
  /** Any of these; empty: any operation. */
  readonly to: readonly Conjunction[];
  /** All of these. */
  readonly when: Conjunction;
}

export class CompiledPolicy {
  readonly head: PolicyHead;
  readonly rules: readonly CompiledRule[];
  /** Whether some rule needs HTTP. */
  readonly usesHttp: boolean;
  /** How the paths of its rules are normalised; undefined when none is about paths. */
  readonly pathMode: PathNormalization | undefined;

  /** `bodies` keeps rules that are alike once; without it every rule is kept by itself. */
  constructor(head: PolicyHead, rules: readonly RuleParts[], bodies?: RuleBodies) {
    this.head = head;
    this.rules = rules.map(
      (parts, index) => new CompiledRule(this, index, bodies === undefined ? new RuleBody(parts) : bodies.of(parts)),
    );
    this.usesHttp = this.rules.some((rule) => rule.usesHttp);
    this.pathMode = this.rules.find((rule) => rule.pathMode !== undefined)?.pathMode;
  }
}

/** What a rule says, apart from whose rule it is. */
export class RuleBody {
  /** All terms, when there is at most one source and one operation: then all of them must hold. */
  readonly #all: Conjunction | undefined;
  readonly from: readonly Conjunction[];
  readonly to: readonly Conjunction[];
  readonly when: Conjunction;
  readonly usesHttp: boolean;
  readonly pathMode: PathNormalization | undefined;

  constructor({ from, to, when }: RuleParts) {
    this.#all = from.length <= 1 && to.length <= 1 ? when.concat(from[0] ?? [], to[0] ?? []) : undefined;
    this.from = from;
    this.to = to;
    this.when = when;
    this.usesHttp = when.some(isHttp) || from.some(hasHttp) || to.some(hasHttp);
    this.pathMode = pathModeOf(to);
  }

  match(facts: Facts): Tri {
    if (this.#all !== undefined) return matchAll(this.#all, facts);
    const when = matchAll(this.when, facts);
    if (when === no) return no;
    const from = matchAny(this.from, facts);
    if (from === no) return no;
    const to = matchAny(this.to, facts);
    if (to === no) return no;
    return when === yes && from === yes && to === yes ? yes : needsHttp;
  }
}

function isHttp(term: Term): boolean {
  return term.http;
}

function hasHttp(terms: Conjunction): boolean {
  return terms.some(isHttp);
}

function pathModeOf(operations: readonly Conjunction[]): PathNormalization | undefined {
  for (const terms of operations) for (const term of terms) if (term instanceof PathTerm) return term.mode;
  return undefined;
}

/** Rule bodies in use while policies are compiled: policies of a large mesh repeat each other. */
export class RuleBodies {
  readonly #bodies = new Map<string, RuleBody>();
  #shared = 0;

  of(parts: RuleParts): RuleBody {
    // Where few are alike it is not worth looking.
    if (this.#bodies.size >= maxSharedBodies && this.#shared < maxSharedBodies) return new RuleBody(parts);
    const ids = (terms: Conjunction): string => terms.map((term) => term.id).join();
    const key = `${ids(parts.when)};${parts.from.map(ids).join('|')};${parts.to.map(ids).join('|')}`;
    const known = this.#bodies.get(key);
    if (known !== undefined) {
      this.#shared += 1;
      return known;
    }
    const body = new RuleBody(parts);
    if (this.#bodies.size < maxSharedBodies) this.#bodies.set(key, body);
    return body;
  }
}

const maxSharedBodies = 4_096;

const bodiesOf = new WeakMap<ResolvedOptions, RuleBodies>();

/** One for each compilation, which is what options are resolved for. */
export function ruleBodies(options: ResolvedOptions): RuleBodies {
  let bodies = bodiesOf.get(options);
  if (bodies === undefined) {
    bodies = new RuleBodies();
    bodiesOf.set(options, bodies);
  }
  return bodies;
}

export class CompiledRule {
  readonly policy: CompiledPolicy;
  readonly index: number;
  readonly #body: RuleBody;
  #decision: PreparedDecision | undefined;

  constructor(policy: CompiledPolicy, index: number, body: RuleBody) {
    this.policy = policy;
    this.index = index;
    this.#body = body;
  }

  get from(): readonly Conjunction[] {
    return this.#body.from;
  }

  get to(): readonly Conjunction[] {
    return this.#body.to;
  }

  get when(): Conjunction {
    return this.#body.when;
  }

  /** Whether any term needs HTTP: such an ALLOW rule never lets an opaque stream through. */
  get usesHttp(): boolean {
    return this.#body.usesHttp;
  }

  /** How the paths of its terms are normalised; undefined when it has none about paths. */
  get pathMode(): PathNormalization | undefined {
    return this.#body.pathMode;
  }

  /** The decision when this rule decides: built at its first use, then always the same object. */
  get decision(): PreparedDecision {
    if (this.#decision === undefined) {
      const { key, action, tier, quarantined } = this.policy.head;
      const allows = action === 'ALLOW';
      const place = tier === undefined ? '' : ` in tier ${String(tier)}`;
      const reason =
        quarantined === true
          ? `denied by ${key}: the policy has errors, so all that it may apply to is denied`
          : `${allows ? 'allowed' : 'denied'} by ${key} rule ${String(this.index)}${place}`;
      this.#decision = prepareDecision(allows ? 'allow' : 'deny', reason, { policy: key, rule: this.index });
    }
    return this.#decision;
  }

  /** Whether it matches: any `from`, any `to` and every `when`. */
  match(facts: Facts): Tri {
    return this.#body.match(facts);
  }

  /** When several rules match, the decision names the first: by policy name, then by index. */
  isBefore(other: CompiledRule): boolean {
    if (this.policy === other.policy) return this.index < other.index;
    return comparePolicies(this.policy, other.policy) < 0;
  }

  /** Every key in `dimension` that a request must have one of to match; undefined when there is no such list. */
  keys(dimension: Dimension): readonly Key[] | undefined {
    return keysOfAll(this.when, dimension) ?? keysOfAny(this.from, dimension) ?? keysOfAny(this.to, dimension);
  }
}

export function comparePolicies(one: CompiledPolicy, other: CompiledPolicy): number {
  if (one.head.key !== other.head.key) return one.head.key < other.head.key ? -1 : 1;
  return one.head.id < other.head.id ? -1 : one.head.id > other.head.id ? 1 : 0;
}

function matchAny(alternatives: readonly Conjunction[], facts: Facts): Tri {
  if (alternatives.length === 0) return yes;
  let best: Tri = no;
  for (const terms of alternatives) {
    const value = matchAll(terms, facts);
    if (value === yes) return yes;
    if (value === needsHttp) best = needsHttp;
  }
  return best;
}

function matchAll(terms: Conjunction, facts: Facts): Tri {
  let all: Tri = yes;
  for (const term of terms) {
    const value = judge(term, facts);
    if (value === no) return no;
    if (value === needsHttp) all = needsHttp;
  }
  return all;
}

/** What a term is worth to the DENY or ALLOW that is being judged. */
export function judge(term: Term, facts: Facts): Tri {
  const value = term.test(facts);
  if (value === unknown) return facts.undecided;
  return value === needsHttp ? facts.withoutHttp : value;
}

/** Of terms that must all hold, any one with keys will do. */
function keysOfAll(terms: Conjunction, dimension: Dimension): readonly Key[] | undefined {
  for (const term of terms) {
    const keys = term.negated ? undefined : term.keys(dimension);
    if (keys !== undefined) return keys;
  }
  return undefined;
}

/** Of alternatives, every one must have keys. */
function keysOfAny(alternatives: readonly Conjunction[], dimension: Dimension): readonly Key[] | undefined {
  const [first, ...others] = alternatives;
  if (first === undefined) return undefined;
  const keys = keysOfAll(first, dimension);
  if (keys === undefined || others.length === 0) return keys;
  const all = new Set(keys);
  for (const terms of others) {
    const more = keysOfAll(terms, dimension);
    if (more === undefined) return undefined;
    for (const key of more) all.add(key);
  }
  return [...all];
}
