/** What compilation reports, and what only shows when policies are seen side by side or against the mesh. */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { compileSteps } from './compile.js';
import type { PolicyScope } from './compiled-policy.js';
import type { PeerAuthentication } from './dialects/peer-authentication.js';
import type { RequestAuthentication } from './dialects/request-authentication.js';
import { AuthzCompileError } from './errors.js';
import { AuthzEngine } from './engine.js';
import type { LintFacts } from './lint/facts.js';
import { checkRules } from './lint/rules.js';
import type { LintSubject, PlacedSubject } from './lint/subject.js';
import { checkTargets } from './lint/targets.js';
import { ManifestReport, unwrap } from './manifest.js';
import { resolveOptions } from './options.js';
import type { AuthzOptions, ResolvedOptions } from './options.js';
import type { PolicyProblem } from './problem.js';
import { finish } from './slices.js';

export interface LintSettings extends LintFacts {
  /** Warn of grants that end within so many ms. Default 0: only of those that have ended. */
  readonly expiringWithinMs?: number | undefined;
}

/**
 * Every error and warning of `manifests`; never throws for a bad policy. Policies with errors are not checked further.
 * docs/policy-problems.md has every code with a bad and a good example. Throws `AUTHZ_OPTION_INVALID` for bad options.
 */
export function lintPolicies(
  manifests: readonly unknown[],
  options: AuthzOptions = {},
  { expiringWithinMs = 0, ...facts }: LintSettings = {},
): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  try {
    problems.push(...AuthzEngine.compile(manifests, { ...options, lenient: false }).problems);
  } catch (error) {
    if (!(error instanceof AuthzCompileError)) throw error;
    problems.push(...error.problems);
  }
  const resolved = resolveOptions({ ...options, lenient: false });
  const placed = manifests.flatMap((input) => readSubject(input, resolved, options.clock, problems));
  const subjects = placed.flatMap(({ policy, report }) => (policy === undefined ? [] : [{ policy, report }]));
  const nowMs = (options.clock ?? systemClock).now();
  for (const subject of subjects) checkGrant(subject, nowMs, expiringWithinMs);
  checkRules(subjects);
  checkTargets(placed, facts);
  return Object.freeze(problems);
}

/** One by one, so that the errors of one policy do not hide what is doubtful about the others. */
function readSubject(
  input: unknown,
  options: ResolvedOptions,
  clock: Clock | undefined,
  problems: PolicyProblem[],
): PlacedSubject[] {
  try {
    const { set, peers, requests } = finish(compileSteps([input], options, undefined, clock));
    const [policy] = set.policies;
    const other = peers[0] ?? requests[0];
    const id = policy?.head.id ?? other?.id;
    if (id === undefined) return [];
    const report = new ManifestReport(problems, unwrap(input).origin);
    report.policy = id;
    return [{ policy, report, scopes: policy?.head.scopes ?? (other === undefined ? [] : scopesOf(other)) }];
  } catch (error) {
    if (error instanceof AuthzCompileError) return [];
    throw error;
  }
}

function scopesOf(policy: PeerAuthentication | RequestAuthentication): readonly PolicyScope[] {
  const { namespace, labels } = policy;
  if ('services' in policy && policy.services !== undefined)
    return policy.services.map((service) => ({ kind: 'service', service }));
  if (labels !== undefined) return [{ kind: 'selector', namespace, labels }];
  return [namespace === undefined ? { kind: 'mesh' } : { kind: 'namespace', namespace }];
}

function checkGrant({ policy: { head }, report }: LintSubject, nowMs: number, withinMs: number): void {
  const { grant } = head;
  if (grant === undefined || grant.notAfterMs <= nowMs || grant.notAfterMs > nowMs + withinMs) return;
  report.warning(
    'grant-ending',
    head.rulesPath.replace(/rules$/, 'notAfter'),
    `a grant that lasts beyond ${new Date(nowMs + withinMs).toISOString()}`,
    grant.notAfter,
    `ask ${grant.owner} whether it is still needed (${grant.reason})`,
  );
}
