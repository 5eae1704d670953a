/**
 * Finds the rules that can match a request without looking at all of them: a tree that splits the rules by one attribute
 * after another, each time by the one that leaves the fewest to look at. Rules without a key in the attribute go into
 * `rest`, which every request visits; a request that leaves the attribute open visits everything.
 */
import { CompiledRule } from './compiled-policy.js';
import type { CompiledPolicy } from './compiled-policy.js';
import { dimensions, unknownNode } from './dimension.js';
import type { Dimension, Key } from './dimension.js';
import type { Facts } from './facts.js';
import type { PathNormalization } from './path-normalization.js';
import { needsHttp, no, yes } from './tri.js';

/** So many rules are looked at one by one. */
const leafSize = 6;
/** A rule with more keys than this in an attribute is not copied below each of them once copies already exist. */
const maxCopies = 64;
/** Larger key tables are hardly ever alike. */
const maxSharedKeys = 64;
const maxSharedTables = 1_024;

/**
 * Kept small, since in a mesh of many services most time goes into fetching these from memory: one rule stands for
 * itself, and branches with the same keys share the table of them.
 */
type Node = CompiledRule | readonly CompiledRule[] | Branch;

interface Branch {
  readonly branch: Dimension;
  /** Where in `children` the node of a key is. */
  readonly places: ReadonlyMap<Key, number>;
  readonly children: readonly Node[];
  readonly rest: Node | undefined;
}

/** Key tables in use, by their content. */
export class KeyTables {
  readonly #tables = new Map<string, ReadonlyMap<Key, number>>();
  #shared = 0;

  get isFull(): boolean {
    return this.#tables.size >= maxSharedTables;
  }

  of(keys: Iterable<Key>): ReadonlyMap<Key, number> {
    const list = [...keys];
    // Where few are alike it is not worth looking.
    const few = this.#tables.size >= maxSharedTables && this.#shared < maxSharedTables;
    if (few || list.length > maxSharedKeys) return new Map(list.map((key, place) => [key, place]));
    const content = JSON.stringify(list);
    let table = this.#tables.get(content);
    if (table !== undefined) {
      this.#shared += 1;
      return table;
    }
    table = new Map(list.map((key, place) => [key, place]));
    if (this.#tables.size < maxSharedTables) this.#tables.set(content, table);
    return table;
  }
}

/** Rules of one action, in the order in which decisions name them. */
export class RuleIndex {
  readonly #root: Node | undefined;
  /** The normalisation under which paths are keys; rules about paths of the other dialect have none. */
  readonly #pathMode: PathNormalization;
  readonly size: number;

  private constructor(size: number, root: Node | undefined, pathMode: PathNormalization) {
    this.#root = root;
    this.#pathMode = pathMode;
    this.size = size;
  }

  /** `rules` in naming order. A generator, so that the caller can pause: it yields now and then. */
  static *build(rules: readonly CompiledRule[], tables: KeyTables): Generator<void, RuleIndex> {
    const pathMode = firstPathMode(rules) ?? 'REFUSE_AMBIGUOUS';
    if (rules.length === 0) return new RuleIndex(0, undefined, pathMode);
    return new RuleIndex(rules.length, yield* buildNode(rules, dimensions, pathMode, 1, tables), pathMode);
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

  /** Judges one rule; false when neither it nor any later one can be named before the one that was found. */
  consider(rule: CompiledRule): boolean {
    const { facts, found } = this;
    if (found !== undefined && !rule.isBefore(found)) return false;
    const skipped = this.skipHttpRules && rule.usesHttp;
    // Without HTTP now or later such a rule can be passed over at once.
    if (skipped && facts.withoutHttp !== needsHttp) return true;
    const value = rule.match(facts);
    if (value === no || this.dead?.has(rule.policy) === true) return true;
    if (value === yes && !skipped) this.found = rule;
    else this.open = true;
    return true;
  }
}

function visit(node: Node, search: RuleSearch, pathMode: PathNormalization): void {
  if (node instanceof CompiledRule) {
    search.consider(node);
    return;
  }
  if (isList(node)) {
    for (const rule of node) if (!search.consider(rule)) return;
    return;
  }
  const { facts } = search;
  const { principal } = facts;
  switch (node.branch) {
    case 'account':
      if (principal?.account !== undefined) visitChild(node, principal.account, search, pathMode);
      break;
    case 'namespace':
      if (principal?.namespace !== undefined) visitChild(node, principal.namespace, search, pathMode);
      break;
    case 'identity':
      if (principal !== undefined) visitChild(node, principal.name, search, pathMode);
      if (facts.node === undefined) visitChild(node, unknownNode, search, pathMode);
      else if (facts.node !== principal) visitChild(node, facts.node.name, search, pathMode);
      break;
    case 'port':
      visitKey(node, facts.port, search, pathMode);
      break;
    case 'path':
      visitKey(node, facts.http === undefined ? undefined : facts.path(pathMode), search, pathMode);
      break;
    case 'pathHead':
      visitKey(node, facts.http === undefined ? undefined : facts.pathHead(pathMode), search, pathMode);
      break;
    case 'host':
      // A request without a host has none of the keys; only the lack of HTTP leaves it open.
      if (facts.http === undefined) visitKey(node, undefined, search, pathMode);
      else visitChild(node, facts.host() ?? '', search, pathMode);
      break;
    case 'method':
      visitKey(node, facts.http === undefined ? undefined : facts.method(), search, pathMode);
      break;
  }
  if (node.rest !== undefined) visit(node.rest, search, pathMode);
}

function isList(node: readonly CompiledRule[] | Branch): node is readonly CompiledRule[] {
  return Array.isArray(node);
}

function visitChild(branch: Branch, key: Key, search: RuleSearch, pathMode: PathNormalization): void {
  const place = branch.places.get(key);
  const child = place === undefined ? undefined : branch.children[place];
  if (child !== undefined) visit(child, search, pathMode);
}

/** Visits the child of `key`, or every child when the request leaves the attribute open. */
function visitKey(branch: Branch, key: Key | undefined, search: RuleSearch, pathMode: PathNormalization): void {
  if (key !== undefined) visitChild(branch, key, search, pathMode);
  else for (const child of branch.children) visit(child, search, pathMode);
}

/** Rules looked at to choose the attribute to split by. */
const sampleSize = 512;

function* buildNode(
  rules: readonly CompiledRule[],
  candidates: readonly Dimension[],
  pathMode: PathNormalization,
  copies: number,
  tables: KeyTables,
): Generator<void, Node> {
  const dimension = rules.length <= leafSize ? undefined : chooseDimension(rules, candidates, pathMode, copies);
  if (dimension === undefined) {
    const [only] = rules;
    return rules.length === 1 && only !== undefined ? only : rules;
  }
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
  const children: Node[] = [];
  for (const bucket of buckets.values()) {
    children.push(yield* buildNode(bucket, others, pathMode, copiesBelow, tables));
    if (children.length % 256 === 0) yield;
  }
  return {
    branch: dimension,
    places: tables.of(buckets.keys()),
    children,
    rest: rest.length === 0 ? undefined : yield* buildNode(rest, others, pathMode, copies, tables),
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
