import { createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TrustBundle, TrustDomain, workloadTokenKeyUse } from '../../src/spiffe/index.js';
import type { Jwk } from '../../src/spiffe/index.js';
import { TestCa, testPrivateKey } from './fakes.js';
import type { TestKeyType } from './fakes.js';
import { codeOf } from './code-of.js';

const td = 'cluster.local';

function jwk(kid: string, type: TestKeyType = 'P-256'): Jwk {
  return { ...createPublicKey(testPrivateKey(type)).export({ format: 'jwk' }), kid } as Jwk;
}

/** A full bundle document, as plain mutable JSON. */
function document(): { keys: Record<string, unknown>[]; [member: string]: unknown } {
  const bundle = TrustBundle.create({
    trustDomain: td,
    x509Authorities: [TestCa.create().rootPem, TestCa.create({ keyType: 'Ed25519' }).rootPem],
    workloadTokenKeys: [jwk('w1'), jwk('w2')],
    jwtAuthorities: [jwk('j1', 'P-384')],
    sequence: 7,
    refreshHintSeconds: 60,
  });
  return JSON.parse(JSON.stringify(bundle));
}

const parseCode = (json: unknown) => codeOf(() => TrustBundle.parse(json, td));

describe('TrustBundle', () => {
  test('keeps intermediates through its JSON form, and takes nothing else for one', () => {
    const ca = TestCa.create({ intermediate: true });
    const options = { trustDomain: td, x509Authorities: [ca.rootPem] };
    const bundle = TrustBundle.create({ ...options, x509Intermediates: ca.intermediates });
    const json = JSON.parse(JSON.stringify(bundle)) as Record<string, unknown>;
    expect(json['meshwright_intermediates']).toHaveLength(1);
    expect(TrustBundle.parse(json, td).x509IntermediatesPem).toEqual(bundle.x509IntermediatesPem);
    expect(TrustBundle.parse(json, td).equals(bundle)).toBe(true);
    expect(bundle.equals(TrustBundle.create(options))).toBe(false);
    expect(bundle.x509AuthoritiesPem).toHaveLength(1);
    const leaf = Buffer.from(ca.svid('spiffe://cluster.local/agent/a').certificates[0] ?? []).toString('base64');
    const [good] = json['meshwright_intermediates'] as string[];
    for (const wrong of ['x', {}, [1], [''], ['AAAA'], [leaf], [`${String(good)}=`], new Array(33).fill(good)]) {
      expect(parseCode({ ...json, meshwright_intermediates: wrong })).toBe('SPIFFE_BUNDLE_MALFORMED');
    }
  });

  test('goes through its JSON form unchanged, as text and as a document', () => {
    const json = document();
    for (const input of [json, JSON.stringify(json)]) {
      const bundle = TrustBundle.parse(input, td);
      expect(JSON.parse(JSON.stringify(bundle))).toEqual(json);
      expect(bundle.x509Authorities).toHaveLength(2);
      expect(bundle.x509AuthoritiesPem[0]).toMatch(/^-----BEGIN CERTIFICATE-----\n/);
      expect(bundle.workloadTokenKeys.map((key) => key.kid)).toEqual(['w1', 'w2']);
      expect(bundle.jwtAuthorities.map((key) => key.kid)).toEqual(['j1']);
      expect([bundle.sequence, bundle.refreshHintSeconds]).toEqual([7, 60]);
      expect(bundle.equals(TrustBundle.parse(json, td))).toBe(true);
    }
  });

  test('is in the SPIFFE bundle format', () => {
    const { keys, spiffe_sequence: sequence, spiffe_refresh_hint: hint } = document();
    expect([sequence, hint]).toEqual([7, 60]);
    expect(keys.map((key) => key['use'])).toEqual([
      'x509-svid',
      'x509-svid',
      'jwt-svid',
      workloadTokenKeyUse,
      workloadTokenKeyUse,
    ]);
    for (const key of keys) expect(typeof key['kty']).toBe('string');
    expect(keys[0]?.['x5c']).toHaveLength(1);
  });

  test('content is compared without the sequence number', () => {
    const json = document();
    const bundle = TrustBundle.parse(json, td);
    expect(bundle.equals(TrustBundle.parse({ ...json, spiffe_sequence: 8 }, td))).toBe(true);
    expect(bundle.equals(TrustBundle.parse(json, 'other'))).toBe(false);
    expect(bundle.equals(TrustBundle.parse({ ...json, keys: json.keys.slice(1) }, td))).toBe(false);
  });

  test('takes roots as PEM of several, DER, and certificates', () => {
    const [a, b] = [TestCa.create(), TestCa.create()];
    const [certificate] = b.bundle.x509Authorities;
    if (certificate === undefined) throw new Error('no root');
    const der = new Uint8Array(certificate.raw);
    const bundle = TrustBundle.create({
      trustDomain: TrustDomain.parse(td),
      x509Authorities: [`${a.rootPem}\n${b.rootPem}`, der, certificate],
    });
    expect(bundle.x509AuthoritiesPem).toEqual([a.rootPem, b.rootPem, b.rootPem, b.rootPem]);
    // The caller's buffer is not the bundle's.
    der.fill(0);
    expect(bundle.x509AuthoritiesPem[2]).toBe(b.rootPem);
  });

  test('as the format asks, keys of an unknown use or type, and unknown members, are ignored', () => {
    const json = document();
    json.keys.push({ kty: 'EC', use: 'sig' }, { kty: 'EC' }, { kty: 'future', use: 'x509-svid' });
    json['future'] = { a: 1 };
    expect(TrustBundle.parse(json, td).equals(TrustBundle.parse(document(), td))).toBe(false);
    expect(TrustBundle.parse(json, td).x509Authorities).toHaveLength(2);
    expect(TrustBundle.parse({ keys: [] }, td).x509Authorities).toEqual([]);
  });

  test.each<[string, (json: ReturnType<typeof document>) => unknown]>([
    ['not JSON', () => '{"keys":['],
    ['too long', () => ' '.repeat(1024 * 1024 + 1)],
    ['no document', () => undefined],
    ['null', () => null],
    ['an array', () => []],
    ['no keys', (json) => ({ ...json, keys: undefined })],
    ['keys that are no list', (json) => ({ ...json, keys: {} })],
    ['too many keys', (json) => ({ ...json, keys: Array(257).fill(json.keys[0]) })],
    ['a key that is no object', (json) => ({ ...json, keys: ['a'] })],
    ['a negative sequence', (json) => ({ ...json, spiffe_sequence: -1 })],
    ['a fractional sequence', (json) => ({ ...json, spiffe_sequence: 1.5 })],
    ['a sequence as text', (json) => ({ ...json, spiffe_sequence: '1' })],
    ['a negative refresh hint', (json) => ({ ...json, spiffe_refresh_hint: -1 })],
    ['an x509-svid key without x5c', (json) => ({ ...json, keys: [{ ...json.keys[0], x5c: undefined }] })],
    ['an empty x5c', (json) => ({ ...json, keys: [{ ...json.keys[0], x5c: [] }] })],
    [
      'an x5c of two',
      (json) => ({ ...json, keys: [{ ...json.keys[0], x5c: Array(2).fill(json.keys[0]?.['x5c']).flat() }] }),
    ],
    ['an x5c that is not base64', (json) => ({ ...json, keys: [{ ...json.keys[0], x5c: ['a b'] }] })],
    ['an x5c that is no certificate', (json) => ({ ...json, keys: [{ ...json.keys[0], x5c: ['AAAA'] }] })],
    ['a token key without kid', (json) => ({ ...json, keys: [{ ...json.keys[3], kid: undefined }] })],
    ['a token key on P-384', (json) => ({ ...json, keys: [{ ...json.keys[2], use: workloadTokenKeyUse }] })],
    ['a point off the curve', (json) => ({ ...json, keys: [{ ...json.keys[3], x: 'AAAA' }] })],
    ['two keys of one kid', (json) => ({ ...json, keys: [json.keys[3], json.keys[3]] })],
  ])('%s is refused', (_what, change) => {
    expect(parseCode(change(document()))).toBe('SPIFFE_BUNDLE_MALFORMED');
  });

  test('a leaf is no authority', () => {
    const leaf = TestCa.create().svid('spiffe://cluster.local/a').certificatePem;
    expect(codeOf(() => TrustBundle.create({ trustDomain: td, x509Authorities: [leaf] }))).toBe(
      'SPIFFE_BUNDLE_MALFORMED',
    );
  });

  test('a private key is refused, and not quoted', () => {
    const secret = testPrivateKey().export({ format: 'jwk' });
    const json = { keys: [{ ...secret, kid: 'a', use: workloadTokenKeyUse }] };
    expect(parseCode(json)).toBe('SPIFFE_BUNDLE_MALFORMED');
    try {
      TrustBundle.parse(json, td);
    } catch (error) {
      expect(JSON.stringify([String(error), error])).not.toContain(secret.d);
    }
  });

  test('a trust domain must be one', () => {
    expect(codeOf(() => TrustBundle.create({ trustDomain: 'Bad Name', x509Authorities: [] }))).toBe(
      'SPIFFE_TRUST_DOMAIN_MALFORMED',
    );
    for (const sequence of [-1, 0.5, Number.NaN, 2 ** 60]) {
      expect(codeOf(() => TrustBundle.create({ trustDomain: td, x509Authorities: [], sequence }))).toBe(
        'SPIFFE_BUNDLE_MALFORMED',
      );
    }
  });

  test('property: no JSON makes it throw anything but its code', () => {
    const key = fc.record(
      {
        kty: fc.oneof(fc.constantFrom('EC', 'RSA', 'OKP'), fc.string()),
        use: fc.oneof(fc.constantFrom('x509-svid', 'jwt-svid', workloadTokenKeyUse), fc.string()),
        kid: fc.oneof(fc.string(), fc.jsonValue()),
        crv: fc.oneof(fc.constantFrom('P-256', 'Ed25519'), fc.string()),
        x: fc.oneof(fc.base64String(), fc.jsonValue()),
        y: fc.base64String(),
        x5c: fc.oneof(fc.array(fc.base64String()), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const any = fc.oneof(
      fc.jsonValue(),
      fc.string(),
      fc.record(
        { keys: fc.array(fc.oneof(key, fc.jsonValue())), spiffe_sequence: fc.jsonValue() },
        { requiredKeys: ['keys'] },
      ),
    );
    fc.assert(
      fc.property(any, (json) => {
        expect([undefined, 'SPIFFE_BUNDLE_MALFORMED']).toContain(parseCode(json));
      }),
      { numRuns: 1000 },
    );
  });

  test('property: a document with one changed character is read whole or refused whole', () => {
    const text = JSON.stringify(document());
    const edit = fc.tuple(fc.nat(text.length - 1), fc.constantFrom(...'AaZz09+/="{}[],: \0'));
    fc.assert(
      fc.property(edit, ([at, character]) => {
        const changed = `${text.slice(0, at)}${character}${text.slice(at + 1)}`;
        expect([undefined, 'SPIFFE_BUNDLE_MALFORMED']).toContain(parseCode(changed));
      }),
      { numRuns: 500 },
    );
  });
});
