/** Every parser of the module on damaged input: each byte value in each position, cuts, and noise. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BundleSet, SpiffeId, TrustDomain, X509Svid, spiffeGlob, verifyX509Svid } from '../../src/spiffe/index.js';
import { isMeshwrightError } from '../../src/core/index.js';
import { TestCa } from './fakes.js';

/** The standard's grammar as one expression, written apart from the parser. */
const grammar = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[a-zA-Z0-9._-]+)*$/;
const inGrammar = (text: string): boolean => !/[\r\n]/.test(text) && text.length <= 2048 && grammar.test(text);

/** Whether it parses; anything thrown but the module's own error fails the test. */
function parses(run: () => unknown): boolean {
  try {
    run();
    return true;
  } catch (error) {
    expect(isMeshwrightError(error) && error.code.startsWith('SPIFFE_')).toBe(true);
    return false;
  }
}

describe('a SPIFFE ID with any byte value in any position', () => {
  test.each(['spiffe://cluster.local/ns/shop/sa/web-1', 'spiffe://td', 'spiffe://a/b', 'spiffe://td/..a/.b.'])(
    '%s is accepted exactly when the grammar of the standard does',
    (id) => {
      const wrong: string[] = [];
      for (let byte = 0; byte < 256; byte += 1) {
        const character = String.fromCharCode(byte);
        for (let at = 0; at <= id.length; at += 1) {
          const inserted = `${id.slice(0, at)}${character}${id.slice(at)}`;
          const replaced = `${id.slice(0, at)}${character}${id.slice(at + 1)}`;
          for (const text of [inserted, replaced]) {
            const accepted = parses(() => expect(SpiffeId.parse(text).toString()).toBe(text));
            if (accepted !== inGrammar(text)) wrong.push(text);
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );

  test('with any two bytes at the end, or between its slashes', () => {
    const wrong: string[] = [];
    for (let first = 0; first < 256; first += 1) {
      for (let second = 0; second < 256; second += 1) {
        const pair = String.fromCharCode(first, second);
        for (const text of [`spiffe://td/${pair}`, `spiffe://${pair}/a`]) {
          let accepted = true;
          try {
            SpiffeId.parse(text);
          } catch {
            accepted = false;
          }
          if (accepted !== inGrammar(text)) wrong.push(text);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test('and a trust domain likewise', () => {
    for (let byte = 0; byte < 256; byte += 1) {
      for (let at = 0; at <= 3; at += 1) {
        const name = `${'a.b'.slice(0, at)}${String.fromCharCode(byte)}${'a.b'.slice(at)}`;
        expect([name, parses(() => TrustDomain.parse(name))]).toEqual([name, /^[a-z0-9._-]+$/.test(name)]);
      }
    }
  });
});

describe('a damaged SVID', () => {
  const ca = TestCa.create({ intermediate: true });
  const svid = ca.svid('spiffe://cluster.local/ns/shop/sa/web');
  const { chainPem, privateKeyPem } = svid;
  const secret = privateKeyPem.split('\n')[1] ?? '';

  test('property: its PEM loads as it was, or is refused with a code that quotes no key', () => {
    const edit = fc.tuple(
      fc.constantFrom('chain', 'key'),
      fc.nat(),
      fc.oneof(fc.constantFrom('', '\0', '-', 'A', '\n', '=', ' '), fc.string({ unit: 'binary', maxLength: 3 })),
      fc.nat(20),
    );
    fc.assert(
      fc.property(edit, ([which, where, text, cut]) => {
        const source = which === 'chain' ? chainPem : privateKeyPem;
        const at = where % source.length;
        const changed = `${source.slice(0, at)}${text}${source.slice(at + cut)}`;
        const pem = which === 'chain' ? { chainPem: changed, privateKeyPem } : { chainPem, privateKeyPem: changed };
        try {
          expect(X509Svid.fromPem(pem).spiffeId.toString()).toMatch(/^spiffe:/);
        } catch (error) {
          expect(isMeshwrightError(error) && error.code.startsWith('SPIFFE_')).toBe(true);
          const said = `${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`;
          expect(said).not.toContain(secret.slice(0, 16));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('each byte of the leaf, changed: none verifies but with the code of a defect', () => {
    const [leaf = new Uint8Array(), ...rest] = svid.certificates;
    for (let at = 0; at < leaf.length; at += 1) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const changed = Uint8Array.from(leaf);
        changed[at] = (changed[at] ?? 0) ^ mask;
        expect([
          at,
          parses(() =>
            verifyX509Svid({ certificates: [changed, ...rest], bundle: BundleSet.of(ca.bundle), now: Date.now() }),
          ),
        ]).toEqual([at, false]);
      }
    }
  });

  test('each cut of the leaf, and anything after it', () => {
    const [leaf = new Uint8Array()] = svid.certificates;
    for (let length = 0; length < leaf.length; length += 1) {
      expect(
        parses(() => verifyX509Svid({ certificates: [leaf.subarray(0, length)], bundle: ca.bundle, now: Date.now() })),
      ).toBe(false);
    }
    const longer = Buffer.concat([leaf, Buffer.from([0])]);
    expect(parses(() => verifyX509Svid({ certificates: [longer], bundle: ca.bundle, now: Date.now() }))).toBe(false);
  });
});

test('property: a glob compiles or is refused with its code, and matches or not without throwing', () => {
  const id = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({ unit: fc.constantFrom(...'abs*?/.-[{(!\\'), maxLength: 30 }),
  );
  fc.assert(
    fc.property(text, (pattern) => {
      let matches: ReturnType<typeof spiffeGlob> | undefined;
      parses(() => (matches = spiffeGlob(`spiffe://${pattern}`)));
      if (matches !== undefined) expect(typeof matches(id)).toBe('boolean');
    }),
    { numRuns: 2000 },
  );
});
