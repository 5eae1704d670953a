/**
 * Istio's path templates: `{*}` is one non-empty segment, `{**}` any text, even none. `{**}` is the last operator, but
 * literal text may follow it. Matching walks the path once.
 */
export interface PathTemplate {
  /** Segments before `{**}` (or all of them); undefined stands for `{*}`. */
  readonly head: readonly (string | undefined)[];
  /** Text after `{**}`; undefined when there is no `{**}`. */
  readonly tail: string | undefined;
}

export function isPathTemplate(pattern: string): boolean {
  return pattern.includes('{') || pattern.includes('}');
}

/** Why `pattern` is no template, or undefined when it is one. */
export function pathTemplateDefect(pattern: string): string | undefined {
  if (!pattern.startsWith('/')) return 'a template starts with a slash';
  const operators = pattern.split('/').slice(1);
  let deep = false;
  for (const segment of operators) {
    if (segment === '{*}' || segment === '{**}') {
      if (deep) return 'no operator may follow {**}';
      deep = segment === '{**}';
    } else if (/[{}]/.test(segment)) {
      return '{*} and {**} must be whole segments';
    } else if (segment.includes('*')) {
      return 'do not mix * with {*} or {**}';
    }
  }
  return undefined;
}

/** Parses what `pathTemplateDefect` has nothing against. */
export function parsePathTemplate(pattern: string): PathTemplate {
  const segments = pattern.split('/').slice(1);
  const deep = segments.indexOf('{**}');
  const literal = (segment: string): string | undefined => (segment === '{*}' ? undefined : segment);
  if (deep < 0) return { head: segments.map(literal), tail: undefined };
  const after = segments.slice(deep + 1);
  return { head: segments.slice(0, deep).map(literal), tail: after.length === 0 ? '' : `/${after.join('/')}` };
}

export function matchPathTemplate(template: PathTemplate, path: string): boolean {
  // `at` is the slash that opens the next segment.
  let at = 0;
  for (const wanted of template.head) {
    if (path.charCodeAt(at) !== 47) return false;
    const slash = path.indexOf('/', at + 1);
    const end = slash < 0 ? path.length : slash;
    if (wanted === undefined) {
      if (end === at + 1) return false;
    } else if (end - at - 1 !== wanted.length || !path.startsWith(wanted, at + 1)) {
      return false;
    }
    at = end;
  }
  if (template.tail === undefined) return at === path.length;
  return path.charCodeAt(at) === 47 && path.length - at - 1 >= template.tail.length && path.endsWith(template.tail);
}
