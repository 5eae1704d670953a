/** Matchers for vitest and jest: `expect.extend(authzMatchers)`, then `expect(engine).toAllow(request)`. */
import type { AuthzEngine, AuthzRequest, Decision, Explanation } from '../authz/index.js';

export interface AuthzMatcherOptions {
  /** `namespace/name` of the policy that must decide, or `namespace/name/rule`. */
  readonly by?: string | undefined;
}

export interface AuthzMatchers<R = unknown> {
  /** The engine allows the request. */
  toAllow(request: AuthzRequest, options?: AuthzMatcherOptions): R;
  /** The engine denies the request. */
  toDeny(request: AuthzRequest, options?: AuthzMatcherOptions): R;
}

interface MatcherResult {
  readonly pass: boolean;
  readonly message: () => string;
}

/**
 * What `expect.extend` of vitest and jest takes. A failure says which policies were considered and what failed in them.
 * With TypeScript, declare once: `declare module 'vitest' { interface Matchers<T> extends AuthzMatchers<T> {} }`.
 *
 * @example
 * expect.extend(authzMatchers);
 * expect(engine).toDeny(request, { by: 'production/no-untrusted/0' });
 */
export const authzMatchers = Object.freeze({
  toAllow: (engine: AuthzEngine, request: AuthzRequest, options?: AuthzMatcherOptions) =>
    check(engine, request, 'allow', options),
  toDeny: (engine: AuthzEngine, request: AuthzRequest, options?: AuthzMatcherOptions) =>
    check(engine, request, 'deny', options),
});

function check(
  engine: AuthzEngine,
  request: AuthzRequest,
  action: Decision['action'],
  { by }: AuthzMatcherOptions = {},
): MatcherResult {
  const explanation = engine.explain(request);
  const { decision } = explanation;
  const decider = decision.policy === undefined ? 'no policy' : `${decision.policy}/${String(decision.rule ?? '')}`;
  const pass = decision.action === action && (by === undefined || by === decision.policy || by === decider);
  return {
    pass,
    message: () =>
      `expected the engine ${pass ? 'not ' : ''}to ${action} the request${by === undefined ? '' : ` by ${by}`}, got ${decision.action} by ${decider}: ${decision.reason}${misses(explanation)}`,
  };
}

function misses({ considered }: Explanation): string {
  const lines = considered.flatMap(({ policy, action, rules }) =>
    rules.flatMap((rule) =>
      rule.matched
        ? [`${action} ${policy} rule ${String(rule.rule)} matched`]
        : rule.failed.map(
            ({ path, expected, got }) =>
              `${action} ${policy}: ${path} wants ${expected.join(' or ')}, got ${got ?? 'nothing'}`,
          ),
    ),
  );
  return lines.length === 0 ? '' : `\n  ${lines.join('\n  ')}`;
}
