/** From loaded facts and applicable groups to a decision. */
import type { CompiledRule } from './compiled-policy.js';
import { prepareDecision } from './decision.js';
import type { PreparedDecision } from './decision.js';
import type { Facts } from './facts.js';
import type { PolicyGroup } from './policy-group.js';
import type { Applicable } from './policy-set.js';
import { defaultDenial, hasAllow, hasCustom, hasDeny, hasGrants, hasTiers, opaqueNote } from './policy-group.js';
import { RuleSearch } from './rule-index.js';
import { TierSearch } from './tier-search.js';
import { no } from './tri.js';

/** Stands for "only the HTTP request, or its absence, could tell". */
export const undecidedConnection = prepareDecision('deny', 'the decision depends on the HTTP request');

const defaultAllow = prepareDecision('allow', 'no policy applies and the default is allow');
const defaultDeny = prepareDecision('deny', 'no ALLOW policy applies and the default is deny');

export class Evaluation {
  readonly #facts: Facts;
  readonly #search: RuleSearch;
  readonly #applicable: Applicable;
  readonly #defaultAction: 'allow' | 'deny';
  #tiers: TierSearch | undefined;

  constructor(facts: Facts, applicable: Applicable, defaultAction: 'allow' | 'deny') {
    this.#facts = facts;
    this.#search = new RuleSearch(facts);
    this.#applicable = applicable;
    this.#defaultAction = defaultAction;
  }

  /**
   * CUSTOM, then DENY, then tier by tier DENY and ALLOW, then ALLOW. With `mayBecomeHttp` the answer may be
   * `undecidedConnection`; with `withShadow` dry-run policies count too.
   */
  judge(mayBecomeHttp: boolean, withShadow: boolean): PreparedDecision {
    const facts = this.#facts;
    const search = this.#search;
    const { groups, uncertain, has } = this.#applicable;
    let denyIsOpen = false;
    if ((has & (hasCustom | hasDeny)) !== 0 || withShadow) {
      facts.judgeDeny(mayBecomeHttp);
      if ((has & hasCustom) !== 0) {
        for (const list of [groups, uncertain]) {
          for (const group of list) {
            const refused = this.#judgeCustom(group, mayBecomeHttp);
            if (refused === undecidedConnection) denyIsOpen = true;
            else if (refused !== undefined) return refused;
          }
        }
      }
      search.begin();
      for (const group of groups) this.#searchDeny(group, withShadow);
      for (const group of uncertain) this.#searchDeny(group, withShadow);
      const denying = search.found;
      if (denying !== undefined) return withAmbiguity(denying, facts);
      denyIsOpen ||= search.open;
    }

    let allowIsOpen = false;
    if ((has & hasTiers) !== 0) {
      const tiers = (this.#tiers ??= new TierSearch(facts, search));
      const rule = tiers.first(groups, mayBecomeHttp, withShadow);
      denyIsOpen ||= tiers.denyIsOpen;
      allowIsOpen = tiers.allowIsOpen;
      if (rule !== undefined) {
        if (rule.policy.head.action === 'DENY') return allowIsOpen ? undecidedConnection : withAmbiguity(rule, facts);
        return denyIsOpen ? undecidedConnection : rule.decision;
      }
    }
    let anyAllow = (has & hasAllow) !== 0;
    if (!anyAllow && !allowIsOpen && !withShadow) return this.#byDefault(denyIsOpen);

    facts.judgeAllow(mayBecomeHttp);
    search.begin();
    for (const group of groups) {
      anyAllow ||= withShadow && group.shadowAllowPolicies.length > 0;
      this.#searchAllow(group, withShadow);
    }
    if (withShadow) for (const group of uncertain) anyAllow ||= group.shadowAllowPolicies.length > 0;
    const allowing = search.found;
    if (allowing !== undefined) return denyIsOpen ? undecidedConnection : allowing.decision;
    if (search.open || allowIsOpen) return undecidedConnection;
    return anyAllow ? this.#denyUnmatched(withShadow) : this.#byDefault(denyIsOpen);
  }

  /** `namespace/name` of the AUDIT policies that match; an open term counts as matched. */
  audited(): readonly string[] {
    this.#facts.judgeDeny(false);
    return [...this.#applicable.groups, ...this.#applicable.uncertain].flatMap((group) =>
      group.audit
        .filter((policy) => policy.rules.some((rule) => rule.match(this.#facts) !== no))
        .map((policy) => policy.head.key),
    );
  }

  #searchDeny(group: PolicyGroup, withShadow: boolean): void {
    const search = this.#search;
    search.dead = group.dead;
    search.skipHttpRules = false;
    for (const index of group.denyIndexes) index.search(search);
    if (withShadow) group.shadow?.deny.search(search);
  }

  #searchAllow(group: PolicyGroup, withShadow: boolean): void {
    const search = this.#search;
    search.dead = group.dead;
    // At L4 an ALLOW rule about HTTP never matches, even where another of its alternatives would.
    search.skipHttpRules = this.#facts.http === undefined;
    for (const index of group.allowIndexes) index.search(search);
    if (withShadow) group.shadow?.allow.search(search);
  }

  /** Undefined when no provider refuses. */
  #judgeCustom(group: PolicyGroup, mayBecomeHttp: boolean): PreparedDecision | undefined {
    let open = false;
    for (const policy of group.custom) {
      for (const rule of policy.rules) {
        if (rule.match(this.#facts) === no) continue;
        // The provider answers about requests, so a connection leaves it open.
        if (mayBecomeHttp) {
          open = true;
          break;
        }
        const { key, provider = '' } = policy.head;
        const { custom } = this.#facts.request;
        const answer = custom !== undefined && Object.hasOwn(custom, provider) ? custom[provider] : undefined;
        if (answer === 'allow') break;
        const reason =
          answer === 'deny' ? `provider ${provider} refused` : `provider ${provider} is needed and has not answered`;
        return prepareDecision('deny', `denied by ${key} rule ${String(rule.index)}: ${reason}`, {
          policy: key,
          rule: rule.index,
        });
      }
    }
    return open ? undecidedConnection : undefined;
  }

  /** Where no ALLOW policy applies. */
  #byDefault(denyIsOpen: boolean): PreparedDecision {
    if (this.#defaultAction === 'deny') return defaultDeny;
    return denyIsOpen ? undecidedConnection : defaultAllow;
  }

  /** Where ALLOW policies apply and none matches. */
  #denyUnmatched(withShadow: boolean): PreparedDecision {
    const { groups, uncertain, has } = this.#applicable;
    const facts = this.#facts;
    const ambiguity = pathDefectOf(groups, facts) ?? pathDefectOf(uncertain, facts);
    if (!withShadow && ambiguity === undefined && uncertain.length === 0 && (has & hasGrants) === 0) {
      // Nearly always the policies stand in one group, whose answer is always the same.
      let only: PolicyGroup | undefined;
      let count = 0;
      for (const group of groups) {
        if ((group.has & hasAllow) === 0) continue;
        only = group;
        count += 1;
      }
      if (count === 1 && only !== undefined) {
        const opaque = facts.http === undefined && only.allowUsesHttp;
        return opaque ? only.opaqueDenial : only.defaultDenial;
      }
    }
    const all = [...groups, ...uncertain];
    const names = all.flatMap((group) => [...group.allowPolicies, ...(withShadow ? group.shadowAllowPolicies : [])]);
    const notes: string[] = [];
    if (ambiguity !== undefined) notes.push(`the path is ambiguous: ${ambiguity}`);
    if (facts.http === undefined && all.some((group) => group.allowUsesHttp)) notes.push(opaqueNote);
    if (uncertain.length > 0)
      notes.push("the pod's labels are not given, so policies with a selector count as applying");
    if ((has & hasGrants) !== 0) notes.push(...endedGrants(groups, facts.nowMs()));
    return defaultDenial(names, notes);
  }
}

/** So that who is denied since a grant ended learns of it from the log. */
function endedGrants(groups: readonly PolicyGroup[], nowMs: number): readonly string[] {
  return groups.flatMap(({ policies }) =>
    policies.flatMap(({ head: { key, grant, dryRun } }) =>
      grant === undefined || dryRun || nowMs < grant.notAfterMs
        ? []
        : [`the grant ${key} of ${grant.owner} ended ${grant.notAfter}`],
    ),
  );
}

/** A DENY about paths that an ambiguous path could not escape says so. */
function withAmbiguity(rule: CompiledRule, facts: Facts): PreparedDecision {
  if (facts.http === undefined || rule.pathMode === undefined || facts.path(rule.pathMode) !== undefined)
    return rule.decision;
  const { reason } = rule.decision.decision;
  return prepareDecision('deny', `${reason}; the path is ambiguous: ${facts.pathDefect ?? ''}`, {
    policy: rule.policy.head.key,
    rule: rule.index,
  });
}

/** Why the path satisfies no rule about paths of these groups; undefined when it might, or they have none. */
function pathDefectOf(groups: readonly PolicyGroup[], facts: Facts): string | undefined {
  if (facts.http === undefined) return undefined;
  for (const group of groups) {
    for (const mode of group.allowPathModes) if (facts.path(mode) === undefined) return facts.pathDefect;
  }
  return undefined;
}
