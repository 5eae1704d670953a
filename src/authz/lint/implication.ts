/** Whether one rule certainly matches whatever another matches. Says no when in doubt. */
import type { CompiledRule, Conjunction } from '../compiled-policy.js';
import type { Term } from '../terms/term.js';

/**
 * Both must be of policies of one kind, namespace and scope, where values mean the same. Values count as they are
 * written: that `a*` covers `ab` is not seen.
 */
export function covers(wide: CompiledRule, narrow: CompiledRule): boolean {
  // At L4 an ALLOW rule with any HTTP term matches nothing, so that it covers no rule without one.
  if (wide.policy.head.action === 'ALLOW' && wide.usesHttp && !narrow.usesHttp) return false;
  return implies(narrow.when, wide.when) && anyImplies(narrow.from, wide.from) && anyImplies(narrow.to, wide.to);
}

function anyImplies(narrow: readonly Conjunction[], wide: readonly Conjunction[]): boolean {
  if (wide.length === 0) return true;
  return narrow.length > 0 && narrow.every((own) => wide.some((theirs) => implies(own, theirs)));
}

function implies(narrow: Conjunction, wide: Conjunction): boolean {
  return wide.every((theirs) => narrow.some((own) => own === theirs || termImplies(own, theirs)));
}

function termImplies(own: Term, theirs: Term): boolean {
  if (own.constructor !== theirs.constructor || own.field !== theirs.field || own.negated !== theirs.negated)
    return false;
  // Without values a term is told apart by what it is only.
  if (own.values.length === 0 || theirs.values.length === 0) return false;
  return own.negated ? isSubset(theirs.values, own.values) : isSubset(own.values, theirs.values);
}

export function isSubset(some: readonly string[], all: readonly string[]): boolean {
  if (all.length <= 8) return some.every((value) => all.includes(value));
  const set = new Set(all);
  return some.every((value) => set.has(value));
}
