/**
 * All policies of one scope, with their rules indexed by action. Immutable; a group made from an older one keeps its big
 * index, leaves out the policies that are gone (`dead`) and indexes only what is new, so that one changed policy among
 * thousands costs next to nothing.
 */
import { comparePolicies } from './compiled-policy.js';
import type { CompiledPolicy } from './compiled-policy.js';
import { prepareDecision } from './decision.js';
import type { PreparedDecision } from './decision.js';
import type { PathNormalization } from './path-normalization.js';
import { RuleIndex } from './rule-index.js';
import type { KeyTables } from './rule-index.js';

/** Below this many policies, or above this share of changes, everything is indexed anew. */
const minIncremental = 64;
const maxChangedShare = 0.1;

/** Policies indexed together. */
export interface Segment {
  readonly policies: readonly CompiledPolicy[];
  readonly deny: RuleIndex;
  readonly allow: RuleIndex;
}

/** The ALLOW and DENY policies of one tier. */
export interface Tier {
  readonly tier: number;
  readonly enforced: Segment | undefined;
  /** Those that are observed. */
  readonly shadow: Segment | undefined;
}

/** What a group has, so that a decision need not look at what it has not. */
export const hasCustom = 1;
export const hasDeny = 2;
/** An enforced ALLOW policy, even one without rules. */
export const hasAllow = 4;
/** Policies that do not change a decision and are told beside it: dry run and AUDIT. */
export const hasShadow = 8;
export const hasAudit = 16;
export const hasTiers = 32;
/** An enforced ALLOW policy that ends. */
export const hasGrants = 64;

export class PolicyGroup {
  // First what a decision touches, so that it lies close together in memory.
  /** What it has, of the constants above. */
  readonly has: number;
  /** The non-empty indexes of the segments. */
  readonly allowIndexes: readonly RuleIndex[];
  readonly denyIndexes: readonly RuleIndex[];
  /** Policies of the segments that are no longer in force. */
  readonly dead: ReadonlySet<CompiledPolicy> | undefined;
  /** In naming order, all actions, dry-run ones included. */
  readonly policies: readonly CompiledPolicy[];
  /** Enforced ALLOW and DENY policies without a tier: the older, larger segment first. */
  readonly segments: readonly Segment[];
  /** Keys of the enforced ALLOW policies: one is enough to deny all else, even without rules. */
  readonly allowPolicies: readonly string[];
  /** The same of the dry-run ones. */
  readonly shadowAllowPolicies: readonly string[];
  /** Whether some enforced ALLOW rule needs HTTP. */
  readonly allowUsesHttp: boolean;
  /** How the paths of enforced ALLOW rules are normalised. */
  readonly allowPathModes: readonly PathNormalization[];
  readonly custom: readonly CompiledPolicy[];
  readonly audit: readonly CompiledPolicy[];
  /** Dry-run ALLOW and DENY policies without a tier. */
  readonly shadow: Segment | undefined;
  /** Policies with a tier, in ascending order of tiers. */
  readonly tiers: readonly Tier[];

  #defaultDenial: PreparedDecision | undefined;
  #opaqueDenial: PreparedDecision | undefined;

  private constructor(
    policies: readonly CompiledPolicy[],
    segments: readonly Segment[],
    dead: ReadonlySet<CompiledPolicy> | undefined,
    shadow: Segment | undefined,
    tiers: readonly Tier[],
  ) {
    this.denyIndexes = nonEmpty(segments.map((segment) => segment.deny));
    this.allowIndexes = nonEmpty(segments.map((segment) => segment.allow));
    const allowPolicies: string[] = [];
    const shadowAllowPolicies: string[] = [];
    const custom: CompiledPolicy[] = [];
    const audit: CompiledPolicy[] = [];
    const pathModes = new Set<PathNormalization>();
    let allowUsesHttp = false;
    let grants = 0;
    for (const policy of policies) {
      const { action, dryRun, key, grant } = policy.head;
      if (action === 'ALLOW' && dryRun) {
        shadowAllowPolicies.push(key);
      } else if (action === 'ALLOW') {
        allowPolicies.push(key);
        if (grant !== undefined) grants = hasGrants;
        allowUsesHttp ||= policy.usesHttp;
        if (policy.pathMode !== undefined) pathModes.add(policy.pathMode);
      } else if (action === 'CUSTOM' && !dryRun) {
        custom.push(policy);
      } else if (action === 'AUDIT' && !dryRun) {
        audit.push(policy);
      }
    }
    this.has =
      (custom.length > 0 ? hasCustom : 0) |
      (this.denyIndexes.length > 0 ? hasDeny : 0) |
      (allowPolicies.length > 0 ? hasAllow : 0) |
      (shadow !== undefined || tiers.some((tier) => tier.shadow !== undefined) ? hasShadow : 0) |
      (audit.length > 0 ? hasAudit : 0) |
      (tiers.length > 0 ? hasTiers : 0) |
      grants;
    this.dead = dead;
    this.policies = policies;
    this.segments = segments;
    this.allowPolicies = allowPolicies;
    this.shadowAllowPolicies = orNone(shadowAllowPolicies);
    this.allowUsesHttp = allowUsesHttp;
    this.allowPathModes = orNone([...pathModes]);
    this.custom = orNone(custom);
    this.audit = orNone(audit);
    this.shadow = shadow;
    this.tiers = tiers;
  }

  /** The denial of what none of its ALLOW rules matched. */
  get defaultDenial(): PreparedDecision {
    this.#defaultDenial ??= defaultDenial(this.allowPolicies, []);
    return this.#defaultDenial;
  }

  /** The same for an opaque stream, when some of the rules are about HTTP. */
  get opaqueDenial(): PreparedDecision {
    this.#opaqueDenial ??= defaultDenial(this.allowPolicies, [opaqueNote]);
    return this.#opaqueDenial;
  }

  /** A generator, so that the caller can pause. */
  static *build(members: readonly CompiledPolicy[], tables: KeyTables): Generator<void, PolicyGroup> {
    const policies = [...members].sort(comparePolicies);
    const enforced = policies.filter((policy) => policy.head.tier === undefined && isEnforced(policy));
    const shadowed = policies.filter((policy) => policy.head.tier === undefined && isShadow(policy));
    const tiers = yield* buildTiers(policies, tables);
    const shadow = shadowed.length === 0 ? undefined : yield* buildSegment(shadowed, tables);
    const segments = enforced.length === 0 ? [] : [yield* buildSegment(enforced, tables)];
    return new PolicyGroup(policies, segments, undefined, shadow, tiers);
  }

  /** The group without `removed` and with `added`. A generator, so that the caller can pause. */
  *change(
    removed: ReadonlySet<CompiledPolicy>,
    added: readonly CompiledPolicy[],
    tables: KeyTables,
  ): Generator<void, PolicyGroup> {
    const kept = this.policies.filter((policy) => !removed.has(policy));
    const members = merge(kept, added);
    const [base, newer] = this.segments;
    if (base === undefined || base.policies.length < minIncremental) return yield* PolicyGroup.build(members, tables);
    // What is observed, or has a tier, is seldom much.
    const isPlain = (policy: CompiledPolicy): boolean => policy.head.tier === undefined && isEnforced(policy);
    const others = members.filter((policy) => !isPlain(policy));
    const fresh = [...(newer?.policies ?? []).filter((policy) => !removed.has(policy)), ...added.filter(isPlain)];
    const dead = new Set(this.dead);
    const isNewer = new Set(newer?.policies);
    for (const policy of removed) if (isPlain(policy) && !isNewer.has(policy)) dead.add(policy);
    if (dead.size + fresh.length > base.policies.length * maxChangedShare || added.some((policy) => dead.has(policy)))
      return yield* PolicyGroup.build(members, tables);
    const rest = yield* PolicyGroup.build(others, tables);
    const segments = fresh.length === 0 ? [base] : [base, yield* buildSegment(fresh.sort(comparePolicies), tables)];
    return new PolicyGroup(members, segments, dead.size === 0 ? undefined : dead, rest.shadow, rest.tiers);
  }
}

/** Few policies put into their places among many. */
function merge(sorted: readonly CompiledPolicy[], added: readonly CompiledPolicy[]): readonly CompiledPolicy[] {
  const merged = [...sorted];
  for (const policy of added) {
    let low = 0;
    let high = merged.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = merged[middle];
      if (other !== undefined && comparePolicies(other, policy) <= 0) low = middle + 1;
      else high = middle;
    }
    merged.splice(low, 0, policy);
  }
  return merged;
}

/** Not frozen, so that loops meet one kind of list and allocate nothing. */
const none: readonly never[] = [];

function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list;
}

function nonEmpty(indexes: readonly RuleIndex[]): readonly RuleIndex[] {
  return orNone(indexes.filter((index) => index.size > 0));
}

export const opaqueNote = 'rules about HTTP never match an opaque stream';

export function defaultDenial(policies: readonly string[], notes: readonly string[]): PreparedDecision {
  const list =
    policies.length > 3
      ? `${policies.slice(0, 3).join(', ')} and ${String(policies.length - 3)} more`
      : policies.join(', ');
  return prepareDecision('deny', [`no rule matched of the ALLOW policies that apply (${list})`, ...notes].join('; '));
}

function isEnforced(policy: CompiledPolicy): boolean {
  return !policy.head.dryRun && (policy.head.action === 'ALLOW' || policy.head.action === 'DENY');
}

function isShadow(policy: CompiledPolicy): boolean {
  return policy.head.dryRun && (policy.head.action === 'ALLOW' || policy.head.action === 'DENY');
}

function* buildTiers(policies: readonly CompiledPolicy[], tables: KeyTables): Generator<void, readonly Tier[]> {
  const numbers = new Set<number>();
  for (const { head } of policies) if (head.tier !== undefined) numbers.add(head.tier);
  if (numbers.size === 0) return none;
  const tiers: Tier[] = [];
  for (const tier of [...numbers].sort((one, other) => one - other)) {
    const members = policies.filter((policy) => policy.head.tier === tier);
    const enforced = members.filter(isEnforced);
    const shadowed = members.filter(isShadow);
    tiers.push({
      tier,
      enforced: enforced.length === 0 ? undefined : yield* buildSegment(enforced, tables),
      shadow: shadowed.length === 0 ? undefined : yield* buildSegment(shadowed, tables),
    });
  }
  return tiers;
}

function* buildSegment(policies: readonly CompiledPolicy[], tables: KeyTables): Generator<void, Segment> {
  const rules = (action: string): CompiledPolicy['rules'] =>
    policies.filter((policy) => policy.head.action === action).flatMap((policy) => policy.rules);
  return {
    policies,
    deny: yield* RuleIndex.build(rules('DENY'), tables),
    allow: yield* RuleIndex.build(rules('ALLOW'), tables),
  };
}
