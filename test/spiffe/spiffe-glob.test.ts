import fc from 'fast-check';
import micromatch from 'micromatch';
import { describe, expect, test } from 'vitest';
import { SpiffeId, globToSegments, matchSegments, spiffeGlob } from '../../src/spiffe/index.js';
import { codeOf } from './code-of.js';

const matches = (pattern: string, id: string) => spiffeGlob(pattern)(SpiffeId.parse(id));
const matchPath = (pattern: string, path: string) => matchSegments(globToSegments(pattern), path.split('/'));

describe('spiffeGlob', () => {
  test.each([
    ['spiffe://cluster.local/ns/shop/sa/web', 'spiffe://cluster.local/ns/shop/sa/web', true],
    ['spiffe://cluster.local/ns/shop/sa/web', 'spiffe://cluster.local/ns/shop/sa/web2', false],
    ['spiffe://cluster.local/ns/shop/sa/web', 'spiffe://other.local/ns/shop/sa/web', false],
    ['spiffe://*/ns/shop/sa/web-*', 'spiffe://cluster.local/ns/shop/sa/web-1', true],
    ['spiffe://*/ns/shop/sa/web-*', 'spiffe://cluster.local/ns/shop/sa/web-', true],
    ['spiffe://*/ns/shop/sa/web-*', 'spiffe://cluster.local/ns/shop/sa/web', false],
    ['spiffe://*/ns/shop/sa/web-*', 'spiffe://cluster.local/ns/shop/sa/web-1/extra', false],
    ['spiffe://cluster.local/agent/untrusted-*', 'spiffe://cluster.local/agent/untrusted-1', true],
    ['spiffe://cluster.local/agent/untrusted-*', 'spiffe://cluster.local/agent/node-a', false],
    ['spiffe://cluster.local/*', 'spiffe://cluster.local/agent/node-a', false],
    ['spiffe://cluster.local/*', 'spiffe://cluster.local/controller', true],
    ['spiffe://cluster.local/**', 'spiffe://cluster.local/agent/node-a', true],
    ['spiffe://cluster.local/**', 'spiffe://cluster.local', true],
    ['spiffe://cluster.local/**', 'spiffe://cluster.local.evil/agent/node-a', false],
    ['spiffe://*/**', 'spiffe://cluster.local/agent/node-a', true],
    ['spiffe://*', 'spiffe://cluster.local', true],
    ['spiffe://*', 'spiffe://cluster.local/a', false],
    ['spiffe://prod-*/a', 'spiffe://prod-eu/a', true],
    ['spiffe://prod-*/a', 'spiffe://dev/a', false],
    ['spiffe://td/ns/**/sa/x', 'spiffe://td/ns/sa/x', true],
    ['spiffe://td/ns/**/sa/x', 'spiffe://td/ns/a/b/sa/x', true],
    ['spiffe://td/a?c', 'spiffe://td/abc', true],
    ['spiffe://td/a?c', 'spiffe://td/ac', false],
    ['spiffe://td/*', 'spiffe://td/.hidden', true],
    ['spiffe://td/a.c', 'spiffe://td/abc', false],
    ['spiffe://td/Web', 'spiffe://td/web', false],
  ])('%s on %s: %s', (pattern, id, expected) => {
    expect(matches(pattern, id)).toBe(expected);
  });

  test.each([
    '',
    'cluster.local/ns/a/sa/b',
    'SPIFFE://td/a',
    '!spiffe://td/a',
    'spiffe://',
    'spiffe://**',
    'spiffe://**/a',
    'spiffe:///a',
    'spiffe://td/',
    'spiffe://td//a',
    'spiffe://td/a/',
    'spiffe://td/./a',
    'spiffe://td/../a',
    'spiffe://td/a**',
    'spiffe://td/**a',
    'spiffe://td/***',
    'spiffe://td/{a,b}',
    'spiffe://td/[ab]',
    'spiffe://td/@(a|b)',
    'spiffe://td/+(a)',
    'spiffe://td/!(a)',
    'spiffe://td/!a',
    'spiffe://td/a|b',
    'spiffe://td/\\*',
    'spiffe://td/a b',
    'spiffe://TD/a',
    'spiffe://td/é',
    'spiffe://td/%2a',
    `spiffe://td/${'a'.repeat(2048)}`,
  ])('%j does not compile', (pattern) => {
    expect(codeOf(() => spiffeGlob(pattern))).toBe('SPIFFE_GLOB_MALFORMED');
  });

  test('the cost of the worst patterns is small', () => {
    const [pattern, subject] = [`spiffe://td/${'*a'.repeat(900)}b`, SpiffeId.parse(`spiffe://td/${'a'.repeat(2000)}`)];
    const deep = spiffeGlob(`spiffe://td/${'**/a/'.repeat(300)}b`);
    const deepSubject = SpiffeId.parse(`spiffe://td/${'a/'.repeat(900)}c`);
    const started = performance.now();
    expect(spiffeGlob(pattern)(subject)).toBe(false);
    expect(deep(deepSubject)).toBe(false);
    // An exponential matcher would not end within the life of the machine; this bound is only generous.
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe('property: micromatch is the oracle', () => {
  // Few characters, so that patterns often match. Dots, so that hidden names and dot handling are met.
  const piece = fc.string({ unit: fc.constantFrom(...'ab.-_'), minLength: 1, maxLength: 4 });
  const name = piece.filter((text) => text !== '.' && text !== '..');
  const patternSegment = fc.oneof(
    { weight: 3, arbitrary: fc.string({ unit: fc.constantFrom(...'ab*?.-'), minLength: 1, maxLength: 5 }) },
    { weight: 2, arbitrary: name },
    { weight: 1, arbitrary: fc.constant('**') },
    { weight: 1, arbitrary: fc.constant('*') },
  );
  const usable = (segment: string) =>
    (segment === '**' || !segment.includes('**')) && segment !== '.' && segment !== '..';
  const patterns = fc.array(patternSegment.filter(usable), { minLength: 1, maxLength: 5 });
  const names = fc.array(name, { minLength: 1, maxLength: 5 });
  // One rule of ours is not micromatch's: a final `/**` is also no segment, after whatever came before it. There micromatch
  // says yes to `a/**` on `a`, and no to `*/**`.
  const oracle = (subject: string, pattern: string): boolean =>
    micromatch.isMatch(subject, pattern, {
      dot: true,
      nonegate: true,
      nobrace: true,
      noextglob: true,
      nobracket: true,
    }) ||
    (pattern.endsWith('/**') && oracle(subject, pattern.slice(0, -3)));

  test('on names of one to five segments', () => {
    fc.assert(
      fc.property(patterns, names, (pattern, subject) => {
        const [glob, text] = [pattern.join('/'), subject.join('/')];
        expect([glob, text, matchPath(glob, text)]).toEqual([glob, text, oracle(text, glob)]);
      }),
      { numRuns: 5000 },
    );
  });

  test('on SPIFFE IDs whose pattern was made from the ID', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.constantFrom('*', '?', '**')), { maxLength: 3 });
    fc.assert(
      fc.property(names, edits, (subject, changes) => {
        const pattern = [...subject];
        for (const [at, edit] of changes) pattern[at % pattern.length] = edit;
        const [glob, id] = [`spiffe://td/${pattern.join('/')}`, `spiffe://td/${subject.join('/')}`];
        expect([glob, id, matches(glob, id)]).toEqual([glob, id, oracle(subject.join('/'), pattern.join('/'))]);
      }),
      { numRuns: 2000 },
    );
  });

  test('any text compiles or is refused with the code; what compiles has no other glob syntax', () => {
    const noise = fc.string({ unit: fc.constantFrom(...'ab*?/.![]{}()|\\"@+^$,é '), maxLength: 20 });
    fc.assert(
      fc.property(noise, (text) => {
        const pattern = `spiffe://td/${text}`;
        const code = codeOf(() => spiffeGlob(pattern));
        expect(code).toBe(code === undefined ? undefined : 'SPIFFE_GLOB_MALFORMED');
        if (code === undefined) expect(text).toMatch(/^[a-z*?/.]+$/);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('matchSegments on URL paths', () => {
  test.each([
    ['/api/*', '/api/v1', true],
    ['/api/*', '/api/', false],
    ['/api/*', '/api/v1/x', false],
    ['/api/**', '/api', true],
    ['/api/**', '/api/', true],
    ['/api/**', '/api/.git/config', true],
    ['/api', '/api/', false],
    ['/**', '/', true],
    ['/', '/', true],
    ['/*', '/', false],
    ['**', '/a/b', true],
    ['api', '/api', false],
  ])('%s on %s: %s', (pattern, path, expected) => {
    expect(matchPath(pattern, path)).toBe(expected);
  });
});
