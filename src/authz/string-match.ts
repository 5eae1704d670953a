/**
 * Istio's string values: `x` exact, `x*` prefix, `*x` suffix, `*` any that is not empty. A leading star wins, so the
 * second star of `*x*` is literal, and so is the star of `a*b`; lint reports both.
 */
export class StringMatcher {
  readonly #exact: ReadonlySet<string> | readonly string[];
  readonly #prefixes: readonly string[];
  readonly #suffixes: readonly string[];
  readonly #present: boolean;
  /** The values, when all of them are exact. */
  readonly onlyExact: readonly string[] | undefined;

  constructor(patterns: readonly string[]) {
    const exact: string[] = [];
    const prefixes: string[] = [];
    const suffixes: string[] = [];
    let present = false;
    for (const pattern of patterns) {
      if (pattern === '*') present = true;
      else if (pattern.startsWith('*')) suffixes.push(pattern.slice(1));
      else if (pattern.endsWith('*')) prefixes.push(pattern.slice(0, -1));
      else exact.push(pattern);
    }
    this.#exact = smallSet(exact);
    this.#prefixes = prefixes.length === 0 ? none : prefixes;
    this.#suffixes = suffixes.length === 0 ? none : suffixes;
    this.#present = present;
    this.onlyExact = exact.length === patterns.length ? patterns : undefined;
  }

  test(text: string): boolean {
    if (inSmallSet(this.#exact, text)) return true;
    if (this.#present && text !== '') return true;
    for (const prefix of this.#prefixes) if (text.startsWith(prefix)) return true;
    for (const suffix of this.#suffixes) if (text.endsWith(suffix)) return true;
    return false;
  }

  /** The literal beginnings that a match must have, one for each pattern; empty text for one that can begin anyhow. */
  static literalPrefix(pattern: string): string {
    if (pattern.startsWith('*')) return '';
    return pattern.endsWith('*') ? pattern.slice(0, -1) : pattern;
  }
}

/** Not frozen, so that loops meet one kind of list and allocate nothing. */
const none: readonly string[] = [];

/** A few strings are found faster, and kept in far less memory, in an array. */
export type SmallSet = ReadonlySet<string> | readonly string[];

export function smallSet(values: readonly string[]): SmallSet {
  if (values.length === 0) return none;
  return values.length <= 8 ? values : new Set(values);
}

export function inSmallSet(set: SmallSet, value: string): boolean {
  return set instanceof Set ? set.has(value) : (set as readonly string[]).includes(value);
}

/** Every `*` is any text, across anything: what Envoy makes of Istio's `namespaces`. Linear in text times stars. */
export function matchStars(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  const [first = ''] = parts;
  if (parts.length === 1) return text === pattern;
  const last = parts.at(-1) ?? '';
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}
