/** From manifests to compiled policies: each manifest to its dialect, every problem collected. */
import type { CompiledPolicy } from './compiled-policy.js';
import { AuthzCompileError } from './errors.js';
import { ManifestReport, readIdentity, unwrap } from './manifest.js';
import { compileMeshAuthorization, meshAuthorizationApi } from './mesh-authorization.js';
import type { ResolvedOptions } from './options.js';
import type { PolicyProblem } from './problem.js';
import { show } from './problem.js';

export interface CompiledPolicies {
  readonly policies: readonly CompiledPolicy[];
  /** Warnings only. */
  readonly problems: readonly PolicyProblem[];
}

/** Throws `AuthzCompileError` when any manifest has an error. */
export function compilePolicies(manifests: readonly unknown[], options: ResolvedOptions): CompiledPolicies {
  const problems: PolicyProblem[] = [];
  const policies: CompiledPolicy[] = [];
  const seen = new Set<string>();
  for (const input of manifests) {
    const { manifest, origin } = unwrap(input);
    const report = new ManifestReport(problems, origin);
    const policy = compileManifest(manifest, options, report);
    if (policy === undefined) continue;
    const id = report.policy ?? policy.key;
    if (seen.has(id)) {
      report.error('duplicate-policy', 'metadata.name', 'every policy once', id, 'rename or remove one of the two');
      continue;
    }
    seen.add(id);
    policies.push(policy);
  }
  if (problems.some((problem) => problem.severity === 'error')) throw new AuthzCompileError(Object.freeze(problems));
  return { policies, problems: Object.freeze(problems) };
}

function compileManifest(
  manifest: unknown,
  options: ResolvedOptions,
  report: ManifestReport,
): CompiledPolicy | undefined {
  const identity = readIdentity(manifest, report);
  if (identity === undefined) return undefined;
  if (identity.kind === 'ProxyPolicy') {
    if (identity.apiVersion === meshAuthorizationApi) return compileMeshAuthorization(identity, options, report);
    report.error(
      'unknown-version',
      'apiVersion',
      `"${meshAuthorizationApi}"`,
      show(identity.apiVersion),
      `write ${meshAuthorizationApi}`,
    );
    return undefined;
  }
  report.error(
    'unknown-kind',
    'kind',
    'ProxyPolicy',
    show(identity.kind),
    'the engine takes authorization policies only',
  );
  return undefined;
}
