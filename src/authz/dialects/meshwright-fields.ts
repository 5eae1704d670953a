/**
 * The fields of a MeshAuthorization that only the meshwright dialect has: `tier`, `mode`, and `notAfter` with `owner` and
 * `reason`. Every value that is not exactly one of those documented is an error: none of them may be in force, or be
 * left out, by a slip of the pen.
 */
import type { PolicyAction } from '../compiled-policy.js';
import { parseInstant } from '../grant.js';
import type { Grant } from '../grant.js';
import type { Fields, ManifestIdentity, ManifestReport } from '../manifest.js';
import type { ResolvedOptions } from '../options.js';
import { show } from '../problem.js';

export const meshwrightFields = ['tier', 'mode', 'notAfter', 'owner', 'reason'] as const;
export const policyModes = ['ENFORCE', 'AUDIT'] as const;
/** Tiers are whole numbers from 0 to this. */
export const maxTier = 999;
/** Those below this are for policies of the root namespace, so that a namespace can't make itself an exception. */
export const firstCommonTier = 100;

export interface MeshwrightFields {
  readonly tier: number | undefined;
  /** Observed, not enforced. */
  readonly audit: boolean;
  readonly grant: Grant | undefined;
}

/** Reads the fields from where action and rules stand. */
export function readMeshwrightFields(
  body: Fields,
  path: string,
  action: PolicyAction | undefined,
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): MeshwrightFields {
  if (!options.meshwrightDialect) {
    for (const field of meshwrightFields) if (body[field] !== undefined) disabled(`${path}.${field}`, field, report);
    return { tier: undefined, audit: false, grant: undefined };
  }
  return {
    tier: readTier(body.tier, `${path}.tier`, identity, options, report),
    audit: readMode(body.mode, `${path}.mode`, identity, options, report),
    grant: readGrant(body, path, action, report),
  };
}

export function disabled(path: string, what: string, report: ManifestReport): void {
  report.error(
    'dialect-disabled',
    path,
    'only what every MeshAuthorization has',
    what,
    'compile with dialects: { meshwright: true } (of the command line: --dialect meshwright), or remove it',
  );
}

function readTier(
  tier: unknown,
  path: string,
  { namespace }: ManifestIdentity,
  { rootNamespace }: ResolvedOptions,
  report: ManifestReport,
): number | undefined {
  if (tier === undefined) return undefined;
  if (typeof tier !== 'number' || !Number.isInteger(tier) || tier < 0 || tier > maxTier) {
    report.error(
      'tier-malformed',
      path,
      `a whole number from 0 to ${String(maxTier)}`,
      show(tier),
      'write a number without quotes; lower ones are judged first',
    );
    return undefined;
  }
  if (tier < firstCommonTier && namespace !== rootNamespace) {
    report.error(
      'tier-reserved',
      path,
      `a tier from ${String(firstCommonTier)} on`,
      String(tier),
      `those before are for policies of ${rootNamespace}, so that no namespace makes itself an exception to them`,
    );
    return undefined;
  }
  return tier;
}

function readMode(
  mode: unknown,
  path: string,
  { namespace }: ManifestIdentity,
  { audit }: ResolvedOptions,
  report: ManifestReport,
): boolean {
  if (mode === undefined) return audit === 'all' || audit.includes(namespace);
  if (mode === 'ENFORCE' || mode === 'AUDIT') return mode === 'AUDIT';
  report.error('unknown-mode', path, policyModes.join(' or '), show(mode), 'write the mode in capitals');
  return false;
}

function readGrant(
  body: Fields,
  path: string,
  action: PolicyAction | undefined,
  report: ManifestReport,
): Grant | undefined {
  const { notAfter, owner, reason } = body;
  if (notAfter === undefined && owner === undefined && reason === undefined) return undefined;
  const before = report.errors;
  for (const field of ['notAfter', 'owner', 'reason'] as const) {
    const value = body[field];
    if (value === undefined)
      report.error(
        'grant-incomplete',
        `${path}.${field}`,
        'notAfter, owner and reason together',
        'nothing',
        `add ${field}: a grant that ends says when, who answers for it and why it exists`,
      );
    else if (typeof value !== 'string' || value.trim() === '')
      report.error('wrong-type', `${path}.${field}`, 'a text that is not empty', show(value), 'quote the value');
  }
  const notAfterMs = typeof notAfter === 'string' ? parseInstant(notAfter) : undefined;
  if (typeof notAfter === 'string' && notAfter.trim() !== '' && notAfterMs === undefined)
    report.error(
      'date-malformed',
      `${path}.notAfter`,
      'an instant with its offset, such as 2027-01-31T18:00:00Z',
      show(notAfter),
      'write date, time and Z or an offset (RFC 3339)',
    );
  if (notAfter !== undefined && action === 'DENY')
    report.error(
      'deny-cannot-end',
      `${path}.notAfter`,
      'an end only of an ALLOW',
      show(notAfter),
      'a DENY that ends would open by itself what it keeps shut: remove the policy when it is time',
    );
  if (report.errors > before || notAfterMs === undefined || typeof notAfter !== 'string') return undefined;
  return Object.freeze({ notAfterMs, notAfter, owner: String(owner), reason: String(reason) });
}
