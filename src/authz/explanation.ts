/** Why a decision came out as it did, rule by rule. */
import { judge } from './compiled-policy.js';
import type { CompiledPolicy, CompiledRule, Conjunction, PolicyAction } from './compiled-policy.js';
import type { Decision } from './decision.js';
import type { Facts } from './facts.js';
import type { Grant } from './grant.js';
import type { Applicable } from './policy-set.js';
import { GrantTerm } from './terms/grant.js';
import type { Term } from './terms/term.js';
import { no, yes } from './tri.js';

/** A field that did not hold. */
export interface FailedField {
  readonly field: string;
  /** Where the policy says it, such as `spec.rules[0].to[0].operation.paths`. */
  readonly path: string;
  readonly expected: readonly string[];
  /** What the request has there; absent when it has nothing. */
  readonly got?: string;
}

export interface RuleExplanation {
  readonly policy: string;
  readonly rule: number;
  readonly matched: boolean;
  /** Whether HTTP terms were judged without an HTTP request: as not matched in an ALLOW, as matched in a DENY. */
  readonly httpMissing: boolean;
  /** What failed in the alternative that came closest; empty when the rule matched. */
  readonly failed: readonly FailedField[];
}

export interface PolicyExplanation {
  readonly policy: string;
  readonly action: PolicyAction;
  readonly dryRun: boolean;
  /** Its tier, if it has one. */
  readonly tier?: number;
  /** When it ends, of a grant that ends; whether it has shows in the failed fields of its rules. */
  readonly grant?: Grant;
  readonly matched: boolean;
  readonly rules: readonly RuleExplanation[];
}

export interface Explanation {
  readonly decision: Decision;
  /** Every policy that applies to the destination in the order of evaluation: CUSTOM, DENY, tiers, ALLOW, AUDIT. */
  readonly considered: readonly PolicyExplanation[];
  /** For a denial that no policy decided: the ALLOW rule with the fewest failed fields. */
  readonly nearestMiss?: RuleExplanation;
}

const order: readonly PolicyAction[] = ['CUSTOM', 'DENY', 'ALLOW', 'AUDIT'];

export function explain(decision: Decision, { groups, uncertain }: Applicable, facts: Facts): Explanation {
  // A policy with several targets may stand in several groups.
  const policies = [...new Set([...groups, ...uncertain].flatMap((group) => group.policies))];
  const considered = inOrder(policies).map((policy) => {
    if (policy.head.action === 'ALLOW') facts.judgeAllow(false);
    else facts.judgeDeny(false);
    return explainPolicy(policy, facts);
  });
  const miss = decision.allowed || decision.policy !== undefined ? undefined : nearestMiss(considered);
  return Object.freeze({
    decision,
    considered: Object.freeze(considered),
    ...(miss === undefined ? {} : { nearestMiss: miss }),
  });
}

function inOrder(policies: readonly CompiledPolicy[]): readonly CompiledPolicy[] {
  const without = (action: PolicyAction): readonly CompiledPolicy[] =>
    policies.filter(({ head }) => head.action === action && head.tier === undefined);
  const tiered = policies
    .filter(({ head }) => head.tier !== undefined)
    .sort(
      ({ head: one }, { head: other }) =>
        (one.tier ?? 0) - (other.tier ?? 0) || order.indexOf(one.action) - order.indexOf(other.action),
    );
  return [...without('CUSTOM'), ...without('DENY'), ...tiered, ...without('ALLOW'), ...without('AUDIT')];
}

function nearestMiss(considered: readonly PolicyExplanation[]): RuleExplanation | undefined {
  let nearest: RuleExplanation | undefined;
  for (const policy of considered) {
    if (policy.action !== 'ALLOW' || policy.dryRun) continue;
    for (const rule of policy.rules)
      if (nearest === undefined || rule.failed.length < nearest.failed.length) nearest = rule;
  }
  return nearest;
}

function explainPolicy(policy: CompiledPolicy, facts: Facts): PolicyExplanation {
  const rules = policy.rules.map((rule) => explainRule(rule, facts));
  const { key, action, dryRun, tier, grant } = policy.head;
  return Object.freeze({
    policy: key,
    action,
    dryRun,
    ...(tier === undefined ? {} : { tier }),
    ...(grant === undefined ? {} : { grant }),
    matched: rules.some((rule) => rule.matched),
    rules: Object.freeze(rules),
  });
}

/** Explains one rule; `facts` must be set to judge the action of its policy. */
export function explainRule(rule: CompiledRule, facts: Facts): RuleExplanation {
  const { head } = rule.policy;
  const httpMissing = rule.usesHttp && facts.http === undefined;
  const matched = rule.match(facts) === yes && !(httpMissing && head.action === 'ALLOW');
  const path = `${head.rulesPath}[${String(rule.index)}]`;
  const failed = matched
    ? []
    : [
        ...rule.when.flatMap((term, index) =>
          failedTerm(term, term instanceof GrantTerm ? term.path : `${path}.when[${String(index)}]`, facts),
        ),
        ...closest(rule.from, (index) => entryPath(rule, 'from', index), facts),
        ...closest(rule.to, (index) => entryPath(rule, 'to', index), facts),
      ];
  if (!matched && failed.length === 0) {
    // Some alternative holds without HTTP, yet an ALLOW rule with HTTP terms never lets an opaque stream through.
    const term = [...rule.from, ...rule.to, rule.when].flat().find((each) => each.http);
    if (term !== undefined) failed.push(describe(term, path, facts));
  }
  return Object.freeze({ policy: head.key, rule: rule.index, matched, httpMissing, failed: Object.freeze(failed) });
}

/** Where a source or operation is written. */
export function entryPath(rule: CompiledRule, part: 'from' | 'to', index: number): string {
  const { rulesPath, id } = rule.policy.head;
  const inner = id.startsWith('AuthorizationPolicy ') ? (part === 'from' ? '.source' : '.operation') : '';
  return `${rulesPath}[${String(rule.index)}].${part}[${String(index)}]${inner}`;
}

function closest(alternatives: readonly Conjunction[], pathOf: (index: number) => string, facts: Facts): FailedField[] {
  let best: FailedField[] | undefined;
  alternatives.forEach((terms, index) => {
    const failed = terms.flatMap((term) => failedTerm(term, `${pathOf(index)}.${term.field}`, facts));
    if (best === undefined || failed.length < best.length) best = failed;
  });
  return best ?? [];
}

function failedTerm(term: Term, path: string, facts: Facts): FailedField[] {
  return judge(term, facts) === no ? [describe(term, path, facts)] : [];
}

function describe(term: Term, path: string, facts: Facts): FailedField {
  const got = term.actual(facts);
  const expected = term instanceof GrantTerm ? term.wanted : term.values;
  return Object.freeze({ field: term.field, path, expected, ...(got === undefined ? {} : { got }) });
}
