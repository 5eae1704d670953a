import { formatFieldPath } from './manifest-problem.js';
import type { FieldPath, ManifestProblem } from './manifest-problem.js';
import { policyKinds } from './kinds.js';
import type { KnownKind } from './kinds.js';

/** Where an object was written. */
export interface ManifestSource {
  readonly file: string;
  /** Line of the object's first field, from 1. */
  readonly line: number;
  /** Line of a field, or of its nearest parent that was written. */
  lineOf(path: FieldPath): number;
}

/** One object of a kind that the mesh reads, of the right shape. */
export interface ManifestObject {
  readonly kind: KnownKind;
  readonly apiVersion: string;
  /** `default` where the manifest names none; empty for a Node. */
  readonly namespace: string;
  readonly name: string;
  /** As written. */
  readonly manifest: Readonly<Record<string, unknown>>;
  readonly source: ManifestSource;
}

/** An object, or a whole document, that cannot be used; what could still be read of it says what to deny. */
export interface BrokenManifest {
  /** Undefined when the kind cannot be told. */
  readonly kind: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  /** Whatever could be read; may be anything. */
  readonly manifest: unknown;
  readonly source: ManifestSource;
  /** False when the text did not parse, so that other objects may be hidden in it. */
  readonly parsed: boolean;
  /** Whether the text names a policy kind anywhere. */
  readonly mayBePolicy: boolean;
  readonly reason: string;
  /** What was reported about it. */
  readonly problems: readonly ManifestProblem[];
}

/** `Kind namespace/name`: one object, whatever file it is in. */
export function objectKey(object: Pick<ManifestObject, 'kind' | 'namespace' | 'name'>): string {
  return object.namespace === ''
    ? `${object.kind} ${object.name}`
    : `${object.kind} ${object.namespace}/${object.name}`;
}

/** The key of a broken object, or undefined where it cannot be told. */
export function brokenKey(broken: BrokenManifest): string | undefined {
  if (broken.kind === undefined || broken.name === undefined || broken.namespace === undefined) return undefined;
  return broken.namespace === ''
    ? `${broken.kind} ${broken.name}`
    : `${broken.kind} ${broken.namespace}/${broken.name}`;
}

/** A problem of `object` at `path`. */
export function problemAt(
  object: ManifestObject,
  path: FieldPath,
  details: Pick<ManifestProblem, 'expected' | 'got' | 'fix'> & { readonly severity?: ManifestProblem['severity'] },
): ManifestProblem {
  return Object.freeze({
    severity: details.severity ?? 'error',
    file: object.source.file,
    line: object.source.lineOf(path),
    object: objectKey(object),
    field: formatFieldPath(path),
    expected: details.expected,
    got: details.got,
    fix: details.fix,
    keptLastGood: false,
  });
}

/** `object` as one that cannot be used, for a reason found after it was read. */
export function brokenFrom(
  object: ManifestObject,
  reason: string,
  problems: readonly ManifestProblem[],
): BrokenManifest {
  const { kind, namespace, name, manifest, source } = object;
  const mayBePolicy = policyKinds.includes(kind);
  return { kind, namespace, name, manifest, source, parsed: true, mayBePolicy, reason, problems };
}
