/**
 * Globs over SPIFFE IDs and other slash-separated names: micromatch's syntax cut down to `*`, `**` and `?`.
 *
 * - `*` is any run of characters, also an empty one, within a segment; `?` is one character; neither matches a segment
 *   that is empty, such as the one after a trailing slash;
 * - `**` stands alone between slashes and is any number of whole segments, also none: `a/**` matches `a` too;
 * - everything else of glob syntax (braces, classes, extended globs, negation, backslash) is refused when compiling.
 *
 * Matching is ours and not micromatch's compiled expressions: those explode on patterns such as `*a*a*a*b` and, without
 * the right options, do not match hidden names. Here the cost is at most pattern length times subject length, and
 * micromatch is the oracle of a property test.
 */
import { SpiffeError } from './errors.js';
import { shown } from '../internal/shown.js';
import type { SpiffeId } from './spiffe-id.js';

/** One segment of a compiled glob: `'**'` or the pattern text of one segment. */
export type GlobSegments = readonly string[];

const scheme = 'spiffe://';
const maxPatternLength = 2048;

/**
 * Compiles a pattern such as `spiffe://cluster.local/ns/*\/sa/web-*`. The trust domain is part of the match: it is one
 * segment, so `spiffe://*\/…` is any one trust domain. Throws `SPIFFE_GLOB_MALFORMED`.
 */
export function spiffeGlob(pattern: string): (id: SpiffeId) => boolean {
  if (typeof pattern !== 'string' || !pattern.startsWith(scheme)) {
    throw malformed(pattern, 'it does not begin with spiffe:// in lower case');
  }
  const rest = pattern.slice(scheme.length);
  const [trustDomain = '', ...path] = globToSegments(rest);
  if (trustDomain === '**') throw malformed(pattern, 'write * for any one trust domain, as in spiffe://*/**');
  if (!/^[a-z0-9._*?-]+$/.test(trustDomain)) throw malformed(pattern, 'no trust domain could match its first part');
  for (const segment of path) {
    if (segment === '' || segment === '.' || segment === '..') {
      throw malformed(pattern, 'no SPIFFE ID has empty or dot segments or a trailing slash');
    }
    if (!/^[a-zA-Z0-9._*?-]+$/.test(segment)) throw malformed(pattern, 'no SPIFFE ID has such characters');
  }
  return (id) => matchSegment(trustDomain, id.trustDomain.name) && matchSegments(path, id.segments);
}

/**
 * Splits a pattern of any slash-separated names (SPIFFE IDs, URL paths) at its slashes and checks its syntax. A leading
 * slash gives an empty first segment, which `matchSegments` then expects of the subject too. Throws
 * `SPIFFE_GLOB_MALFORMED`.
 */
export function globToSegments(pattern: string): GlobSegments {
  if (typeof pattern !== 'string' || pattern === '') throw malformed(pattern, 'it is empty');
  if (pattern.length > maxPatternLength)
    throw malformed(pattern, `it is longer than ${String(maxPatternLength)} characters`);
  if (pattern.startsWith('!')) throw malformed(pattern, 'negation is not supported');
  const special = /[[\]{}()|\\"]/.exec(pattern);
  if (special !== null) {
    throw malformed(
      pattern,
      `${JSON.stringify(special[0])} is glob syntax that is not supported; write one pattern per alternative`,
    );
  }
  const segments = pattern.split('/');
  for (const segment of segments) {
    if (segment.includes('**') && segment !== '**') throw malformed(pattern, '** must stand alone between slashes');
  }
  return Object.freeze(segments);
}

/** Whether the segments of a name match. Each pair of segments is compared at most once. */
export function matchSegments(glob: GlobSegments, segments: readonly string[]): boolean {
  let at = 0;
  let index = 0;
  // Where to go on when a match fails: after the last `**`, one segment further than last time. Earlier ones need no retry.
  let retryAt = -1;
  let retryIndex = 0;
  while (index < segments.length) {
    const expected = glob[at];
    const segment = segments[index] ?? '';
    if (expected === '**') {
      at += 1;
      retryAt = at;
      retryIndex = index;
    } else if (expected !== undefined && matchSegment(expected, segment)) {
      at += 1;
      index += 1;
    } else if (retryAt >= 0) {
      retryIndex += 1;
      index = retryIndex;
      at = retryAt;
    } else return false;
  }
  while (glob[at] === '**') at += 1;
  return at === glob.length;
}

/** The same within one segment, where `*` is what `**` is above. */
function matchSegment(pattern: string, text: string): boolean {
  if (text === '') return pattern === '';
  let at = 0;
  let index = 0;
  let retryAt = -1;
  let retryIndex = 0;
  while (index < text.length) {
    const expected = pattern[at];
    if (expected === '*') {
      at += 1;
      retryAt = at;
      retryIndex = index;
    } else if (expected !== undefined && (expected === '?' || expected === text[index])) {
      at += 1;
      index += 1;
    } else if (retryAt >= 0) {
      retryIndex += 1;
      index = retryIndex;
      at = retryAt;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}

function malformed(pattern: unknown, why: string): SpiffeError {
  return new SpiffeError(
    'SPIFFE_GLOB_MALFORMED',
    `expected a glob with *, ** and ? only, such as spiffe://*/ns/shop/sa/web-*, got ${shown(pattern)}: ${why}`,
  );
}
