/** Policies with a tier: tiers in ascending order, in each DENY before ALLOW; the first rule that matches decides. */
import type { CompiledRule } from './compiled-policy.js';
import type { Facts } from './facts.js';
import type { PolicyGroup, Segment, Tier } from './policy-group.js';
import type { RuleSearch } from './rule-index.js';

export class TierSearch {
  readonly #facts: Facts;
  readonly #search: RuleSearch;
  /** Whether, before the rule that was found, some DENY or some ALLOW would match depending on the HTTP request. */
  denyIsOpen = false;
  allowIsOpen = false;

  constructor(facts: Facts, search: RuleSearch) {
    this.#facts = facts;
    this.#search = search;
  }

  /**
   * The first rule that matches for certain; undefined when no tier has one. Only groups that certainly apply have tiers:
   * those that depend on labels are Istio's.
   */
  first(groups: readonly PolicyGroup[], mayBecomeHttp: boolean, withShadow: boolean): CompiledRule | undefined {
    this.denyIsOpen = false;
    this.allowIsOpen = false;
    const facts = this.#facts;
    const search = this.#search;
    search.dead = undefined;
    const tiers: Tier[] = [];
    for (const group of groups) tiers.push(...group.tiers);
    tiers.sort((one, other) => one.tier - other.tier);
    for (let start = 0, end = 0; start < tiers.length; start = end) {
      end = start;
      while (end < tiers.length && tiers[end]?.tier === tiers[start]?.tier) end += 1;

      facts.judgeDeny(mayBecomeHttp);
      search.skipHttpRules = false;
      const denying = this.#firstOf('deny', tiers, start, end, withShadow);
      if (denying !== undefined) return denying;
      this.denyIsOpen ||= search.open;

      facts.judgeAllow(mayBecomeHttp);
      search.skipHttpRules = facts.http === undefined;
      const allowing = this.#firstOf('allow', tiers, start, end, withShadow);
      if (allowing !== undefined) return allowing;
      this.allowIsOpen ||= search.open;
    }
    return undefined;
  }

  /** The same tier of several groups is one tier. */
  #firstOf(
    action: keyof Pick<Segment, 'allow' | 'deny'>,
    tiers: readonly Tier[],
    start: number,
    end: number,
    withShadow: boolean,
  ): CompiledRule | undefined {
    const search = this.#search;
    search.begin();
    for (let at = start; at < end; at += 1) {
      tiers[at]?.enforced?.[action].search(search);
      if (withShadow) tiers[at]?.shadow?.[action].search(search);
    }
    return search.found;
  }
}
