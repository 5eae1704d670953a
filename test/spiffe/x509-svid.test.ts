import { createPublicKey } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { constantValue } from '../../src/core/index.js';
import {
  SpiffeId,
  X509Svid,
  authorizeAgent,
  authorizeController,
  authorizeGlob,
  authorizeId,
  authorizeMemberOf,
  authorizeOneOf,
  keyThumbprint,
  refusalOf,
  toBundleSource,
  toSvidSource,
} from '../../src/spiffe/index.js';
import { TestCa, testPrivateKey } from './fakes.js';
import { codeOf } from './code-of.js';

const id = 'spiffe://cluster.local/agent/node-a';
const ca = TestCa.create({ intermediate: true });

describe('X509Svid', () => {
  test('is loaded from PEM and gives back what it was made of', () => {
    const { chainPem, privateKeyPem, privateKey, certificates } = ca.identity(id);
    for (const key of [{ privateKeyPem }, { privateKey }]) {
      const svid = X509Svid.fromPem({ chainPem, ...key });
      expect(svid.spiffeId.toString()).toBe(id);
      expect(svid.chainPem).toBe(chainPem);
      expect(chainPem.startsWith(svid.certificatePem)).toBe(true);
      expect(svid.certificates).toEqual(certificates);
      expect(svid.privateKeyPem).toBe(privateKeyPem);
      expect(svid.keyThumbprint).toBe(keyThumbprint(createPublicKey(privateKey)));
      expect(svid.serialNumber).toMatch(/^[0-9a-f]{30,32}$/);
      expect(Object.isFrozen(svid)).toBe(true);
    }
  });

  test('says nothing of its key in logs', () => {
    const svid = ca.svid(id);
    const secret = svid.privateKey.export({ format: 'jwk' }).d ?? '';
    const lines = svid.privateKeyPem.split('\n');
    for (const said of [JSON.stringify(svid), inspect(svid, { depth: 9, showHidden: true }), String(svid)]) {
      expect(said).not.toContain(secret);
      for (const line of lines.slice(1, 3)) expect(said).not.toContain(line);
    }
    expect(JSON.parse(JSON.stringify(svid))).toMatchObject({ spiffeId: id });
  });

  test.each<[string, (good: { chainPem: string; privateKeyPem: string }) => object, string]>([
    ['another key', () => ({ privateKeyPem: ca.svid(id).privateKeyPem }), 'SPIFFE_SVID_KEY_MISMATCH'],
    ['no key', () => ({ privateKeyPem: undefined }), 'SPIFFE_SVID_MALFORMED'],
    ['two keys', () => ({ privateKey: testPrivateKey() }), 'SPIFFE_SVID_MALFORMED'],
    [
      'a broken key',
      () => ({ privateKeyPem: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n' }),
      'SPIFFE_SVID_MALFORMED',
    ],
    [
      'a public key',
      () => ({ privateKeyPem: undefined, privateKey: createPublicKey(testPrivateKey()) }),
      'SPIFFE_SVID_MALFORMED',
    ],
    ['no certificate', () => ({ chainPem: '' }), 'SPIFFE_SVID_MALFORMED'],
    ['text around the certificates', (good) => ({ chainPem: `hello\n${good.chainPem}` }), 'SPIFFE_SVID_MALFORMED'],
    ['text between them', (good) => ({ chainPem: `${good.chainPem}x\n${good.chainPem}` }), 'SPIFFE_SVID_MALFORMED'],
    ['a key in the chain', (good) => ({ chainPem: good.chainPem + good.privateKeyPem }), 'SPIFFE_SVID_MALFORMED'],
    [
      'a certificate that is none',
      () => ({ chainPem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }),
      'SPIFFE_X509_MALFORMED',
    ],
    ['two URI names', () => ca.identity(id, { uriNames: [id, `${id}2`] }), 'SPIFFE_X509_URI_SAN'],
    ['a CA certificate', () => ca.identity(id, { ca: { isCa: true } }), 'SPIFFE_X509_CA'],
  ])('%s is refused', (_what, change, code) => {
    const { chainPem, privateKeyPem } = ca.identity(id);
    const changed = { chainPem, privateKeyPem, ...change({ chainPem, privateKeyPem }) };
    // An identity of the test CA has its key twice.
    const input =
      'certificates' in changed ? { chainPem: changed.chainPem, privateKeyPem: changed.privateKeyPem } : changed;
    expect(codeOf(() => X509Svid.fromPem(input))).toBe(code);
  });
});

describe('sources', () => {
  test('static values and live sources alike', () => {
    const svid = ca.svid(id);
    expect(toSvidSource(svid).current).toBe(svid);
    expect(toBundleSource(ca.bundle).current).toBe(ca.bundle);
    const [live, liveBundle] = [constantValue(svid), constantValue(ca.bundle)];
    expect(toSvidSource(live)).toBe(live);
    expect(toBundleSource(liveBundle)).toBe(liveBundle);
  });
});

describe('authorizers', () => {
  const agent = SpiffeId.parse(id);
  const web = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');
  const controller = SpiffeId.parse('spiffe://cluster.local/controller');
  const foreign = SpiffeId.parse('spiffe://other.local/agent/node-a');
  const accepted = (authorize: ReturnType<typeof authorizeAgent>) =>
    [agent, web, controller, foreign].map((each) => refusalOf(authorize, each) === undefined);

  test('accept what they name and give a reason for the rest', () => {
    expect(accepted(authorizeId(id))).toEqual([true, false, false, false]);
    expect(accepted(authorizeId(agent))).toEqual([true, false, false, false]);
    expect(accepted(authorizeOneOf([id, web]))).toEqual([true, true, false, false]);
    expect(accepted(authorizeOneOf([]))).toEqual([false, false, false, false]);
    expect(accepted(authorizeMemberOf('cluster.local'))).toEqual([true, true, true, false]);
    expect(accepted(authorizeGlob('spiffe://*/agent/*'))).toEqual([true, false, false, true]);
    expect(accepted(authorizeAgent())).toEqual([true, false, false, true]);
    expect(accepted(authorizeController())).toEqual([false, false, true, false]);
    expect(refusalOf(authorizeId(id), web)).toBe(`expected ${id}, got ${web.toString()}`);
  });

  test('only exactly true accepts', () => {
    for (const verdict of [false, '', 'no', 'true', undefined, null, 1, {}, Promise.resolve(true)]) {
      expect(refusalOf(() => verdict as never, agent)).toBeTypeOf('string');
    }
    expect(refusalOf(() => true, agent)).toBeUndefined();
  });

  test('a malformed expectation is an error and not a match with nobody', () => {
    expect(codeOf(() => authorizeId('cluster.local/x'))).toBe('SPIFFE_ID_MALFORMED');
    expect(codeOf(() => authorizeOneOf(['x']))).toBe('SPIFFE_ID_MALFORMED');
    expect(codeOf(() => authorizeMemberOf('X'))).toBe('SPIFFE_TRUST_DOMAIN_MALFORMED');
    expect(codeOf(() => authorizeGlob('spiffe://td/{a,b}'))).toBe('SPIFFE_GLOB_MALFORMED');
  });
});
