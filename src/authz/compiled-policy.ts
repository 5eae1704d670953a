/** The one compiled form of all dialects. */
import type { PreparedDecision } from './decision.js';
import type { Facts } from './facts.js';
import type { Term } from './term.js';
import { needsHttp, no, yes } from './tri.js';
import type { Tri } from './tri.js';

export type PolicyAction = 'ALLOW' | 'DENY';

/** What a policy applies to. */
export type PolicyScope = { readonly kind: 'service'; readonly service: string };

export interface CompiledPolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly action: PolicyAction;
  readonly scope: PolicyScope;
  readonly rules: readonly CompiledRule[];
}

/** Terms of which all must hold: one `source` or one `operation`. */
export type Conjunction = readonly Term[];

export interface CompiledRule {
  /** `namespace/name` of its policy. */
  readonly policy: string;
  readonly index: number;
  /** Any of these; empty: any source. */
  readonly from: readonly Conjunction[];
  /** Any of these; empty: any operation. */
  readonly to: readonly Conjunction[];
  /** Whether any term needs HTTP: such an ALLOW rule never lets an opaque stream through. */
  readonly usesHttp: boolean;
  /** The decision when this rule decides, built ahead. */
  readonly decision: PreparedDecision;
}

/** Whether the rule matches: any `from` and any `to`. */
export function matchRule(rule: CompiledRule, facts: Facts): Tri {
  const from = matchAny(rule.from, facts);
  if (from === no) return no;
  const to = matchAny(rule.to, facts);
  if (to === no) return no;
  return from === yes && to === yes ? yes : needsHttp;
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
    const value = term.test(facts);
    if (value === no) return no;
    if (value === needsHttp) all = needsHttp;
  }
  return all;
}
