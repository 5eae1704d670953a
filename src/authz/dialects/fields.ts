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
}

export function notForm(name: string): string {
  return `not${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
}

/** The fields of a source or operation, with their not-forms, prepared once for many policies. */
export class FieldList {
  /** The names of all fields, not-forms included, in the order in which messages list them. */
  readonly names: readonly string[];
  readonly #fields: ReadonlyMap<string, { readonly spec: FieldSpec; readonly negated: boolean }>;
  /** Terms read before without a problem: policies repeat each other, and terms have no state. */
  readonly #terms = new Map<string, Term>();

  constructor(specs: readonly FieldSpec[], others: readonly string[] = []) {
    const fields = new Map<string, { readonly spec: FieldSpec; readonly negated: boolean }>();
    for (const spec of specs) {
      fields.set(spec.name, { spec, negated: false });
      fields.set(notForm(spec.name), { spec, negated: true });
    }
    this.#fields = fields;
    this.names = [...fields.keys(), ...others];
  }

  /** Reads the fields of one source or operation into terms that must all hold; `checkKeys` reports what is none. */
  read(entry: Fields, path: string, report: ManifestReport): Term[] {
    checkKeys(entry, this.names, path, report);
    const terms: Term[] = [];
    for (const field in entry) {
      const known = this.#fields.get(field);
      if (known === undefined || entry[field] === undefined) continue;
      const key = termKey(field, entry[field]);
      const term =
        (key === undefined ? undefined : this.#terms.get(key)) ??
        this.#readTerm(field, entry[field], known, `${path}.${field}`, key, report);
      if (term !== undefined) terms.push(term);
    }
    return terms;
  }

  #readTerm(
    field: string,
    value: unknown,
    { spec, negated }: { readonly spec: FieldSpec; readonly negated: boolean },
    path: string,
    key: string | undefined,
    report: ManifestReport,
  ): Term | undefined {
    const before = report.problems.length;
    const values = readValues(value, path, spec, report);
    if (values === undefined || values.length === 0) return undefined;
    const term = spec.term(field, Object.freeze([...values]), negated);
    if (key !== undefined && report.problems.length === before && this.#terms.size < maxInterned)
      this.#terms.set(key, term);
    return term;
  }
}

/** So many terms are kept for reuse while policies are compiled. */
export const maxInterned = 20_000;

/** Tells lists of text apart; undefined for anything else. */
export function termKey(field: string, value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length > 32) return undefined;
  let key = field;
  for (const item of value as readonly unknown[]) {
    if (typeof item !== 'string') return undefined;
    key += `\0${item}`;
  }
  return key;
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
