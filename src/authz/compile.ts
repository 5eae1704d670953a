/** From manifests to compiled policies: each manifest to its dialect, every problem collected. */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import type { CompiledPolicy } from './compiled-policy.js';
import { compileIstioAuthorization, istioApis } from './dialects/istio-authorization.js';
import { compilePeerAuthentication } from './dialects/peer-authentication.js';
import type { PeerAuthentication } from './dialects/peer-authentication.js';
import { compileRequestAuthentication } from './dialects/request-authentication.js';
import type { RequestAuthentication } from './dialects/request-authentication.js';
import { compileMeshAuthorization, meshAuthorizationApi } from './dialects/mesh-authorization.js';
import { AuthzCompileError } from './errors.js';
import { quarantine, quarantineCompiled } from './quarantine.js';
import type { Quarantine } from './quarantine.js';
import { ManifestReport, readIdentity, unwrap } from './manifest.js';
import type { ResolvedOptions } from './options.js';
import { PolicySet } from './policy-set.js';
import type { PolicyProblem } from './problem.js';
import { show } from './problem.js';
import { contentOf, isDeepFrozen } from './content-key.js';
import { reuseManifests } from './manifest-reuse.js';
import type { ManifestState } from './manifest-reuse.js';

/** What a manifest can become. */
type AnyPolicy =
  | { readonly kind: 'authorization'; readonly id: string; readonly policy: CompiledPolicy }
  | { readonly kind: 'peer'; readonly id: string; readonly policy: PeerAuthentication }
  | { readonly kind: 'request'; readonly id: string; readonly policy: RequestAuthentication };

/** One manifest and what became of it. */
export interface CompiledManifest {
  /** As it was given. */
  readonly input: unknown;
  readonly state: ManifestState;
  readonly policy: AnyPolicy;
  readonly warnings: readonly PolicyProblem[];
}

/** Everything a later compilation can take over. */
export interface Compilation {
  readonly options: ResolvedOptions;
  /** In the order in which they were given. */
  readonly manifests: readonly CompiledManifest[];
  readonly set: PolicySet;
  readonly peers: readonly PeerAuthentication[];
  readonly requests: readonly RequestAuthentication[];
  /** Warnings, and of a lenient compilation errors too. */
  readonly problems: readonly PolicyProblem[];
}

/**
 * Compiles step by step, yielding often, so that the caller can pause; run it to its end for a synchronous compilation.
 * Throws `AuthzCompileError` when any manifest has an error that `lenient` does not put up with.
 */
export function* compileSteps(
  manifests: readonly unknown[],
  options: ResolvedOptions,
  previous: Compilation | undefined,
  clock: Clock = systemClock,
): Generator<void, Compilation> {
  const earlier = previous !== undefined && sameOptions(previous.options, options) ? previous : undefined;
  const problems: PolicyProblem[] = [];
  const policies: CompiledPolicy[] = [];
  const peers: PeerAuthentication[] = [];
  const requests: RequestAuthentication[] = [];
  const compiledManifests: CompiledManifest[] = [];
  const reused = earlier === undefined ? [] : yield* reuseManifests(earlier.manifests, manifests);
  const seen = new Set<string>();
  let failed = false;
  let count = 0;
  for (const input of manifests) {
    let compiled = reused[count];
    count += 1;
    if (count % (compiled === undefined ? 16 : 256) === 0) yield;
    if (compiled === undefined) {
      const before = problems.length;
      const { manifest, origin } = unwrap(input);
      const report = new ManifestReport(problems, origin);
      const policy = compileManifest(manifest, options, report);
      if (report.errors > 0 || policy === undefined) {
        const standIn = options.lenient ? quarantine(manifest, problems.slice(before), options) : undefined;
        if (standIn === undefined) failed = true;
        else admit(standIn, report, policies);
        continue;
      }
      const state = isDeepFrozen(input) ? 'frozen' : contentOf(input);
      compiled = { input, state, policy, warnings: problems.slice(before) };
    } else if (compiled.warnings.length > 0) {
      problems.push(...compiled.warnings);
    }
    const { id } = compiled.policy;
    if (seen.has(id)) {
      const report = new ManifestReport(problems, unwrap(input).origin);
      report.policy = id;
      report.error('duplicate-policy', 'metadata.name', 'every policy once', id, 'rename or remove one of the two');
      if (options.lenient && compiled.policy.kind === 'authorization')
        admit(quarantineCompiled(compiled.policy.policy), report, policies);
      else failed = true;
      continue;
    }
    seen.add(id);
    if (compiled.policy.kind === 'authorization') {
      const { policy } = compiled.policy;
      policies.push(policy);
      if (policy.head.grant !== undefined) warnOfEndedGrant(policy, input, problems, clock);
    } else if (compiled.policy.kind === 'peer') peers.push(compiled.policy.policy);
    else requests.push(compiled.policy.policy);
    compiledManifests.push(compiled);
  }
  if (failed) throw new AuthzCompileError(Object.freeze(problems));
  const set = yield* PolicySet.build(policies, earlier?.set);
  return { options, manifests: compiledManifests, set, peers, requests, problems: Object.freeze(problems) };
}

function sameOptions(one: ResolvedOptions, other: ResolvedOptions): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function compileManifest(manifest: unknown, options: ResolvedOptions, report: ManifestReport): AnyPolicy | undefined {
  const identity = readIdentity(manifest, report);
  if (identity === undefined) return undefined;
  const { apiVersion, kind } = identity;
  const versions = kind === 'ProxyPolicy' ? [meshAuthorizationApi] : istioKinds.includes(kind) ? istioApis : undefined;
  if (versions === undefined) {
    const expected = ['ProxyPolicy', ...istioKinds].join(', ');
    report.error('unknown-kind', 'kind', expected, show(kind), 'the engine takes authorization policies only');
    return undefined;
  }
  if (!versions.includes(apiVersion)) {
    report.error(
      'unknown-version',
      'apiVersion',
      versions.join(' or '),
      show(apiVersion),
      `write ${versions[0] ?? ''}`,
    );
    return undefined;
  }
  if (kind === 'PeerAuthentication') {
    const policy = compilePeerAuthentication(identity, options.rootNamespace, report);
    return policy === undefined ? undefined : { kind: 'peer', id: policy.id, policy };
  }
  if (kind === 'RequestAuthentication') {
    const policy = compileRequestAuthentication(identity, options.rootNamespace, report);
    return policy === undefined ? undefined : { kind: 'request', id: policy.id, policy };
  }
  const policy =
    kind === 'ProxyPolicy'
      ? compileMeshAuthorization(identity, options, report)
      : compileIstioAuthorization(identity, options, report);
  return policy === undefined ? undefined : { kind: 'authorization', id: policy.head.id, policy };
}

/** Puts what stands in for a policy with errors into force, and says so. */
function admit({ policy, outcome }: Quarantine, report: ManifestReport, policies: CompiledPolicy[]): void {
  if (policy !== undefined) policies.push(policy);
  report.warning('policy-quarantined', '', 'a policy without errors', outcome, 'correct the errors reported of it');
}

/** Not among the warnings that are kept with a compiled manifest: it depends on when one asks. */
function warnOfEndedGrant({ head }: CompiledPolicy, input: unknown, problems: PolicyProblem[], clock: Clock): void {
  if (head.grant === undefined || clock.now() < head.grant.notAfterMs) return;
  const report = new ManifestReport(problems, unwrap(input).origin);
  report.policy = head.id;
  report.warning(
    'grant-ended',
    head.rulesPath.replace(/rules$/, 'notAfter'),
    'a grant that has not ended',
    head.grant.notAfter,
    `its rules match nothing any more: remove the policy, or let ${head.grant.owner} renew it (${head.grant.reason})`,
  );
}

const istioKinds: readonly string[] = ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication'];
