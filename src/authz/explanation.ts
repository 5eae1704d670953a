/** Why a decision came out as it did, rule by rule. */
import { matchRule } from './compiled-policy.js';
import type { CompiledPolicy, CompiledRule, Conjunction, PolicyAction } from './compiled-policy.js';
import type { Decision } from './decision.js';
import type { Facts } from './facts.js';
import type { PolicyGroup } from './policy-set.js';
import { no, yes } from './tri.js';

/** A field that did not hold. */
export interface FailedField {
  readonly field: string;
  /** Where the policy says it, such as `spec.rules[0].to[0].paths`. */
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
  readonly matched: boolean;
  readonly rules: readonly RuleExplanation[];
}

export interface Explanation {
  readonly decision: Decision;
  /** Every policy that applies to the destination, DENY before ALLOW: the order of evaluation. */
  readonly considered: readonly PolicyExplanation[];
  /** For a denial that no policy decided: the ALLOW rule with the fewest failed fields. */
  readonly nearestMiss?: RuleExplanation;
}

export function explain(decision: Decision, groups: readonly PolicyGroup[], facts: Facts): Explanation {
  const policies = groups.flatMap((group) => group.policies);
  facts.judgeDeny(false);
  const deny = policies.filter((policy) => policy.action === 'DENY').map((policy) => explainPolicy(policy, facts));
  facts.judgeAllow(false);
  const allow = policies.filter((policy) => policy.action === 'ALLOW').map((policy) => explainPolicy(policy, facts));
  let nearestMiss: RuleExplanation | undefined;
  if (!decision.allowed && decision.policy === undefined) {
    for (const rule of allow.flatMap((policy) => policy.rules)) {
      if (nearestMiss === undefined || rule.failed.length < nearestMiss.failed.length) nearestMiss = rule;
    }
  }
  return Object.freeze({
    decision,
    considered: Object.freeze([...deny, ...allow]),
    ...(nearestMiss === undefined ? {} : { nearestMiss }),
  });
}

function explainPolicy(policy: CompiledPolicy, facts: Facts): PolicyExplanation {
  const rules = policy.rules.map((rule) => explainRule(rule, policy.action, facts));
  return Object.freeze({
    policy: policy.key,
    action: policy.action,
    matched: rules.some((rule) => rule.matched),
    rules: Object.freeze(rules),
  });
}

function explainRule(rule: CompiledRule, action: PolicyAction, facts: Facts): RuleExplanation {
  const httpMissing = rule.usesHttp && facts.http === undefined;
  const matched = matchRule(rule, facts) === yes && !(httpMissing && action === 'ALLOW');
  const failed = matched ? [] : [...closest(rule.from, facts), ...closest(rule.to, facts)];
  if (!matched && failed.length === 0) {
    // Some alternative holds without HTTP, yet an ALLOW rule with HTTP terms never lets an opaque stream through.
    failed.push(
      ...[...rule.from, ...rule.to]
        .flat()
        .filter((term) => term.http)
        .slice(0, 1)
        .map((term) => describe(term, facts)),
    );
  }
  return Object.freeze({ policy: rule.policy, rule: rule.index, matched, httpMissing, failed: Object.freeze(failed) });
}

function closest(alternatives: readonly Conjunction[], facts: Facts): FailedField[] {
  let best: FailedField[] | undefined;
  for (const terms of alternatives) {
    const failed = terms.filter((term) => term.test(facts) === no).map((term) => describe(term, facts));
    if (best === undefined || failed.length < best.length) best = failed;
  }
  return best ?? [];
}

function describe(term: Conjunction[number], facts: Facts): FailedField {
  const got = term.actual(facts);
  return Object.freeze({
    field: term.field,
    path: term.path,
    expected: term.values,
    ...(got === undefined ? {} : { got }),
  });
}
