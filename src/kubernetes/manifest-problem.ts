/**
 * What is wrong with a manifest, said so that whoever wrote it can correct it: where it is, what was expected there and
 * what stood there instead.
 */
export interface ManifestProblem {
  /**
   * `error`: the object (or the named part of it) is not used as written. `warning`: used, but probably not what was
   * meant. `info`: something was left alone on purpose, such as a kind that this mesh does not read.
   */
  readonly severity: 'error' | 'warning' | 'info';
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** `Kind namespace/name` as far as it could be read, or `document 3`. */
  readonly object: string;
  /** Path of the field such as `spec.ports[0].port`; empty for the object as a whole. */
  readonly field: string;
  readonly expected: string;
  readonly got: string;
  /** What to do about it. */
  readonly fix: string;
  /** Whether an earlier, good form of the object is used instead. */
  readonly keptLastGood: boolean;
}

export type FieldPath = readonly (string | number)[];

/** `['spec', 'ports', 0, 'port']` -> `spec.ports[0].port`; keys that are not plain are quoted. */
export function formatFieldPath(path: FieldPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${String(part)}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}

/** A value as problem text: short, and quoted when it is a string. */
export function showValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `a list of ${String(value.length)}`;
  if (typeof value === 'object' && value !== null) return 'a mapping';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** One line for logs: `file:line: Kind ns/name: field: expected ..., got ...; fix`. */
export function formatProblem(problem: ManifestProblem): string {
  const field = problem.field === '' ? '' : `${problem.field}: `;
  const kept = problem.keptLastGood ? ' (its last good form stays in use)' : '';
  return `${problem.file}:${String(problem.line)}: ${problem.object}: ${field}expected ${problem.expected}, got ${problem.got}; ${problem.fix}${kept}`;
}
