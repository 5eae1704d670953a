/** Rules that make no difference: the same twice, behind a wider one, or at odds with themselves. */
import type { CompiledPolicy, CompiledRule, Conjunction } from '../compiled-policy.js';
import { covers, isSubset } from './implication.js';
import { rulePath } from './subject.js';
import type { LintSubject } from './subject.js';

/** Every two rules of a place are compared, so places with more rules than this are not looked at across policies. */
const maxRules = 1_000;

export function checkRules(subjects: readonly LintSubject[]): void {
  for (const { policy, report } of subjects)
    for (const rule of policy.rules)
      checkContradictions(rule, (path, field) => {
        report.warning(
          'contradictory-entry',
          path,
          'an entry that something can match',
          `${field} and its not-form with the same values`,
          'remove one of the two',
        );
      });
  const places = new Map<string, LintSubject[]>();
  for (const subject of subjects) {
    const key = placeOf(subject.policy);
    const members = places.get(key);
    if (members === undefined) places.set(key, [subject]);
    else members.push(subject);
  }
  for (const members of places.values()) {
    const count = members.reduce((sum, { policy }) => sum + policy.rules.length, 0);
    if (count <= maxRules) checkPlace(members, members);
    else for (const member of members) if (member.policy.rules.length <= maxRules) checkPlace([member], [member]);
  }
}

/** Policies that are judged over the same requests, with values that mean the same. */
function placeOf({ head }: CompiledPolicy): string {
  const [kind = ''] = head.id.split(' ');
  const [namespace = ''] = head.key.split('/');
  return JSON.stringify([kind, namespace, head.scopes, head.dryRun]);
}

function checkPlace(subjects: readonly LintSubject[], others: readonly LintSubject[]): void {
  const rules = others.flatMap(({ policy }) => policy.rules);
  for (const { policy, report } of subjects) {
    for (const rule of policy.rules) {
      const wider = rules.find((other) => other !== rule && makesUseless(other, rule));
      if (wider === undefined) continue;
      const name = wider.policy === policy ? `rule ${String(wider.index)}` : ruleName(wider);
      if (wider.policy.head.action === policy.head.action && covers(rule, wider))
        report.warning(
          'duplicate-rule',
          rulePath(rule),
          'every rule once',
          `the same as ${name}`,
          'remove one of the two',
        );
      else
        report.warning(
          'shadowed-rule',
          rulePath(rule),
          'a rule that makes a difference',
          wider.policy.head.action === policy.head.action
            ? `${name} matches ${isOpen(wider) ? 'everything' : 'whatever this one matches'}`
            : `${name} denies whatever this one allows`,
          isOpen(wider) ? 'remove this rule, or the one that matches everything' : 'remove this rule',
        );
    }
  }
}

const ruleName = ({ policy, index }: CompiledRule): string => `rule ${String(index)} of ${policy.head.key}`;
const isOpen = ({ from, to, when }: CompiledRule): boolean => from.length + to.length + when.length === 0;

/** Whether `rule` would change nothing while `other` is there. Of two that are alike only the later is useless. */
function makesUseless(other: CompiledRule, rule: CompiledRule): boolean {
  const one = other.policy.head;
  const two = rule.policy.head;
  if (one.action !== 'ALLOW' && one.action !== 'DENY') {
    // Of AUDIT and CUSTOM each policy is judged by itself.
    if (other.policy !== rule.policy) return false;
  } else if (one.action === 'DENY' && two.action === 'ALLOW') {
    // A DENY of an earlier tier, the same one, or none comes first.
    if (one.tier !== undefined && (two.tier === undefined ? false : one.tier > two.tier)) return false;
    return covers(other, rule);
  } else if (one.action !== two.action || one.tier !== two.tier) return false;
  if (!covers(other, rule)) return false;
  return !covers(rule, other) || other.isBefore(rule);
}

/** Calls back for each entry that needs a value which its not-form excludes. */
function checkContradictions(rule: CompiledRule, found: (path: string, field: string) => void): void {
  const inner = rule.policy.head.id.startsWith('AuthorizationPolicy ') ? ['.source', '.operation'] : ['', ''];
  const check = (terms: Conjunction, path: string): void => {
    for (const term of terms) {
      if (term.negated || term.values.length === 0) continue;
      const not = terms.find(
        (other) =>
          other.negated &&
          other.constructor === term.constructor &&
          (other.field === term.field || other.field.slice(3).toLowerCase() === term.field.toLowerCase()) &&
          isSubset(term.values, other.values),
      );
      if (not !== undefined) found(path, term.field);
    }
  };
  const path = rulePath(rule);
  rule.from.forEach((terms, index) => {
    check(terms, `${path}.from[${String(index)}]${inner[0] ?? ''}`);
  });
  rule.to.forEach((terms, index) => {
    check(terms, `${path}.to[${String(index)}]${inner[1] ?? ''}`);
  });
  check(rule.when, `${path}.when`);
}
