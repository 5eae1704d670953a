/** What the dialects share in reading rules: fields with their not-forms, conditions, and the alternatives of from and to. */
import type { Conjunction } from '../compiled-policy.js';
import { checkKeys, isFields, readArray, readStrings } from '../manifest.js';
import type { Fields, ManifestReport } from '../manifest.js';
import { show } from '../problem.js';
import type { Term } from '../terms/term.js';

/** What is wrong with one value. */
export interface ValueDefect {
  readonly code?: string;
  readonly expected: string;
  readonly fix: string;
  /** A warning lets the value through. Default error. */
  readonly severity?: 'error' | 'warning';
}

/** One field of a source or an operation. Its not-form is `not` and the name in capitals, and takes the same values. */
export interface FieldSpec {
  readonly name: string;
  readonly check: (value: string) => ValueDefect | undefined;
  readonly term: (field: string, values: readonly string[], negated: boolean) => Term;
  /** Whether numbers are taken for their decimal text. */
  readonly numeric?: boolean;
  readonly maxValues?: number;
  /** Without a not-form. */
  readonly plainOnly?: boolean;
}

export function notForm(name: string): string {
  return `not${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
}

/** The names of all fields, not-forms included, in the order in which messages list them. */
export function fieldNames(specs: readonly FieldSpec[]): readonly string[] {
  return specs.flatMap((spec) => (spec.plainOnly === true ? [spec.name] : [spec.name, notForm(spec.name)]));
}

/** Reads the fields of one source or operation into terms that must all hold. */
export function readFields(entry: Fields, specs: readonly FieldSpec[], path: string, report: ManifestReport): Term[] {
  const terms: Term[] = [];
  for (const spec of specs) {
    for (const negated of spec.plainOnly === true ? [false] : [false, true]) {
      const field = negated ? notForm(spec.name) : spec.name;
      if (entry[field] === undefined) continue;
      const values = readValues(entry[field], `${path}.${field}`, spec, report);
      if (values !== undefined && values.length > 0) terms.push(spec.term(field, values, negated));
    }
  }
  return terms;
}

function readValues(
  value: unknown,
  path: string,
  spec: FieldSpec,
  report: ManifestReport,
): readonly string[] | undefined {
  const list =
    spec.numeric === true && Array.isArray(value)
      ? value.map((item: unknown) => (typeof item === 'number' ? String(item) : item))
      : value;
  if (spec.maxValues !== undefined && Array.isArray(list) && list.length > spec.maxValues) {
    report.error(
      'too-many-values',
      path,
      `at most ${String(spec.maxValues)} values`,
      String(list.length),
      'spread them over several rules',
    );
  }
  return readStrings(list, path, report, spec.check);
}

/** Reads the entries of `from` or `to`; `inner` is the key that Istio wraps each in. */
export function readAlternatives(
  value: unknown,
  path: string,
  report: ManifestReport,
  inner: string | undefined,
  read: (entry: Fields, path: string) => Conjunction,
): readonly Conjunction[] {
  const list = readArray(value, path, report, 'entries') ?? [];
  return list.map((item, index) => {
    let at = `${path}[${String(index)}]`;
    let entry: unknown = item;
    if (inner !== undefined && isFields(item)) {
      checkKeys(item, [inner], at, report);
      at = `${at}.${inner}`;
      entry = item[inner];
    }
    if (!isFields(entry)) {
      report.error(
        'wrong-type',
        at,
        'an object with at least one field',
        show(entry),
        'see docs/authz.md for its fields; to match anything leave the whole list out',
      );
      return [];
    }
    const before = report.errors;
    const terms = read(entry, at);
    if (terms.length === 0 && report.errors === before) {
      report.error(
        'empty-match',
        at,
        'at least one field',
        show(entry),
        'remove the empty entry; to match anything leave the whole list out',
      );
    }
    return terms;
  });
}
