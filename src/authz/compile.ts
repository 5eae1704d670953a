/** From manifests to compiled policies: each manifest to its dialect, every problem collected. */
import type { CompiledPolicy } from './compiled-policy.js';
import { compileIstioAuthorization, istioApis } from './dialects/istio-authorization.js';
import { compileMeshAuthorization, meshAuthorizationApi } from './dialects/mesh-authorization.js';
import { AuthzCompileError } from './errors.js';
import { ManifestReport, readIdentity, unwrap } from './manifest.js';
import type { ResolvedOptions } from './options.js';
import { PolicySet } from './policy-set.js';
import type { PolicyProblem } from './problem.js';
import { show } from './problem.js';
import { contentKey, isDeepFrozen } from './content-key.js';

/** One manifest and what became of it. */
export interface CompiledManifest {
  readonly content: string | undefined;
  readonly policy: CompiledPolicy;
  readonly warnings: readonly PolicyProblem[];
}

/** Everything a later compilation can take over. */
export interface Compilation {
  readonly options: ResolvedOptions;
  /** By the manifest object, when it is frozen all through and so cannot have changed. */
  readonly byObject: ReadonlyMap<unknown, CompiledManifest>;
  /** By content. */
  readonly byContent: ReadonlyMap<string, CompiledManifest>;
  readonly set: PolicySet;
  /** Warnings only. */
  readonly problems: readonly PolicyProblem[];
}

/**
 * Compiles step by step, yielding often, so that the caller can pause; run it to its end for a synchronous compilation.
 * Throws `AuthzCompileError` when any manifest has an error.
 */
export function* compileSteps(
  manifests: readonly unknown[],
  options: ResolvedOptions,
  previous: Compilation | undefined,
): Generator<void, Compilation> {
  const earlier = previous !== undefined && sameOptions(previous.options, options) ? previous : undefined;
  const problems: PolicyProblem[] = [];
  const policies: CompiledPolicy[] = [];
  const byObject = new Map<unknown, CompiledManifest>();
  const byContent = new Map<string, CompiledManifest>();
  const seen = new Set<string>();
  let failed = false;
  let count = 0;
  for (const input of manifests) {
    count += 1;
    if (count % 16 === 0) yield;
    let compiled = earlier?.byObject.get(input);
    const frozen = compiled !== undefined || isDeepFrozen(input);
    // Content is only worth computing where a later compilation will have nothing better to go by.
    const content = frozen ? compiled?.content : contentKey(input);
    compiled ??= content === undefined ? undefined : earlier?.byContent.get(content);
    const before = problems.length;
    const { manifest, origin } = compiled === undefined ? unwrap(input) : { manifest: undefined, origin: {} };
    const report = new ManifestReport(problems, origin);
    if (compiled === undefined) {
      const policy = compileManifest(manifest, options, report);
      if (report.errors > 0 || policy === undefined) {
        failed = true;
        continue;
      }
      compiled = { content, policy, warnings: problems.slice(before) };
    } else {
      problems.push(...compiled.warnings);
    }
    const { id } = compiled.policy.head;
    if (seen.has(id)) {
      report.policy = id;
      report.error('duplicate-policy', 'metadata.name', 'every policy once', id, 'rename or remove one of the two');
      failed = true;
      continue;
    }
    seen.add(id);
    policies.push(compiled.policy);
    if (frozen) byObject.set(input, compiled);
    if (content !== undefined) byContent.set(content, compiled);
  }
  if (failed) throw new AuthzCompileError(Object.freeze(problems));
  const set = yield* PolicySet.build(policies, earlier?.set);
  return { options, byObject, byContent, set, problems: Object.freeze(problems) };
}

function sameOptions(one: ResolvedOptions, other: ResolvedOptions): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function compileManifest(
  manifest: unknown,
  options: ResolvedOptions,
  report: ManifestReport,
): CompiledPolicy | undefined {
  const identity = readIdentity(manifest, report);
  if (identity === undefined) return undefined;
  const { apiVersion, kind } = identity;
  if (kind === 'ProxyPolicy') {
    if (apiVersion === meshAuthorizationApi) return compileMeshAuthorization(identity, options, report);
    report.error(
      'unknown-version',
      'apiVersion',
      `"${meshAuthorizationApi}"`,
      show(apiVersion),
      `write ${meshAuthorizationApi}`,
    );
    return undefined;
  }
  if (kind === 'AuthorizationPolicy') {
    if (istioApis.includes(apiVersion)) return compileIstioAuthorization(identity, options, report);
    report.error(
      'unknown-version',
      'apiVersion',
      istioApis.join(' or '),
      show(apiVersion),
      `write ${istioApis[0] ?? ''}`,
    );
    return undefined;
  }
  report.error(
    'unknown-kind',
    'kind',
    'ProxyPolicy or AuthorizationPolicy',
    show(kind),
    'the engine takes authorization policies only',
  );
  return undefined;
}
