/**
 * Finds the rules that can match a request without looking at all of them: a tree that splits the rules by one attribute
 * after another, each time by the one that leaves the fewest to look at. Rules without a key in the attribute go into
 * `rest`, which every request visits; a request that leaves the attribute open visits everything.
 */
import type { CompiledPolicy, CompiledRule } from './compiled-policy.js';
import { dimensions, unknownNode } from './dimension.js';
import type { Dimension, Key } from './dimension.js';
import type { Facts } from './facts.js';
import type { PathNormalization } from './path-normalization.js';
import { needsHttp, no, yes } from './tri.js';

/** So many rules are looked at one by one. */
const leafSize = 6;
/** A rule with more keys than this in an attribute is not copied below each of them once copies already exist. */
const maxCopies = 64;

interface Leaf {
  readonly rules: readonly CompiledRule[];
  readonly branch: undefined;
}

interface Branch {
  readonly rules: undefined;
  readonly branch: Dimension;
  readonly children: ReadonlyMap<Key, Node>;
  readonly rest: Node | undefined;
}

type Node = Leaf | Branch;

/** Rules of one action, in the order in which decisions name them. */
export class RuleIndex {
  readonly size: number;
  readonly #root: Node | undefined;
  /** The normalisation under which paths are keys; rules about paths of the other dialect have none. */
  readonly #pathMode: PathNormalization;

  private constructor(size: number, root: Node | undefined, pathMode: PathNormalization) {
    this.size = size;
    this.#root = root;
    this.#pathMode = pathMode;
  }

  /** `rules` in naming order. A generator, so that the caller can pause: it yields now and then. */
  static *build(rules: readonly CompiledRule[]): Generator<void, RuleIndex> {
    const pathMode = firstPathMode(rules) ?? 'REFUSE_AMBIGUOUS';
    if (rules.length === 0) return new RuleIndex(0, undefined, pathMode);
    return new RuleIndex(rules.length, yield* buildNode(rules, dimensions, pathMode, 1), pathMode);
  }

  /** Looks for the first matching rule that is not of a policy in `dead`; see `RuleSearch`. */
  search(search: RuleSearch): void {
    if (this.#root !== undefined) visit(this.#root, search, this.#pathMode);
  }
}

/** One search through several indexes; reused from request to request. */
export class RuleSearch {
  readonly facts: Facts;
  /** The first rule that matches for certain. */
  found: CompiledRule | undefined;
  /** Whether some rule would match depending on the HTTP request. */
  open = false;
  dead: ReadonlySet<CompiledPolicy> | undefined;
  /** Whether rules about HTTP are out of the question, except as something a request may still satisfy. */
  skipHttpRules = false;

  constructor(facts: Facts) {
    this.facts = facts;
  }

  begin(): void {
    this.found = undefined;
    this.open = false;
  }
}

function visit(node: Node, search: RuleSearch, pathMode: PathNormalization): void {
  if (node.rules !== undefined) {
    const { facts } = search;
    for (const rule of node.rules) {
      if (search.found !== undefined && !rule.isBefore(search.found)) return;
      const skipped = search.skipHttpRules && rule.usesHttp;
      // Without HTTP now or later such a rule can be passed over at once.
      if (skipped && facts.withoutHttp !== needsHttp) continue;
      const value = rule.match(facts);
      if (value === no || search.dead?.has(rule.policy) === true) continue;
      if (value === yes && !skipped) search.found = rule;
      else search.open = true;
    }
    return;
  }
  const { children } = node;
  const { facts } = search;
  switch (node.branch) {
    case 'account':
      if (facts.principal?.account !== undefined) visitChild(children.get(facts.principal.account), search, pathMode);
      break;
    case 'namespace':
      if (facts.principal?.namespace !== undefined)
        visitChild(children.get(facts.principal.namespace), search, pathMode);
      break;
    case 'identity':
      if (facts.principal !== undefined) visitChild(children.get(facts.principal.name), search, pathMode);
      if (facts.node === undefined) visitChild(children.get(unknownNode), search, pathMode);
      else if (facts.node !== facts.principal) visitChild(children.get(facts.node.name), search, pathMode);
      break;
    case 'port':
      visitKey(children, facts.port, search, pathMode);
      break;
    case 'path':
      visitKey(children, facts.http === undefined ? undefined : facts.path(pathMode), search, pathMode);
      break;
    case 'pathHead':
      visitKey(children, facts.http === undefined ? undefined : facts.pathHead(pathMode), search, pathMode);
      break;
    case 'host':
      // A request without a host has none of the keys; only the lack of HTTP leaves it open.
      if (facts.http === undefined) visitKey(children, undefined, search, pathMode);
      else visitChild(children.get(facts.host() ?? ''), search, pathMode);
      break;
    case 'method':
      visitKey(children, facts.http === undefined ? undefined : facts.method(), search, pathMode);
      break;
  }
  visitChild(node.rest, search, pathMode);
}

function visitChild(node: Node | undefined, search: RuleSearch, pathMode: PathNormalization): void {
  if (node !== undefined) visit(node, search, pathMode);
}

/** Visits the child of `key`, or every child when the request leaves the attribute open. */
function visitKey(
  children: ReadonlyMap<Key, Node>,
  key: Key | undefined,
  search: RuleSearch,
  pathMode: PathNormalization,
): void {
  if (key !== undefined) {
    visitChild(children.get(key), search, pathMode);
    return;
  }
  for (const child of children.values()) visit(child, search, pathMode);
}

/** Rules looked at to choose the attribute to split by. */
const sampleSize = 512;

function* buildNode(
  rules: readonly CompiledRule[],
  candidates: readonly Dimension[],
  pathMode: PathNormalization,
  copies: number,
): Generator<void, Node> {
  if (rules.length <= leafSize) return { rules, branch: undefined };
  const dimension = chooseDimension(rules, candidates, pathMode, copies);
  if (dimension === undefined) return { rules, branch: undefined };
  const buckets = new Map<Key, CompiledRule[]>();
  const rest: CompiledRule[] = [];
  let entries = 0;
  let count = 0;
  for (const rule of rules) {
    count += 1;
    if (count % 1024 === 0) yield;
    const keys = splitKeys(rule, dimension, pathMode, copies);
    if (keys === undefined) {
      rest.push(rule);
      continue;
    }
    for (const key of keys) {
      const bucket = buckets.get(key);
      if (bucket === undefined) buckets.set(key, [rule]);
      else if (bucket.at(-1) !== rule) bucket.push(rule);
      entries += 1;
    }
  }
  const others = candidates.filter((candidate) => candidate !== dimension);
  const copiesBelow = copies * Math.max(1, entries / Math.max(1, rules.length - rest.length));
  const children = new Map<Key, Node>();
  for (const [key, bucket] of buckets) {
    children.set(key, yield* buildNode(bucket, others, pathMode, copiesBelow));
    if (children.size % 256 === 0) yield;
  }
  return {
    rules: undefined,
    branch: dimension,
    children,
    rest: rest.length === 0 ? undefined : yield* buildNode(rest, others, pathMode, copies),
  };
}

/** The attribute that leaves the fewest rules to look at, judged by a sample; undefined when none helps. */
function chooseDimension(
  rules: readonly CompiledRule[],
  candidates: readonly Dimension[],
  pathMode: PathNormalization,
  copies: number,
): Dimension | undefined {
  const step = Math.max(1, Math.floor(rules.length / sampleSize));
  let best: Dimension | undefined;
  let bestCost = 0.9;
  for (const dimension of candidates) {
    const buckets = new Map<Key, number>();
    let sampled = 0;
    let rest = 0;
    let entries = 0;
    for (let index = 0; index < rules.length; index += step) {
      const rule = rules[index];
      if (rule === undefined) continue;
      sampled += 1;
      const keys = splitKeys(rule, dimension, pathMode, copies);
      if (keys === undefined) {
        rest += 1;
        continue;
      }
      entries += keys.length;
      for (const key of keys) buckets.set(key, (buckets.get(key) ?? 0) + 1);
    }
    let weighted = 0;
    for (const size of buckets.values()) weighted += size * size;
    // With a single key most requests miss it altogether, so half of a bucket is the fair guess.
    const cost = (rest + (entries === 0 ? 0 : weighted / entries) / 2) / sampled;
    if (cost < bestCost) {
      best = dimension;
      bestCost = cost;
    }
  }
  return best;
}

function splitKeys(
  rule: CompiledRule,
  dimension: Dimension,
  pathMode: PathNormalization,
  copies: number,
): readonly Key[] | undefined {
  const keys = keysOf(rule, dimension, pathMode);
  return keys === undefined || (copies > 1 && keys.length * copies > maxCopies) ? undefined : keys;
}

function keysOf(rule: CompiledRule, dimension: Dimension, pathMode: PathNormalization): readonly Key[] | undefined {
  if ((dimension === 'path' || dimension === 'pathHead') && rule.pathMode !== pathMode) return undefined;
  return rule.keys(dimension);
}

function firstPathMode(rules: readonly CompiledRule[]): PathNormalization | undefined {
  for (const rule of rules) {
    if (rule.pathMode !== undefined) return rule.pathMode;
  }
  return undefined;
}
