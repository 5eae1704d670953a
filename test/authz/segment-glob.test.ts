import fc from 'fast-check';
import micromatch from 'micromatch';
import { describe, expect, it } from 'vitest';
import { globCouldMatch, globDefect, matchSegmentGlob, parseSegmentGlob } from '../../src/authz/segment-glob.js';

const matches = (pattern: string, text: string): boolean => matchSegmentGlob(parseSegmentGlob(pattern), text);

describe('segment globs', () => {
  it('agree with micromatch (dot on; no negation, braces, classes or extended globs)', () => {
    const letter = fc.constantFrom('a', 'b', '.', '-');
    const segment = fc
      .string({ unit: letter, minLength: 1, maxLength: 4 })
      .filter((text) => text !== '.' && text !== '..');
    const part = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.string({ unit: fc.constantFrom('a', 'b', '-', '*', '?', '.'), minLength: 1, maxLength: 4 }),
      },
      { weight: 1, arbitrary: fc.constantFrom('**', '*') },
    );
    const pattern = fc
      .array(part, { minLength: 1, maxLength: 4 })
      // `.` and `..` as text are refused before matching; `?.` and the like are left to literal dots, which micromatch treats apart.
      .map((parts) => `/${parts.join('/')}`)
      .filter(
        (text) =>
          globDefect(text, 'path') === undefined &&
          !/(^|\/)[.?]{1,2}(\/|$)/.test(text) &&
          !/(^|\/)[.*?]*\.[.*?]*(\/|$)/.test(text),
      );
    const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
    const options = { dot: true, nonegate: true, nobrace: true, noextglob: true, nobracket: true };
    fc.assert(
      fc.property(pattern, path, (glob, text) => {
        // Without the leading slash, before which micromatch wants `**` to be more than nothing.
        // After a wildcard it wants a trailing `**` to be more than nothing, too; ours is uniform.
        const bare = glob.slice(1).replace(/(\/\*\*)+$/, '');
        const oracle = [glob.slice(1), bare].some((each) => micromatch.isMatch(text.slice(1), each, options));
        expect(matches(glob, text)).toBe(oracle);
      }),
      { numRuns: 5_000 },
    );
  });

  it('a star is any text within one segment, alone a segment that is not empty; two are any number of segments', () => {
    expect(['/a/b', '/a/', '/a', '/a/b/c'].map((text) => matches('/a/*', text))).toEqual([true, false, false, false]);
    expect(['/a/b', '/a/', '/a', '/a/b/c', '/ab'].map((text) => matches('/a/**', text))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect(['/web-', '/web-1', '/web'].map((text) => matches('/web-*', text))).toEqual([true, true, false]);
    expect(['/a', '/', '/ab'].map((text) => matches('/?', text))).toEqual([true, false, false]);
  });

  it.each(['/a**', '/**a', '/[ab]', '/{a,b}', '/!(a)', '/a|b', '/\\*', '/a b'])('%s is refused', (pattern) => {
    expect(globDefect(pattern, 'path')).toBeDefined();
  });

  it('whether a glob could match a name of some form', () => {
    const agent = [undefined, 'agent', undefined];
    const could = (pattern: string): boolean => globCouldMatch(parseSegmentGlob(pattern), agent);
    expect(['td/agent/n', '*/agent/*', 'td/**', '*/*/*', 'td/a*/n', '**'].map(could)).toEqual([
      true,
      true,
      true,
      true,
      true,
      true,
    ]);
    expect(['td/ns/a/sa/b', 'td/agent', 'td/b*/n', 'td/ns/**', 'td/agent/n/x'].map(could)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  it('takes time in proportion to pattern times text', () => {
    const started = performance.now();
    expect(matches(`/${'*a'.repeat(50)}b`, `/${'a'.repeat(5_000)}`)).toBe(false);
    expect(matches(`${'/**/a'.repeat(50)}/b`, '/a'.repeat(2_000))).toBe(false);
    // Seconds, not milliseconds: the machine may be busy. An exponential matcher would not end at all.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
