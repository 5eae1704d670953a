import { AuthzCompileError, AuthzEngine } from '../authz/index.js';
import type { PolicyProblem } from '../authz/index.js';
import { brokenFrom, objectKey, problemAt } from './manifest-object.js';
import type { BrokenManifest, ManifestObject } from './manifest-object.js';
import type { FieldPath, ManifestProblem } from './manifest-problem.js';

/** What `validatePolicy` says is wrong; any of severity `error` makes the policy unusable. */
export type PolicyDefect = Pick<PolicyProblem, 'severity' | 'path' | 'expected' | 'got' | 'fix'>;

/** Judges one policy manifest as the agents' engine will. */
export type ValidatePolicy = (manifest: Readonly<Record<string, unknown>>) => readonly PolicyDefect[];

/** The agents' own engine as the judge: what it compiles here, it compiles there. */
export function engineValidator(options: {
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly meshwrightDialect?: boolean | undefined;
}): ValidatePolicy {
  const { trustDomain, rootNamespace, meshwrightDialect = false } = options;
  const own = { trustDomain, rootNamespace, dialects: { meshwright: meshwrightDialect } };
  return (manifest) => {
    try {
      return AuthzEngine.compile([{ manifest }], own).problems;
    } catch (error) {
      if (error instanceof AuthzCompileError) return error.problems;
      throw error;
    }
  };
}

export function isPolicy(object: ManifestObject): boolean {
  return (
    object.kind === 'AuthorizationPolicy' || (object.kind === 'ProxyPolicy' && policyType(object) === meshAuthorization)
  );
}

export interface CheckedPolicies {
  /** Everything that was given but the unusable policies, and without ProxyPolicies of other types. */
  readonly usable: readonly ManifestObject[];
  readonly broken: readonly BrokenManifest[];
  readonly problems: readonly ManifestProblem[];
}

/** Takes out the policies that the engine would refuse. */
export function checkPolicies(objects: readonly ManifestObject[], validate: ValidatePolicy): CheckedPolicies {
  const usable: ManifestObject[] = [];
  const broken: BrokenManifest[] = [];
  const problems: ManifestProblem[] = [];
  for (const object of objects) {
    if (object.kind === 'ProxyPolicy' && policyType(object) !== meshAuthorization) {
      problems.push(otherType(object));
      continue;
    }
    const defects = isPolicy(object) ? validate(object.manifest) : [];
    const found = defects.map(({ severity, path, expected, got, fix }) =>
      problemAt(object, parseFieldPath(path), { severity, expected, got, fix }),
    );
    problems.push(...found);
    const first = defects.find((defect) => defect.severity === 'error');
    if (first === undefined) usable.push(object);
    else broken.push(brokenFrom(object, `${first.path}: expected ${first.expected}, got ${first.got}`, found));
  }
  return { usable, broken, problems };
}

/** Policies that name a service which does not exist: they stay in force for the day it appears. */
export function missingTargets(policies: readonly ManifestObject[], services: ReadonlySet<string>): ManifestProblem[] {
  return policies.flatMap((object) => {
    const target = targetService(object.manifest);
    if (target === undefined || services.has(`${object.namespace}/${target}`)) return [];
    return [
      problemAt(object, ['spec', 'targetRef', 'name'], {
        expected: `a Service in namespace ${object.namespace}`,
        got: JSON.stringify(target),
        fix: 'correct the name or add the Service; the policy applies as soon as there is one',
      }),
    ];
  });
}

/** The service a ProxyPolicy targets by name, if it can be read; `manifest` may be anything. */
export function targetService(manifest: unknown): string | undefined {
  const spec = field(manifest, 'spec');
  const target = field(spec, 'targetRef');
  const name = field(target, 'name');
  return field(target, 'kind') === 'Service' && typeof name === 'string' ? name : undefined;
}

export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

const meshAuthorization = 'MeshAuthorization';

function policyType(object: ManifestObject): unknown {
  return field(object.manifest['spec'], 'type');
}

function otherType(object: ManifestObject): ManifestProblem {
  return problemAt(object, ['spec', 'type'], {
    severity: 'info',
    expected: meshAuthorization,
    got: JSON.stringify(policyType(object)),
    fix: `nothing to do: ${objectKey(object)} is not for the mesh`,
  });
}

/** The inverse of `formatFieldPath` for the paths that the engine writes. */
function parseFieldPath(text: string): FieldPath {
  return [...text.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g)].map((match) =>
    match[1] === undefined ? (match[2] ?? match[3] ?? '') : Number(match[1]),
  );
}
