/** Patterns over SPIFFE IDs mean the same in a policy and in `spiffeGlob`: what one takes the other takes, and both match alike. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuthzCompileError, AuthzEngine } from '../../src/authz/index.js';
import { globDefect } from '../../src/authz/segment-glob.js';
import { SpiffeId, spiffeGlob } from '../../src/spiffe/index.js';

const scheme = 'spiffe://';

function taken(pattern: string): boolean {
  try {
    spiffeGlob(scheme + pattern);
    return true;
  } catch {
    return false;
  }
}

function engineOf(pattern: string): AuthzEngine | undefined {
  const manifest = {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name: 'p', namespace: 'n' },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: 's' },
      action: 'ALLOW',
      rules: [{ from: [{ spiffeIds: [scheme + pattern] }] }],
    },
  };
  try {
    return AuthzEngine.compile([manifest]);
  } catch (error) {
    if (error instanceof AuthzCompileError) return undefined;
    throw error;
  }
}
const compiles = (pattern: string): boolean => engineOf(pattern) !== undefined;

const part = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('td', 'ns', 'a', 'web-1', '*', '**', '?', 'a*', '*-b', 'A_b.c') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '.', '..', 'TD', 'a**', '**a', '***', 'a,b', 'a b', '%41', 'é', '{a}', '!a'),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 3 }) },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom('a', '*', '?', '.', '-', '/', ','), maxLength: 4 }) },
);
const pattern = fc.oneof(
  { weight: 9, arbitrary: fc.array(part, { maxLength: 5 }).map((parts) => parts.join('/')) },
  { weight: 1, arbitrary: fc.integer({ min: 2040, max: 2056 }).map((length) => `td/${'a'.repeat(length - 3)}`) },
);
/** From few words, so that they often meet a name. */
const likely = fc
  .tuple(
    fc.constantFrom('td', '*', 't?', 'a'),
    fc.array(fc.constantFrom('a', 'ns', '*', '**', '?', 'a*', '*-b'), { minLength: 1, maxLength: 4 }),
  )
  .map(([td, path]) => `${td}/${path.join('/')}`);
const name = fc.constantFrom('a', 'a', 'ns', 'aa', 'x-b', 'A_b.c', '...');
const id = fc
  .tuple(fc.constantFrom('td', 'td', 'a', 'x-b'), fc.array(name, { minLength: 1, maxLength: 4 }))
  .map(([td, path]) => `${td}/${path.join('/')}`);

describe('patterns over SPIFFE IDs', () => {
  it.each(['**', '**/a', 'td/', 'td//a', 'td/./a', 'td/../a', 'TD/a', 'td/a,b', '', '/a', 'td/a b', 'td/a**'])(
    '%j is refused by both',
    (text) => {
      expect(taken(text)).toBe(false);
      expect(globDefect(text, 'spiffe')).toBeDefined();
      expect(compiles(text)).toBe(false);
    },
  );

  it('are taken and refused alike; a policy also wants a path', () => {
    let both = 0;
    fc.assert(
      fc.property(pattern, (text) => {
        const expected = taken(text);
        expect(globDefect(text, 'spiffe') === undefined).toBe(expected);
        expect(compiles(text)).toBe(expected && text.includes('/'));
        if (expected) both += 1;
      }),
      { numRuns: 5_000 },
    );
    expect(both).toBeGreaterThan(500);
  });

  it('match alike', () => {
    let matched = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          likely,
          pattern.filter((text) => taken(text) && text.includes('/')),
        ),
        id,
        (text, subject) => {
          const expected = spiffeGlob(scheme + text)(SpiffeId.parse(scheme + subject));
          const principal = scheme + subject;
          const decision = engineOf(text)?.authorize({
            source: { principal, node: principal },
            destination: { namespace: 'n', services: ['s'] },
          });
          expect(decision?.allowed).toBe(expected);
          if (expected) matched += 1;
        },
      ),
      { numRuns: 4_000 },
    );
    expect(matched).toBeGreaterThan(100);
  });
});
