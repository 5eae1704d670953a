import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  SpiffeId,
  TrustDomain,
  agentId,
  controllerId,
  isControllerId,
  readAgentId,
  readWorkloadId,
  workloadId,
} from '../../src/spiffe/index.js';
import { codeOf } from './code-of.js';

const domainCharacters = 'abcdefghijklmnopqrstuvwxyz0123456789.-_';
const segmentCharacters = `${domainCharacters}ABCDEFGHIJKLMNOPQRSTUVWXYZ`;
const textOf = (characters: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...characters), minLength: 1, maxLength });
const domain = textOf(domainCharacters, 255);
const segment = textOf(segmentCharacters, 40).filter((text) => text !== '.' && text !== '..');
const validId = fc
  .tuple(domain, fc.array(segment, { maxLength: 6 }))
  .map(([name, segments]) => `spiffe://${[name, ...segments].join('/')}`);

describe('TrustDomain', () => {
  test('takes every allowed character in every position, and no other', () => {
    for (let code = 0; code < 0x300; code += 1) {
      const character = String.fromCharCode(code);
      const allowed = domainCharacters.includes(character);
      for (const name of [character, `${character}a`, `a${character}`, `a${character}a`]) {
        expect([name, codeOf(() => TrustDomain.parse(name))]).toEqual([
          name,
          allowed ? undefined : 'SPIFFE_TRUST_DOMAIN_MALFORMED',
        ]);
      }
    }
  });

  test('is 1 to 255 characters long', () => {
    expect(codeOf(() => TrustDomain.parse(''))).toBe('SPIFFE_TRUST_DOMAIN_MALFORMED');
    expect(TrustDomain.parse('a'.repeat(255)).name).toHaveLength(255);
    expect(codeOf(() => TrustDomain.parse('a'.repeat(256)))).toBe('SPIFFE_TRUST_DOMAIN_MALFORMED');
  });

  test('is compared by name, frozen, and refuses what is no string', () => {
    expect(TrustDomain.parse('a').equals(TrustDomain.parse('a'))).toBe(true);
    expect(TrustDomain.parse('a').equals(TrustDomain.parse('b'))).toBe(false);
    expect(Object.isFrozen(TrustDomain.parse('a'))).toBe(true);
    for (const value of [undefined, null, 1, ['a'], { toString: () => 'a' }]) {
      expect(codeOf(() => TrustDomain.parse(value as never))).toBe('SPIFFE_TRUST_DOMAIN_MALFORMED');
    }
  });
});

describe('SpiffeId', () => {
  test('takes every allowed byte in every position of a segment, and no other', () => {
    for (let code = 0; code < 0x300; code += 1) {
      const character = String.fromCharCode(code);
      const allowed = segmentCharacters.includes(character);
      for (const text of [`${character}a`, `a${character}`, `a${character}a`, `b/${character}a`, `a${character}/b`]) {
        // A slash in the middle makes two good segments.
        const good = allowed || (character === '/' && text === 'a/a');
        const id = `spiffe://td/${text}`;
        expect([id, codeOf(() => SpiffeId.parse(id))]).toEqual([id, good ? undefined : 'SPIFFE_ID_MALFORMED']);
      }
    }
  });

  test.each([
    '',
    'spiffe',
    'spiffe:',
    'spiffe:/td/a',
    'spiffe://',
    'spiffe:///a',
    'SPIFFE://td/a',
    'Spiffe://td/a',
    ' spiffe://td/a',
    'spiffe://td/a ',
    'spiffe://td/a\n',
    'http://td/a',
    'spiffe://td/',
    'spiffe://td//',
    'spiffe://td/a/',
    'spiffe://td//a',
    'spiffe://td/a//b',
    'spiffe://td/.',
    'spiffe://td/..',
    'spiffe://td/./a',
    'spiffe://td/a/..',
    'spiffe://td/a/../b',
    'spiffe://TD/a',
    'spiffe://user@td/a',
    'spiffe://user:pass@td/a',
    'spiffe://td:443/a',
    'spiffe://td/a?b=c',
    'spiffe://td?b',
    'spiffe://td/a#b',
    'spiffe://td#b',
    'spiffe://td/%61',
    'spiffe://td/a%2fb',
    'spiffe://td/a\\b',
    'spiffe://[::1]/a',
    'spiffe://td/a,spiffe://td/b',
    'spiffe://td/é',
    'spiffe://tд/a',
  ])('refuses %j', (text) => {
    expect(codeOf(() => SpiffeId.parse(text))).toBe('SPIFFE_ID_MALFORMED');
  });

  test.each(['spiffe://td', 'spiffe://td/a', 'spiffe://td/...', 'spiffe://td/.a/a./-/_', 'spiffe://1.2.3.4/A/Z0'])(
    'takes %j',
    (text) => {
      expect(SpiffeId.parse(text).toString()).toBe(text);
    },
  );

  test('is at most 2048 bytes long', () => {
    const longest = `spiffe://td/${'a'.repeat(2048 - 12)}`;
    expect(SpiffeId.parse(longest).toString()).toHaveLength(2048);
    expect(codeOf(() => SpiffeId.parse(`${longest}a`))).toBe('SPIFFE_ID_MALFORMED');
    expect(codeOf(() => SpiffeId.fromSegments(TrustDomain.parse('td'), 'a'.repeat(2048)))).toBe('SPIFFE_ID_MALFORMED');
  });

  test('an error message shows what arrived, bounded and escaped', () => {
    expect(() => SpiffeId.parse(`spiffe://td/\n${'x'.repeat(5000)}`)).toThrow(/\\n/);
    try {
      SpiffeId.parse('x'.repeat(100_000));
    } catch (error) {
      expect((error as Error).message.length).toBeLessThan(500);
    }
  });

  test('property: a valid ID parses to itself, and its parts make it again', () => {
    fc.assert(
      fc.property(validId, (text) => {
        const id = SpiffeId.parse(text);
        expect(id.toString()).toBe(text);
        expect(`spiffe://${id.trustDomain.name}${id.path}`).toBe(text);
        expect(SpiffeId.fromSegments(id.trustDomain, ...id.segments).equals(id)).toBe(true);
        expect(JSON.parse(JSON.stringify({ id }))).toEqual({ id: text });
      }),
    );
  });

  test('property: any text either parses to itself or is refused with the code, and never another way', () => {
    const noise = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc
        .string({ unit: fc.constantFrom(...'spiffe:/.%@?#\\ aA0\0'), maxLength: 40 })
        .map((text) => `spiffe://td/${text}`),
      fc.tuple(validId, fc.nat(), fc.string({ unit: 'binary', maxLength: 2 })).map(([id, at, insert]) => {
        const index = at % (id.length + 1);
        return `${id.slice(0, index)}${insert}${id.slice(index)}`;
      }),
    );
    // The standard's grammar as one expression, written independently of the parser.
    const grammar = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/(?!\.{1,2}(\/|$))[a-zA-Z0-9._-]+)*$/;
    fc.assert(
      fc.property(noise, (text) => {
        const valid = grammar.test(text) && !text.includes('\n') && text.length <= 2048;
        expect(codeOf(() => SpiffeId.parse(text))).toBe(valid ? undefined : 'SPIFFE_ID_MALFORMED');
      }),
      { numRuns: 2000 },
    );
  });

  test('is not confused by an object that only looks like one', () => {
    const id = SpiffeId.parse('spiffe://td/a');
    expect(Object.isFrozen(id)).toBe(true);
    for (const value of [undefined, null, 1, {}, ['spiffe://td/a'], { toString: () => 'spiffe://td/a' }]) {
      expect(codeOf(() => SpiffeId.parse(value as never))).toBe('SPIFFE_ID_MALFORMED');
    }
  });
});

describe('the IDs of a mesh', () => {
  const td = TrustDomain.parse('cluster.local');

  test('are built and read', () => {
    expect(agentId(td, 'node-a').toString()).toBe('spiffe://cluster.local/agent/node-a');
    expect(workloadId(td, 'shop', 'web').toString()).toBe('spiffe://cluster.local/ns/shop/sa/web');
    expect(controllerId(td).toString()).toBe('spiffe://cluster.local/controller');
    expect(readAgentId(agentId(td, 'node-a'))).toEqual({ node: 'node-a' });
    expect(readWorkloadId(workloadId(td, 'shop', 'web'))).toEqual({ namespace: 'shop', serviceAccount: 'web' });
    expect(isControllerId(controllerId(td))).toBe(true);
  });

  test('a name cannot smuggle in a segment', () => {
    for (const name of ['', '.', '..', 'a/b', 'a%2fb', 'a b', 'a\n']) {
      expect(codeOf(() => agentId(td, name))).toBe('SPIFFE_ID_MALFORMED');
      expect(codeOf(() => workloadId(td, name, 'a'))).toBe('SPIFFE_ID_MALFORMED');
      expect(codeOf(() => workloadId(td, 'a', name))).toBe('SPIFFE_ID_MALFORMED');
    }
  });

  test.each([
    '',
    '/agent',
    '/agent/a/b',
    '/Agent/a',
    '/agents/a',
    '/x/agent/a',
    '/ns/a/sa',
    '/ns/a/sa/b/c',
    '/ns/a/SA/b',
    '/sa/a/ns/b',
    '/x/ns/a/sa/b',
    '/ns/a/b/sa',
    '/controller/a',
    '/Controller',
    '/ns/controller',
  ])('%j is none of them', (path) => {
    const id = SpiffeId.parse(`spiffe://cluster.local${path}`);
    expect([readAgentId(id), readWorkloadId(id), isControllerId(id)]).toEqual([undefined, undefined, false]);
  });

  test('property: no ID is two of them', () => {
    const shapes = fc.array(fc.oneof(fc.constantFrom('agent', 'ns', 'sa', 'controller'), segment), { maxLength: 5 });
    fc.assert(
      fc.property(shapes, (segments) => {
        const id = SpiffeId.fromSegments(td, ...segments);
        const kinds = [readAgentId(id) !== undefined, readWorkloadId(id) !== undefined, isControllerId(id)];
        expect(kinds.filter(Boolean).length).toBeLessThanOrEqual(1);
      }),
    );
  });
});
