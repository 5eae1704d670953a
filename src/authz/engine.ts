/** The authorization engine: policies in, decisions out; no network, no files, no clock. */
import { compilePolicies } from './compile.js';
import { matchRule } from './compiled-policy.js';
import { prepareDecision } from './decision.js';
import type { ConnectionDecision, Decision, PreparedDecision } from './decision.js';
import { explain } from './explanation.js';
import type { Explanation } from './explanation.js';
import { Facts } from './facts.js';
import { resolveOptions } from './options.js';
import type { AuthzOptions, ResolvedOptions } from './options.js';
import { PolicySet } from './policy-set.js';
import type { PolicyGroup } from './policy-set.js';
import { PrincipalCache } from './principal.js';
import type { PolicyProblem } from './problem.js';
import type { AuthzRequest } from './request.js';
import { needsHttp, no, yes } from './tri.js';

const defaultAllow = prepareDecision('allow', 'no policy applies and the default is allow');
const defaultDeny = prepareDecision('deny', 'no ALLOW policy applies and the default is deny');

/**
 * A compiled, immutable set of policies. To change policies compile a new engine and swap it in.
 *
 * Order of evaluation: any matching DENY rule denies; else any matching ALLOW rule allows; else, when an ALLOW policy
 * applies to the destination, denied; else `defaultAction`. What a request leaves open counts as matched in a DENY and
 * as not matched in an ALLOW.
 *
 * @example
 * const engine = AuthzEngine.compile(manifests, { trustDomain: 'cluster.local' });
 * const decision = engine.authorize({
 *   source: { principal: 'spiffe://cluster.local/ns/frontend/sa/web', node: 'spiffe://cluster.local/agent/node-a' },
 *   destination: { namespace: 'production', services: ['production/backend-api'], port: 8080 },
 *   http: { method: 'GET', path: '/orders/7' },
 * });
 */
export class AuthzEngine {
  /** Warnings of the compilation; errors throw instead. */
  readonly problems: readonly PolicyProblem[];
  readonly #options: ResolvedOptions;
  readonly #policies: PolicySet;
  readonly #principals = new PrincipalCache();
  // Reused from call to call, which is safe since a decision is synchronous and never re-entered.
  readonly #facts = new Facts();
  readonly #groups: PolicyGroup[] = [];

  private constructor(policies: PolicySet, options: ResolvedOptions, problems: readonly PolicyProblem[]) {
    this.problems = problems;
    this.#options = options;
    this.#policies = policies;
  }

  /**
   * Compiles `manifests`: objects as parsed from YAML or JSON, or `{ source, manifest }`.
   *
   * Throws `AuthzCompileError` (`AUTHZ_COMPILE_FAILED`) with every problem, and `AUTHZ_OPTION_INVALID`.
   */
  static compile(manifests: readonly unknown[], options?: AuthzOptions): AuthzEngine {
    const resolved = resolveOptions(options);
    const { policies, problems } = compilePolicies(manifests, resolved);
    return new AuthzEngine(new PolicySet(policies), resolved, problems);
  }

  /** Decides one request, or, without `http`, one opaque stream. Never throws: a request that can't be judged is denied. */
  authorize(request: AuthzRequest): Decision {
    try {
      const refusal = this.#load(request, false);
      return refusal === undefined ? this.#judge(false).decision : prepareDecision('deny', refusal).decision;
    } catch {
      return malformedRequest().decision;
    }
  }

  /**
   * Decides a connection of which nothing has been read; `request.http` is ignored. `allow` and `deny` hold for any
   * request and for any other protocol; `needs-http` asks for `authorize` on every request.
   */
  authorizeConnection(request: AuthzRequest): ConnectionDecision {
    try {
      const refusal = this.#load(request, true);
      if (refusal !== undefined) return prepareDecision('deny', refusal).connection;
      const first = this.#judge(true);
      return first === undecidedConnection ? this.#judge(false).needsHttp : first.connection;
    } catch {
      return malformedRequest().connection;
    }
  }

  /** The decision with every policy that applies, which field failed in each, and for a default denial the nearest miss. */
  explain(request: AuthzRequest): Explanation {
    const decision = this.authorize(request);
    try {
      if (this.#load(request, false) !== undefined) return Object.freeze({ decision, considered: Object.freeze([]) });
      return explain(decision, this.#groups, this.#facts);
    } catch {
      return Object.freeze({ decision, considered: Object.freeze([]) });
    }
  }

  #load(request: AuthzRequest, ignoreHttp: boolean): string | undefined {
    const refusal = this.#facts.load(request, this.#principals, ignoreHttp);
    if (refusal === undefined) this.#policies.collect(request.destination, this.#groups);
    return refusal;
  }

  /** Evaluates the loaded facts. With `mayBecomeHttp` the answer may be `undecidedConnection`. */
  #judge(mayBecomeHttp: boolean): PreparedDecision {
    const facts = this.#facts;
    const groups = this.#groups;
    let denyIsOpen = false;
    facts.judgeDeny(mayBecomeHttp);
    for (const group of groups) {
      for (const rule of group.deny) {
        const value = matchRule(rule, facts);
        if (value === yes) return facts.pathDefect === undefined ? rule.decision : withAmbiguity(rule.decision, facts);
        if (value === needsHttp) denyIsOpen = true;
      }
    }
    facts.judgeAllow(mayBecomeHttp);
    const opaque = facts.http === undefined;
    let allowPolicies = 0;
    let allowIsOpen = false;
    for (const group of groups) {
      allowPolicies += group.allowPolicies.length;
      for (const rule of group.allow) {
        if (opaque && rule.usesHttp) {
          if (mayBecomeHttp && !allowIsOpen && matchRule(rule, facts) !== no) allowIsOpen = true;
        } else if (matchRule(rule, facts) === yes) {
          return denyIsOpen ? undecidedConnection : rule.decision;
        }
      }
    }
    if (allowIsOpen) return undecidedConnection;
    if (allowPolicies > 0) return prepareDecision('deny', implicitDenial(groups, facts));
    if (this.#options.defaultAction === 'deny') return defaultDeny;
    return denyIsOpen ? undecidedConnection : defaultAllow;
  }
}

/** Stands for "only an HTTP request could tell". */
const undecidedConnection = prepareDecision('deny', 'the decision depends on the HTTP request');

function malformedRequest(): PreparedDecision {
  return prepareDecision('deny', 'the authorization request is malformed');
}

function implicitDenial(groups: readonly PolicyGroup[], facts: Facts): string {
  const names = groups.flatMap((group) => group.allowPolicies);
  const list =
    names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${String(names.length - 3)} more` : names.join(', ');
  const ambiguity = facts.pathDefect === undefined ? '' : `; the path is ambiguous: ${facts.pathDefect}`;
  const noHttp =
    facts.http === undefined && groups.some((group) => group.allow.some((rule) => rule.usesHttp))
      ? '; rules about HTTP never match an opaque stream'
      : '';
  return `no rule matched of the ALLOW policies that apply (${list})${ambiguity}${noHttp}`;
}

/** A DENY about paths that an ambiguous path could not escape. */
function withAmbiguity(prepared: PreparedDecision, facts: Facts): PreparedDecision {
  const { decision } = prepared;
  if (decision.policy === undefined || decision.rule === undefined) return prepared;
  return prepareDecision('deny', `${decision.reason}; the path is ambiguous: ${facts.pathDefect ?? ''}`, {
    policy: decision.policy,
    rule: decision.rule,
  });
}
