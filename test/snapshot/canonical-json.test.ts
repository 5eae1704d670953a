import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, contentHash } from '../../src/snapshot/index.js';

/** JSON values, with their objects' keys in a given order. */
function reordered(value: unknown, seed: number): unknown {
  if (Array.isArray(value)) return value.map((item) => reordered(item, seed));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, field]) => [key, reordered(field, seed)] as const);
  return Object.fromEntries(seed % 2 === 0 ? entries.reverse() : entries.sort(() => (seed % 3) - 1));
}

describe('canonicalJson', () => {
  it('reads back as what it was', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('does not depend on the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(), (value, seed) => {
        expect(canonicalJson(reordered(value, seed))).toBe(canonicalJson(value));
        expect(contentHash(reordered(value, seed))).toBe(contentHash(value));
      }),
    );
  });

  it('tells different contents apart', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const same = canonicalJson(a) === canonicalJson(b);
        expect(contentHash(a) === contentHash(b)).toBe(same);
        if (same) expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(canonicalJson(b)));
      }),
    );
  });

  it('is what RFC 8785 says it is', () => {
    const value = {
      '\u20ac': 1e21,
      b: [1.5, -0, null, true],
      a: { z: '\u000f\n"', y: 333333333.3333333 },
      n: undefined,
    };
    expect(canonicalJson(value)).toBe(
      '{"a":{"y":333333333.3333333,"z":"\\u000f\\n\\""},"b":[1.5,0,null,true],"€":1e+21}',
    );
    // printf '{"a":1}' | sha256sum
    expect(contentHash({ a: 1 })).toBe('015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862');
  });

  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  it.each([
    ['NaN', { a: [NaN] }],
    ['infinity', Infinity],
    ['a bigint', { a: 1n }],
    ['a function', { a: () => 1 }],
    ['a symbol', { a: Symbol('x') }],
    ['undefined', undefined],
    ['a hole', new Array(1)],
    ['a date', { a: new Date(0) }],
    ['a map', new Map()],
    ['a cycle', cyclic],
  ])('refuses %s', (_what, value) => {
    expect(() => canonicalJson(value)).toThrow(expect.objectContaining({ code: 'SNAPSHOT_NOT_JSON' }));
  });

  it('keeps a key named __proto__', () => {
    expect(canonicalJson(JSON.parse('{"__proto__":{"a":1}}'))).toBe('{"__proto__":{"a":1}}');
  });
});
