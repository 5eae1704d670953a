/** The authorization engine: policies in, decisions out; no network, no files. */
import type { Clock } from '../core/index.js';
import { compileSteps } from './compile.js';
import type { Compilation } from './compile.js';
import { CoverageCounter } from './coverage.js';
import type { CoverageReport } from './coverage.js';
import { prepareDecision } from './decision.js';
import type { ConnectionDecision, Decision, PreparedDecision } from './decision.js';
import { peerModeOf } from './dialects/peer-authentication.js';
import type { PeerDestination, PeerMode } from './dialects/peer-authentication.js';
import { jwtRulesOf } from './dialects/request-authentication.js';
import type { JwtRule } from './dialects/request-authentication.js';
import { Evaluation, undecidedConnection } from './evaluation.js';
import { explain } from './explanation.js';
import type { Explanation } from './explanation.js';
import { Facts } from './facts.js';
import type { GrantState } from './grant.js';
import { resolveOptions } from './options.js';
import type { AuthzOptions } from './options.js';
import { hasAudit, hasShadow } from './policy-group.js';
import { Applicable } from './policy-set.js';
import type { PolicySet } from './policy-set.js';
import { PrincipalCache } from './principal.js';
import type { PolicyProblem } from './problem.js';
import type { AuthzRequest } from './request.js';
import { finish, finishInSlices } from './slices.js';
import type { SliceOptions } from './slices.js';

export interface CompileAsyncOptions extends AuthzOptions, SliceOptions {
  /** An engine compiled earlier with the same options: what has not changed since is taken from it. */
  readonly previous?: AuthzEngine | undefined;
}

/**
 * A compiled, immutable set of policies. To change policies compile a new engine and swap it in.
 *
 * Order of evaluation: a matching CUSTOM policy whose provider did not allow denies; else any matching DENY rule denies;
 * else, with tiers, the first tier that has a matching rule decides, DENY before ALLOW; else any matching ALLOW rule allows; else, when an ALLOW policy applies to the destination, denied; else
 * `defaultAction`. What a request leaves open counts as matched in a DENY and as not matched in an ALLOW. When several
 * rules match, the decision names the first by policy name.
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
  /** Warnings of the compilation; errors throw instead, or, with `lenient`, are here too. */
  readonly problems: readonly PolicyProblem[];
  readonly #compilation: Compilation;
  readonly #policies: PolicySet;
  readonly #principals = new PrincipalCache();
  // Reused from call to call, which is safe since a decision is synchronous and never re-entered.
  readonly #facts: Facts;
  readonly #applicable = new Applicable();
  readonly #evaluation: Evaluation;

  private constructor(compilation: Compilation, clock: Clock | undefined) {
    this.problems = compilation.problems;
    this.#facts = new Facts(clock);
    this.#compilation = compilation;
    this.#policies = compilation.set;
    this.#evaluation = new Evaluation(this.#facts, this.#applicable, compilation.options.defaultAction);
  }

  /**
   * Compiles `manifests`: objects as parsed from YAML or JSON, or wrapped as `{ source, manifest }` so that problems say
   * where they are.
   *
   * Throws `AuthzCompileError` (`AUTHZ_COMPILE_FAILED`) with every problem, and `AUTHZ_OPTION_INVALID`.
   */
  static compile(manifests: readonly unknown[], options?: AuthzOptions): AuthzEngine {
    return new AuthzEngine(
      finish(compileSteps(manifests, resolveOptions(options), undefined, options?.clock)),
      options?.clock,
    );
  }

  /**
   * As `compile`, in slices of at most about 5 ms between which other work runs. With `previous`, unchanged policies and
   * their indexes are reused: recognised by identity when the manifest is frozen all through (`freezeManifest`), else by
   * content. Rejects with what `compile` throws, or with `signal.reason`.
   */
  static async compileAsync(manifests: readonly unknown[], options: CompileAsyncOptions = {}): Promise<AuthzEngine> {
    const { previous, signal, clock, ...own } = options;
    const steps = compileSteps(
      [...manifests],
      resolveOptions({ ...own, clock }),
      previous === undefined ? undefined : previous.#compilation,
      clock,
    );
    return new AuthzEngine(await finishInSlices(steps, { signal, clock }), clock);
  }

  /** Decides one request, or, without `http`, one opaque stream. Never throws: a request that can't be judged is denied. */
  authorize(request: AuthzRequest): Decision {
    try {
      const refusal = this.#load(request, false);
      if (refusal !== undefined) return prepareDecision('deny', refusal).decision;
      const plaintext = this.#refusePlaintext(request);
      if (plaintext !== undefined) return plaintext.decision;
      const { decision } = this.#evaluation.judge(false, false);
      return (this.#applicable.has & (hasShadow | hasAudit)) === 0 ? decision : this.#withExtras(decision);
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
      const plaintext = this.#refusePlaintext(request);
      if (plaintext !== undefined) return plaintext.connection;
      const first = this.#evaluation.judge(true, false);
      return first === undecidedConnection ? this.#evaluation.judge(false, false).needsHttp : first.connection;
    } catch {
      return malformedRequest().connection;
    }
  }

  /** The decision with every policy that applies, which field failed in each, and for a default denial the nearest miss. */
  explain(request: AuthzRequest): Explanation {
    const decision = this.authorize(request);
    try {
      if (this.#load(request, false) !== undefined) return Object.freeze({ decision, considered: Object.freeze([]) });
      return explain(decision, this.#applicable, this.#facts);
    } catch {
      return Object.freeze({ decision, considered: Object.freeze([]) });
    }
  }

  /** Which policies, rules and values `requests` exercise; for tests of policies. */
  coverage(requests: Iterable<AuthzRequest>): CoverageReport {
    const counter = new CoverageCounter();
    for (const request of requests) {
      if (this.authorize(request).reason === malformedReason || this.#load(request, false) !== undefined) continue;
      const groups = [...this.#applicable.groups, ...this.#applicable.uncertain];
      counter.record(new Set(groups.flatMap((group) => group.policies)), this.#facts);
    }
    return counter.report(this.#policies.policies);
  }

  /**
   * The mode of the PeerAuthentication that governs a destination; undefined when none does. The engine itself denies a
   * request without a principal where it is STRICT.
   */
  peerMode(destination: PeerDestination): PeerMode | undefined {
    return peerModeOf(this.#compilation.peers, destination)?.mode;
  }

  /** The rules of every RequestAuthentication that governs a destination, for `JwtAuthenticator`. */
  jwtRules(destination: AuthzRequest['destination']): readonly JwtRule[] {
    return jwtRulesOf(this.#compilation.requests, destination);
  }

  /** Every grant that ends (`notAfter`), in the order of their ends, as of now. */
  grants(): readonly GrantState[] {
    const now = this.#facts.nowMs();
    return Object.freeze(
      this.#policies.policies
        .flatMap(({ head }) =>
          head.grant === undefined
            ? []
            : [Object.freeze({ policy: head.key, ...head.grant, ended: !(now < head.grant.notAfterMs) })],
        )
        .sort((one, other) => one.notAfterMs - other.notAfterMs),
    );
  }

  #refusePlaintext(request: AuthzRequest): PreparedDecision | undefined {
    const { peers } = this.#compilation;
    if (peers.length === 0 || this.#facts.principal !== undefined) return undefined;
    const governing = peerModeOf(peers, request.destination);
    if (governing?.mode !== 'STRICT') return undefined;
    return prepareDecision('deny', `plaintext is refused: ${governing.key} says STRICT`, { policy: governing.key });
  }

  #load(request: AuthzRequest, ignoreHttp: boolean): string | undefined {
    const refusal = this.#facts.load(request, this.#principals, ignoreHttp);
    if (refusal === undefined) this.#policies.collect(request.destination, this.#applicable);
    return refusal;
  }

  /** Adds what the dry-run and AUDIT policies say. */
  #withExtras(decision: Decision): Decision {
    const shadowed = (this.#applicable.has & hasShadow) !== 0;
    const audited = this.#evaluation.audited();
    if (!shadowed && audited.length === 0) return decision;
    return Object.freeze({
      ...decision,
      ...(shadowed ? { dryRun: this.#evaluation.judge(false, true).decision } : {}),
      ...(audited.length === 0 ? {} : { audited: Object.freeze(audited) }),
    });
  }
}

const malformedReason = 'the authorization request is malformed';

function malformedRequest(): ReturnType<typeof prepareDecision> {
  return prepareDecision('deny', malformedReason);
}
