/** Which policies, rules and single values a set of requests exercised. */
import type { CompiledPolicy, CompiledRule, Conjunction } from './compiled-policy.js';
import { judge } from './compiled-policy.js';
import { entryPath } from './explanation.js';
import type { Facts } from './facts.js';
import type { Term } from './terms/term.js';
import { no, yes } from './tri.js';

export interface ValueCoverage {
  /** Where the value is written, such as `spec.rules[0].to[0].operation.paths[1]`. */
  readonly path: string;
  readonly value: string;
  readonly hits: number;
}

export interface RuleCoverage {
  readonly rule: number;
  readonly path: string;
  /** Requests that it matched. */
  readonly hits: number;
  /** Values of plain forms: how many matching requests each one matched. Not-forms: how many requests each one kept out. */
  readonly values: readonly ValueCoverage[];
}

export interface PolicyCoverage {
  /** `namespace/name`. */
  readonly policy: string;
  readonly kind: string;
  readonly hits: number;
  readonly rules: readonly RuleCoverage[];
}

export interface CoverageReport {
  readonly policies: readonly PolicyCoverage[];
  /** Share of policies, rules and values with a hit, from 0 to 1; 1 when there are none. */
  readonly covered: {
    readonly policies: number;
    readonly rules: number;
    readonly values: number;
    readonly total: number;
  };
}

/** Counts hits while requests are judged one after another. */
export class CoverageCounter {
  readonly #applied = new Map<CompiledPolicy, number>();
  readonly #rules = new Map<CompiledRule, number>();
  readonly #values = new Map<CompiledRule, Map<string, number>>();

  /** `facts` holds a request to which `policies` apply. */
  record(policies: Iterable<CompiledPolicy>, facts: Facts): void {
    for (const policy of policies) {
      const { action } = policy.head;
      this.#applied.set(policy, (this.#applied.get(policy) ?? 0) + 1);
      if (action === 'ALLOW') facts.judgeAllow(false);
      else facts.judgeDeny(false);
      for (const rule of policy.rules) {
        const matched = rule.match(facts) === yes && !(action === 'ALLOW' && rule.usesHttp && facts.http === undefined);
        if (matched) this.#rules.set(rule, (this.#rules.get(rule) ?? 0) + 1);
        for (const { term, path, reached } of termsOf(rule, facts)) {
          // A value of a not-form shows its worth when it keeps a request out.
          if (term.negated ? matched || !reached : !matched) continue;
          for (const index of term.matchedValues(facts)) this.#hit(rule, `${path}[${String(index)}]`);
        }
      }
    }
  }

  report(policies: readonly CompiledPolicy[]): CoverageReport {
    const reports = policies.map((policy): PolicyCoverage => {
      const rules = policy.rules.map((rule): RuleCoverage => {
        const hits = this.#values.get(rule);
        return Object.freeze({
          rule: rule.index,
          path: `${policy.head.rulesPath}[${String(rule.index)}]`,
          hits: this.#rules.get(rule) ?? 0,
          values: Object.freeze(
            termsOf(rule, undefined).flatMap(({ term, path }) =>
              term.values.map((value, index) => {
                const at = `${path}[${String(index)}]`;
                return Object.freeze({ path: at, value, hits: hits?.get(at) ?? 0 });
              }),
            ),
          ),
        });
      });
      const [kind = ''] = policy.head.id.split(' ');
      return Object.freeze({
        policy: policy.head.key,
        kind,
        // Without rules a policy works by being there.
        hits: rules.length === 0 ? (this.#applied.get(policy) ?? 0) : rules.reduce((sum, rule) => sum + rule.hits, 0),
        rules: Object.freeze(rules),
      });
    });
    const allRules = reports.flatMap((policy) => policy.rules);
    const allValues = allRules.flatMap((rule) => rule.values);
    return Object.freeze({
      policies: Object.freeze(reports),
      covered: Object.freeze({
        policies: share(reports),
        rules: share(allRules),
        values: share(allValues),
        total: share([...reports, ...allRules, ...allValues]),
      }),
    });
  }

  #hit(rule: CompiledRule, path: string): void {
    const hits = this.#values.get(rule) ?? new Map<string, number>();
    this.#values.set(rule, hits);
    hits.set(path, (hits.get(path) ?? 0) + 1);
  }
}

function share(items: readonly { readonly hits: number }[]): number {
  return items.length === 0 ? 1 : items.filter((item) => item.hits > 0).length / items.length;
}

/** Every term with its place; `reached`: whether the other terms of its entry hold for `facts`. */
function termsOf(rule: CompiledRule, facts: Facts | undefined): { term: Term; path: string; reached: boolean }[] {
  const conjunction = (
    terms: Conjunction,
    pathOf: (term: Term, index: number) => string,
  ): { term: Term; path: string; reached: boolean }[] =>
    terms.map((term, index) => ({
      term,
      path: pathOf(term, index),
      reached: facts !== undefined && terms.every((other) => other === term || judge(other, facts) !== no),
    }));
  const rulePath = `${rule.policy.head.rulesPath}[${String(rule.index)}]`;
  return [
    ...rule.from.flatMap((terms, index) =>
      conjunction(terms, (term) => `${entryPath(rule, 'from', index)}.${term.field}`),
    ),
    ...rule.to.flatMap((terms, index) => conjunction(terms, (term) => `${entryPath(rule, 'to', index)}.${term.field}`)),
    ...conjunction(
      rule.when,
      (term, index) => `${rulePath}.when[${String(index)}].${term.negated ? 'notValues' : 'values'}`,
    ),
  ];
}
