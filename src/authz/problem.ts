/** What is wrong with a policy, said so that its author can correct it without reading our source. */

export interface PolicyProblem {
  readonly severity: 'error' | 'warning';
  /** Stable, kebab-case; docs/policy-problems.md has them all. */
  readonly code: string;
  /** Where the manifest came from, as the caller named it. */
  readonly source?: string | undefined;
  /** File and line, when the source says them. The line is that of the field where the caller can tell, else of the document. */
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  /** `Kind namespace/name`, as far as it could be read. */
  readonly policy?: string | undefined;
  /** The field, such as `spec.rules[0].to[0].paths[1]`; empty for the manifest as a whole. */
  readonly path: string;
  readonly expected: string;
  readonly got: string;
  readonly fix: string;
}

/** One line for logs and error messages. */
export function formatProblem(problem: PolicyProblem): string {
  const file =
    problem.file === undefined
      ? problem.source
      : `${problem.file}${problem.line === undefined ? '' : `:${String(problem.line)}`}`;
  const where = [file, problem.policy, problem.path].filter((part) => part !== undefined && part !== '').join(' ');
  return `${where === '' ? 'manifest' : where}: expected ${problem.expected}, got ${problem.got} (${problem.fix})`;
}

/** A value as shown in a message: JSON, cut short. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  let text: string;
  try {
    text = JSON.stringify(value) ?? typeof value;
  } catch {
    text = typeof value;
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
