/**
 * Globs matched segment by segment, for paths and SPIFFE IDs. The syntax is micromatch's, cut down: `*` is any text
 * within a segment (alone: one non-empty segment), `?` one character, `**` (a whole segment) any number of segments,
 * even none. Everything else is literal or refused. Matching takes time linear in the text for one star, and never more
 * than pattern times text; nothing is compiled to a regular expression.
 */

type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'glob'; readonly text: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'deep' };

export interface SegmentGlob {
  readonly pattern: string;
  readonly segments: readonly Segment[];
  /** The text it stands for when it has no wildcard. */
  readonly exact: string | undefined;
  /** How many segments at the beginning are literal, and the text that they make, with the slash after them. */
  readonly literals: number;
  readonly prefix: string;
}

/** Longer patterns are refused. */
const maxPatternLength = 2048;
/** `%` introduces an escape in a path, and `~ ! $ & ' ( ) + ; @ =` may stand in one: only what micromatch acts on is refused there. */
const refusedInPath = /[[\]{}()|\\^"`<>#;\s\x00-\x20\x7f-\uffff]/;
/** What no SPIFFE ID has (SPIFFE-ID section 2), wildcards apart. */
const refusedInSpiffeId = /[^A-Za-z0-9._/*?-]/;

/** What is wrong with a pattern: it is none, or it is one that nothing could match. */
export interface GlobDefect {
  readonly code: 'glob-malformed' | 'never-matches';
  readonly fix: string;
}

/**
 * Why `pattern` is no glob of ours, or undefined when it is one: of paths, or of SPIFFE IDs without their scheme, where
 * `spiffeGlob` of `meshwright/spiffe` takes and refuses the same.
 */
export function globDefect(pattern: string, kind: 'path' | 'spiffe'): GlobDefect | undefined {
  const malformed = (fix: string): GlobDefect => ({ code: 'glob-malformed', fix });
  if (pattern.length > maxPatternLength)
    return malformed(`patterns have at most ${String(maxPatternLength)} characters`);
  const bad = (kind === 'path' ? refusedInPath : refusedInSpiffeId).exec(pattern);
  if (bad !== null)
    return malformed(`the character ${JSON.stringify(bad[0])} has no meaning here; only *, ** and ? are wildcards`);
  const segments = pattern.split('/');
  if (segments.some((segment) => segment.includes('**') && segment !== '**'))
    return malformed('** must be a whole segment');
  if (kind === 'path') return undefined;
  const [trustDomain = '', ...path] = segments;
  if (trustDomain === '**') return malformed('write * for any one trust domain, as in spiffe://*/**');
  const never = (fix: string): GlobDefect => ({ code: 'never-matches', fix });
  if (!/^[a-z0-9._*?-]+$/.test(trustDomain)) return never('no trust domain looks like that: they are lower case');
  return path.some((segment) => segment === '' || segment === '.' || segment === '..')
    ? never('a SPIFFE ID has no empty segment, no trailing slash, no . and no ..')
    : undefined;
}

/** Parses a pattern that `globDefect` has nothing against. */
export function parseSegmentGlob(pattern: string): SegmentGlob {
  const segments = pattern.split('/').map((text): Segment => {
    if (text === '**') return { kind: 'deep' };
    if (text === '*') return { kind: 'any' };
    if (text.includes('*') || text.includes('?')) return { kind: 'glob', text };
    return { kind: 'literal', text };
  });
  const firstWild = segments.findIndex((segment) => segment.kind !== 'literal');
  const literals = firstWild < 0 ? segments.length : firstWild;
  return {
    pattern,
    segments,
    exact: firstWild < 0 ? pattern : undefined,
    literals,
    prefix: firstWild < 0 ? '' : prefixOf(pattern, segments, literals),
  };
}

function prefixOf(pattern: string, segments: readonly Segment[], literals: number): string {
  let length = 0;
  for (let index = 0; index < literals; index += 1) {
    const segment = segments[index];
    length += segment?.kind === 'literal' ? segment.text.length + 1 : 0;
  }
  return pattern.slice(0, length);
}

/** Whether `text` matches; pattern and text both without the leading slash or scheme, or both with it. */
export function matchSegmentGlob(glob: SegmentGlob, text: string): boolean {
  if (glob.exact !== undefined) return text === glob.exact;
  const { segments, literals, prefix } = glob;
  // The literal beginning is compared in one go; text that ends with it leaves nothing for the segments that follow.
  if (!text.startsWith(prefix)) {
    return (
      text.length === prefix.length - 1 &&
      prefix.startsWith(text) &&
      segments.every((segment, index) => index < literals || segment.kind === 'deep')
    );
  }
  // `at` is where the next segment begins; one past the end when none is left.
  let at = prefix.length;
  let pattern = literals;
  let resumePattern = -1;
  let resumeAt = 0;
  // The classic two-pointer walk: only the last `**` is ever reconsidered, so there is no exponential backtracking.
  while (at <= text.length) {
    const segment = segments[pattern];
    if (segment?.kind === 'deep') {
      if (pattern === segments.length - 1) return true;
      resumePattern = pattern;
      resumeAt = at;
      pattern += 1;
      continue;
    }
    if (segment !== undefined) {
      const end = segmentEnd(text, at);
      if (matchSegment(segment, text, at, end)) {
        at = end + 1;
        pattern += 1;
        continue;
      }
    }
    if (resumePattern < 0) return false;
    resumeAt = segmentEnd(text, resumeAt) + 1;
    at = resumeAt;
    pattern = resumePattern + 1;
  }
  while (segments[pattern]?.kind === 'deep') pattern += 1;
  return pattern === segments.length;
}

function segmentEnd(text: string, from: number): number {
  const slash = text.indexOf('/', from);
  return slash < 0 ? text.length : slash;
}

/** Whether some text with segments drawn from `template` (a string, or undefined for any one) could match. */
export function globCouldMatch(glob: SegmentGlob, template: readonly (string | undefined)[]): boolean {
  // `reached[at]`: the pattern so far can match the first `at` segments of the template.
  let reached = template.map(() => false);
  reached = [true, ...reached];
  for (const segment of glob.segments) {
    if (segment.kind === 'deep') {
      const first = reached.indexOf(true);
      reached = reached.map((_, at) => first >= 0 && at >= first);
    } else {
      reached = reached.map((_, at) => {
        if (at === 0 || reached[at - 1] !== true) return false;
        const wanted = template[at - 1];
        return wanted === undefined || matchSegment(segment, wanted, 0, wanted.length);
      });
    }
  }
  return reached[template.length] === true;
}

/** Whether `text` from `at` to `end` matches. */
function matchSegment(segment: Segment, text: string, at: number, end: number): boolean {
  switch (segment.kind) {
    case 'literal':
      return end - at === segment.text.length && text.startsWith(segment.text, at);
    case 'any':
      return end > at;
    case 'deep':
      return true;
    case 'glob':
      return matchWithin(segment.text, text, at, end);
  }
}

function matchWithin(pattern: string, text: string, from: number, end: number): boolean {
  let at = from;
  let index = 0;
  let starIndex = -1;
  let starAt = 0;
  while (at < end) {
    const wanted = pattern.charCodeAt(index);
    if (wanted === 42 /* * */) {
      starIndex = index;
      starAt = at;
      index += 1;
    } else if (index < pattern.length && (wanted === 63 /* ? */ || wanted === text.charCodeAt(at))) {
      index += 1;
      at += 1;
    } else if (starIndex >= 0) {
      starAt += 1;
      at = starAt;
      index = starIndex + 1;
    } else {
      return false;
    }
  }
  while (pattern.charCodeAt(index) === 42) index += 1;
  return index === pattern.length;
}
