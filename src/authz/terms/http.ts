/** Terms about the HTTP request. */
import type { Dimension, Key } from '../dimension.js';
import { pathHead } from '../facts.js';
import type { Facts } from '../facts.js';
import type { PathNormalization } from '../path-normalization.js';
import { isPathTemplate, matchPathTemplate, parsePathTemplate } from '../path-template.js';
import type { PathTemplate } from '../path-template.js';
import { matchSegmentGlob, parseSegmentGlob } from '../segment-glob.js';
import type { SegmentGlob } from '../segment-glob.js';
import { StringMatcher, inSmallSet, smallSet } from '../string-match.js';
import type { SmallSet } from '../string-match.js';
import { needsHttp, no, unknown, yes } from '../tri.js';
import type { TermValue } from '../tri.js';
import { allKeys } from './identity.js';
import { HttpTerm } from './term.js';
import type { Term } from './term.js';

/** Methods; Istio's may be patterns, native ones are exact (and then no pattern character is in them). */
export class MethodsTerm extends HttpTerm {
  readonly #matcher: StringMatcher;

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#matcher = new StringMatcher(values);
  }

  protected override holds(facts: Facts): TermValue {
    if (facts.http === undefined) return needsHttp;
    const method = facts.method();
    if (method === undefined) return unknown;
    return this.#matcher.test(method) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.http?.method;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    return dimension === 'method' ? this.#matcher.onlyExact : undefined;
  }

  protected override single(value: string): Term {
    return new MethodsTerm(this.field, [value], false);
  }
}

/** Paths, compared after normalisation. */
export abstract class PathTerm extends HttpTerm {
  readonly mode: PathNormalization;

  constructor(field: string, values: readonly string[], negated: boolean, mode: PathNormalization) {
    super(field, values, negated);
    this.mode = mode;
  }

  protected abstract matches(path: string): boolean;

  protected override holds(facts: Facts): TermValue {
    if (facts.http === undefined) return needsHttp;
    const path = facts.path(this.mode);
    if (path === undefined) return unknown;
    return this.matches(path) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.http?.path;
  }
}

/** Native paths: globs by segment. */
export class PathGlobsTerm extends PathTerm {
  readonly #exact: SmallSet;
  readonly #globs: readonly SegmentGlob[];

  constructor(field: string, values: readonly string[], negated: boolean, mode: PathNormalization) {
    super(field, values, negated, mode);
    const globs = values.map(parseSegmentGlob);
    this.#exact = smallSet(globs.flatMap((glob) => (glob.exact === undefined ? [] : [glob.exact])));
    this.#globs = globs.filter((glob) => glob.exact === undefined);
  }

  protected override matches(path: string): boolean {
    if (inSmallSet(this.#exact, path)) return true;
    for (const glob of this.#globs) if (matchSegmentGlob(glob, path)) return true;
    return false;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    if (dimension === 'path') return this.#globs.length === 0 ? this.values : undefined;
    if (dimension !== 'pathHead') return undefined;
    return allKeys(this.values, (pattern) => {
      const head = pathHead(pattern);
      return head.includes('*') || head.includes('?') ? undefined : head;
    });
  }

  protected override single(value: string): Term {
    return new PathGlobsTerm(this.field, [value], false, this.mode);
  }
}

/** Istio's paths: string values and templates. */
export class PathStringsTerm extends PathTerm {
  readonly #matcher: StringMatcher;
  readonly #templates: readonly PathTemplate[];

  constructor(field: string, values: readonly string[], negated: boolean, mode: PathNormalization) {
    super(field, values, negated, mode);
    this.#matcher = new StringMatcher(values.filter((value) => !isPathTemplate(value)));
    this.#templates = values.filter(isPathTemplate).map(parsePathTemplate);
  }

  protected override matches(path: string): boolean {
    if (this.#matcher.test(path)) return true;
    for (const template of this.#templates) if (matchPathTemplate(template, path)) return true;
    return false;
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    if (dimension === 'path') return this.#templates.length === 0 ? this.#matcher.onlyExact : undefined;
    if (dimension !== 'pathHead') return undefined;
    return allKeys(this.values, (pattern) => {
      if (isPathTemplate(pattern)) {
        const head = pathHead(pattern);
        return head.includes('{') ? undefined : head;
      }
      const literal = StringMatcher.literalPrefix(pattern);
      if (!literal.startsWith('/')) return undefined;
      // A prefix says the first segment only when it goes beyond it.
      return literal !== pattern && literal.indexOf('/', 1) < 0 ? undefined : pathHead(literal);
    });
  }

  protected override single(value: string): Term {
    return new PathStringsTerm(this.field, [value], false, this.mode);
  }
}

/** Hosts, compared without regard to case; a port in the request's host is part of it. */
export class HostsTerm extends HttpTerm {
  readonly #matcher: StringMatcher;

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#matcher = new StringMatcher(values.map((value) => value.toLowerCase()));
  }

  protected override holds(facts: Facts): TermValue {
    if (facts.http === undefined) return needsHttp;
    const host = facts.host();
    return host !== undefined && this.#matcher.test(host) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.http?.host ?? facts.header('host');
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    return dimension === 'host' ? this.#matcher.onlyExact : undefined;
  }

  protected override single(value: string): Term {
    return new HostsTerm(this.field, [value], false);
  }
}

/** One header; its name is compared without regard to case, repeats are joined with commas. */
export class HeaderTerm extends HttpTerm {
  readonly #name: string;
  readonly #matcher: StringMatcher;

  constructor(field: string, values: readonly string[], negated: boolean, name: string) {
    super(field, values, negated);
    this.#name = name.toLowerCase();
    this.#matcher = new StringMatcher(values);
  }

  protected override holds(facts: Facts): TermValue {
    if (facts.http === undefined) return needsHttp;
    const value = facts.header(this.#name);
    return value !== undefined && this.#matcher.test(value) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    return facts.header(this.#name);
  }

  protected override single(value: string): Term {
    return new HeaderTerm(this.field, [value], false, this.#name);
  }
}
