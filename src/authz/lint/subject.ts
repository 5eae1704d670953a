import type { CompiledPolicy, CompiledRule, PolicyScope } from '../compiled-policy.js';
import type { ManifestReport } from '../manifest.js';

/** A policy without errors, and where to report what is doubtful about it. */
export interface LintSubject {
  readonly policy: CompiledPolicy;
  readonly report: ManifestReport;
}

/** Anything that applies to some part of the mesh. */
export interface PlacedSubject {
  readonly report: ManifestReport;
  readonly scopes: readonly PolicyScope[];
  /** Undefined for PeerAuthentication and RequestAuthentication. */
  readonly policy: CompiledPolicy | undefined;
}

export function rulePath({ policy, index }: CompiledRule): string {
  return `${policy.head.rulesPath}[${String(index)}]`;
}
