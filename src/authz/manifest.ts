/** A manifest as it came in: unwrapped, with its identity read and a place to report what is wrong with it. */
import { show } from './problem.js';
import type { PolicyProblem } from './problem.js';

/**
 * What `compile` takes: a manifest as parsed from YAML or JSON, or one wrapped with where it came from. `source` of the
 * form `file:line` sets file and line; `lineOf` finds the line of a field.
 */
export interface WrappedManifest {
  readonly source?: string | undefined;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly lineOf?: ((path: string) => number | undefined) | undefined;
  readonly manifest: unknown;
}

export type Fields = Readonly<Record<string, unknown>>;

export class ManifestReport {
  readonly problems: PolicyProblem[];
  readonly #origin: Omit<WrappedManifest, 'manifest'>;
  policy: string | undefined;
  errors = 0;

  constructor(problems: PolicyProblem[], origin: Omit<WrappedManifest, 'manifest'>) {
    this.problems = problems;
    this.#origin = origin;
  }

  error(code: string, path: string, expected: string, got: string, fix: string): void {
    this.errors += 1;
    this.#add('error', code, path, expected, got, fix);
  }

  warning(code: string, path: string, expected: string, got: string, fix: string): void {
    this.#add('warning', code, path, expected, got, fix);
  }

  #add(
    severity: PolicyProblem['severity'],
    code: string,
    path: string,
    expected: string,
    got: string,
    fix: string,
  ): void {
    const { source, lineOf } = this.#origin;
    const place = /^(.+):(\d+)$/.exec(source ?? '');
    const file = this.#origin.file ?? place?.[1] ?? source;
    const line = lineOf?.(path) ?? this.#origin.line ?? (place === null ? undefined : Number(place[2]));
    this.problems.push(
      Object.freeze({ severity, code, source, file, line, policy: this.policy, path, expected, got, fix }),
    );
  }
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Takes the wrapper off, if there is one. */
export function unwrap(input: unknown): {
  readonly manifest: unknown;
  readonly origin: Omit<WrappedManifest, 'manifest'>;
} {
  if (!isFields(input) || !('manifest' in input) || 'kind' in input || 'apiVersion' in input)
    return { manifest: input, origin: {} };
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  return {
    manifest: input.manifest,
    origin: {
      source: text(input.source),
      file: text(input.file),
      line: typeof input.line === 'number' ? input.line : undefined,
      lineOf: typeof input.lineOf === 'function' ? (input.lineOf as (path: string) => number | undefined) : undefined,
    },
  };
}

export interface ManifestIdentity {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly spec: Fields;
  readonly annotations: Fields;
}

const dnsName = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Whether `text` is a Kubernetes object name (RFC 1123 subdomain). */
export function isObjectName(text: unknown): text is string {
  return typeof text === 'string' && dnsName.test(text);
}

/** Reads apiVersion, kind, metadata and spec; reports what is wrong and returns undefined then. */
export function readIdentity(manifest: unknown, report: ManifestReport): ManifestIdentity | undefined {
  if (!isFields(manifest)) {
    report.error(
      'manifest-malformed',
      '',
      'a manifest with apiVersion, kind, metadata and spec',
      show(manifest),
      'give one object for each manifest',
    );
    return undefined;
  }
  const { apiVersion, kind, metadata, spec } = manifest;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
    const path = typeof apiVersion === 'string' ? 'kind' : 'apiVersion';
    report.error(
      'manifest-malformed',
      path,
      'a string',
      show(manifest[path]),
      'a policy starts with apiVersion and kind',
    );
    return undefined;
  }
  report.policy = kind;
  const before = report.errors;
  checkKeys(manifest, ['apiVersion', 'kind', 'metadata', 'spec', 'status'], '', report);
  let namespace = 'default';
  let name = '';
  if (!isFields(metadata)) {
    report.error('metadata-malformed', 'metadata', 'an object with a name', show(metadata), 'add metadata.name');
  } else {
    if (isObjectName(metadata.name)) name = metadata.name;
    else
      report.error(
        'metadata-malformed',
        'metadata.name',
        'a lower-case object name',
        show(metadata.name),
        'add metadata.name, such as allow-frontend',
      );
    if (isObjectName(metadata.namespace)) namespace = metadata.namespace;
    else if (metadata.namespace !== undefined) {
      report.error(
        'metadata-malformed',
        'metadata.namespace',
        'a lower-case namespace name',
        show(metadata.namespace),
        'correct it, or leave it out for the namespace default',
      );
    }
  }
  report.policy = `${kind} ${namespace}/${name === '' ? '?' : name}`;
  if (!isFields(spec)) report.error('spec-malformed', 'spec', 'an object', show(spec), 'add the spec of the policy');
  if (report.errors > before || !isFields(spec)) return undefined;
  const annotations = isFields(metadata) && isFields(metadata.annotations) ? metadata.annotations : {};
  return { apiVersion, kind, namespace, name, spec, annotations };
}

/** Reports every key of `fields` that is not `allowed`: a misspelt field would otherwise widen the policy silently. */
export function checkKeys(fields: Fields, allowed: readonly string[], path: string, report: ManifestReport): void {
  for (const key of Object.keys(fields)) {
    if (allowed.includes(key)) continue;
    const at = path === '' ? key : `${path}.${key}`;
    const like = allowed.find(
      (name) => name.toLowerCase() === key.toLowerCase() || name === `${key}s` || `${name}s` === key,
    );
    report.error(
      'unknown-field',
      at,
      `only ${allowed.join(', ')}`,
      show(key),
      like === undefined ? 'correct or remove the field' : `write ${like}`,
    );
  }
}

/** Reads an array; absent is undefined. */
export function readArray(
  value: unknown,
  path: string,
  report: ManifestReport,
  what: string,
): readonly unknown[] | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return value as readonly unknown[];
  report.error('wrong-type', path, `a list of ${what}`, show(value), 'write a YAML list: one "- " for each');
  return undefined;
}

/** Reads a non-empty list of non-empty strings; absent is undefined. `check` says what is wrong with one; a warning keeps it. */
export function readStrings(
  value: unknown,
  path: string,
  report: ManifestReport,
  check: (text: string) =>
    | {
        readonly expected: string;
        readonly fix: string;
        readonly code?: string;
        readonly severity?: 'error' | 'warning';
      }
    | undefined,
): readonly string[] | undefined {
  const list = readArray(value, path, report, 'strings');
  if (list === undefined) return undefined;
  if (list.length === 0) {
    report.error(
      'empty-list',
      path,
      'at least one value',
      '[]',
      'leave the field out to match anything, or list what it matches',
    );
    return undefined;
  }
  const strings: string[] = [];
  list.forEach((item, index) => {
    if (typeof item !== 'string' || item === '') {
      report.error(
        'wrong-type',
        `${path}[${String(index)}]`,
        'a non-empty string',
        show(item),
        'quote the value, and leave out empty ones',
      );
      return;
    }
    const defect = check(item);
    if (defect?.severity !== undefined && defect.severity === 'warning') {
      report.warning(
        defect.code ?? 'doubtful-value',
        `${path}[${String(index)}]`,
        defect.expected,
        show(item),
        defect.fix,
      );
    } else if (defect !== undefined) {
      report.error(
        defect.code ?? 'malformed-value',
        `${path}[${String(index)}]`,
        defect.expected,
        show(item),
        defect.fix,
      );
      return;
    }
    strings.push(item);
  });
  return strings;
}
