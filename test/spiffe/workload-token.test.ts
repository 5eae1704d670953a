import { createPublicKey, createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import { SignJWT, calculateJwkThumbprint } from 'jose';
import { describe, expect, test } from 'vitest';
import { TrustBundle, keyThumbprint, verifyWorkloadToken } from '../../src/spiffe/index.js';
import type { VerifyWorkloadTokenOptions } from '../../src/spiffe/index.js';
import { FakeClock, TestCa, testPrivateKey } from './fakes.js';
import type { TestKeyType, TestTokenOptions } from './fakes.js';
import { codeOf, codeOfAsync } from './code-of.js';

const hourMs = 3_600_000;
const clock = new FakeClock();
const ca = TestCa.create({ clock });
const svid = ca.svid('spiffe://cluster.local/agent/node-a');
const workload = 'spiffe://cluster.local/ns/shop/sa/web';
const good = { workload, node: 'node-a', keyThumbprint: svid.keyThumbprint };
const expected: VerifyWorkloadTokenOptions = {
  bundle: ca.bundle,
  audience: 'meshwright-tunnel',
  now: clock.now(),
  node: 'node-a',
  keyThumbprint: svid.keyThumbprint,
};

const verify = (token: string, changes: Partial<VerifyWorkloadTokenOptions> = {}) =>
  verifyWorkloadToken(token, { ...expected, ...changes });
const codeFor = (token: Partial<TestTokenOptions>, changes: Partial<VerifyWorkloadTokenOptions> = {}) =>
  codeOfAsync(() => verify(ca.token({ ...good, ...token }), changes));

describe('keyThumbprint', () => {
  test.each<TestKeyType>(['P-256', 'P-384', 'Ed25519', 'RSA-2048'])('of %s is what jose computes', async (type) => {
    const privateKey = testPrivateKey(type);
    const publicKey = createPublicKey(privateKey);
    expect(keyThumbprint(publicKey)).toBe(await calculateJwkThumbprint(publicKey.export({ format: 'jwk' })));
    expect(keyThumbprint(privateKey)).toBe(keyThumbprint(publicKey));
  });

  test('refuses other kinds of keys', () => {
    expect(codeOf(() => keyThumbprint(createSecretKey(Buffer.from('secret'))))).toBe('SPIFFE_X509_ALGORITHM');
  });
});

describe('a good workload token', () => {
  test('is verified', async () => {
    const verified = await verify(ca.token(good));
    expect(verified.workload.toString()).toBe(workload);
    expect(verified.node).toBe('node-a');
    expect(verified.keyThumbprint).toBe(svid.keyThumbprint);
    expect(verified.expiresAt.getTime()).toBe(clock.now() + hourMs);
    expect(verified.jti).toMatch(/^[\w-]{22}$/);
    expect(Object.isFrozen(verified)).toBe(true);
  });

  test('may name several audiences, this one among them', async () => {
    expect(await codeFor({ claims: { aud: ['a', 'meshwright-tunnel'] } })).toBeUndefined();
    expect(await codeFor({ claims: { aud: ['a', 'b'] } })).toBe('SPIFFE_TOKEN_AUDIENCE');
  });

  test('as jose makes it', async () => {
    const now = Math.floor(clock.now() / 1000);
    const token = await new SignJWT({ node: 'node-a', cnf: { jkt: svid.keyThumbprint } })
      .setProtectedHeader({ typ: 'meshwright-workload+jwt', alg: 'ES256', kid: ca.tokenKeyId })
      .setIssuer('spiffe://cluster.local')
      .setSubject(workload)
      .setAudience('meshwright-tunnel')
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + 60)
      .setJti('1')
      .sign(ca.tokenKey);
    expect((await verify(token)).workload.toString()).toBe(workload);
  });
});

describe('a bad workload token is refused with its own code', () => {
  const other = TestCa.create({ clock });

  test.each<[string, Partial<TestTokenOptions>, string]>([
    ['a JWT-SVID', { header: { typ: 'JWT' } }, 'SPIFFE_TOKEN_TYPE'],
    ['no type', { header: { typ: undefined } }, 'SPIFFE_TOKEN_TYPE'],
    ['a type that begins alike', { header: { typ: 'meshwright-workload+jwt2' } }, 'SPIFFE_TOKEN_TYPE'],
    ['a type in upper case', { header: { typ: 'MESHWRIGHT-WORKLOAD+JWT' } }, 'SPIFFE_TOKEN_TYPE'],
    ['alg none', { header: { alg: 'none' } }, 'SPIFFE_TOKEN_TYPE'],
    ['alg HS256', { header: { alg: 'HS256' } }, 'SPIFFE_TOKEN_TYPE'],
    ['alg ES384', { header: { alg: 'ES384' } }, 'SPIFFE_TOKEN_TYPE'],
    ['no key ID', { header: { kid: undefined } }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['an unknown key ID', { header: { kid: 'x' } }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['a key ID that is no text', { header: { kid: 1 } }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['a key ID of every object', { header: { kid: '__proto__' } }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['a forged signature', { signingKey: testPrivateKey() }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['an unknown critical header', { header: { crit: ['x'], x: 1 } }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['a key of its own in the header', { header: { kid: 'x', jwk: { kty: 'EC' } } }, 'SPIFFE_TOKEN_SIGNATURE'],
    ['another issuer', { claims: { iss: 'spiffe://other.local' } }, 'SPIFFE_TOKEN_ISSUER'],
    ['a bare issuer', { claims: { iss: 'cluster.local' } }, 'SPIFFE_TOKEN_ISSUER'],
    ['another audience', { audience: 'other' }, 'SPIFFE_TOKEN_AUDIENCE'],
    ['an expired one', { ttlMs: -1000 }, 'SPIFFE_TOKEN_EXPIRED'],
    ['one that ends now', { ttlMs: 0 }, 'SPIFFE_TOKEN_EXPIRED'],
    ['one for 25 hours', { ttlMs: 25 * hourMs }, 'SPIFFE_TOKEN_LIFETIME'],
    ['one that ends before it begins', { claims: { nbf: clock.now() / 1000 + 2 * 3600 } }, 'SPIFFE_TOKEN_LIFETIME'],
    ['one issued in the future', { claims: { iat: clock.now() / 1000 + 120 } }, 'SPIFFE_TOKEN_NOT_YET_VALID'],
    ['one valid in the future', { claims: { nbf: clock.now() / 1000 + 120 } }, 'SPIFFE_TOKEN_NOT_YET_VALID'],
    ['another trust domain', { workload: 'spiffe://other.local/ns/shop/sa/web' }, 'SPIFFE_TOKEN_SUBJECT'],
    ['an agent', { workload: 'spiffe://cluster.local/agent/node-a' }, 'SPIFFE_TOKEN_SUBJECT'],
    ['the controller', { workload: 'spiffe://cluster.local/controller' }, 'SPIFFE_TOKEN_SUBJECT'],
    ['a longer path', { workload: 'spiffe://cluster.local/ns/shop/sa/web/x' }, 'SPIFFE_TOKEN_SUBJECT'],
    ['no SPIFFE ID', { workload: 'shop/web' }, 'SPIFFE_TOKEN_SUBJECT'],
    ['another node', { node: 'node-b' }, 'SPIFFE_TOKEN_NODE_MISMATCH'],
    ['a node that begins alike', { node: 'node-a2' }, 'SPIFFE_TOKEN_NODE_MISMATCH'],
    ['another key', { keyThumbprint: keyThumbprint(testPrivateKey()) }, 'SPIFFE_TOKEN_KEY_MISMATCH'],
    ...['iss', 'sub', 'aud', 'node', 'cnf', 'iat', 'nbf', 'exp', 'jti'].map(
      (claim): [string, Partial<TestTokenOptions>, string] => [
        `no ${claim}`,
        { claims: { [claim]: undefined } },
        'SPIFFE_TOKEN_MALFORMED',
      ],
    ),
    ['a short jkt', { claims: { cnf: { jkt: 'a' } } }, 'SPIFFE_TOKEN_MALFORMED'],
    ['exp as text', { claims: { exp: '9999999999' } }, 'SPIFFE_TOKEN_MALFORMED'],
    ['an endless exp', { claims: { exp: 1e300 } }, 'SPIFFE_TOKEN_MALFORMED'],
    ['an empty jti', { claims: { jti: '' } }, 'SPIFFE_TOKEN_MALFORMED'],
    ['an empty audience list', { claims: { aud: [] } }, 'SPIFFE_TOKEN_MALFORMED'],
  ])('%s', async (_what, token, code) => {
    expect(await codeFor(token)).toBe(code);
  });

  test('of another CA, whose keys are not in the bundle', async () => {
    expect(await codeOfAsync(() => verify(other.token(good)))).toBe('SPIFFE_TOKEN_SIGNATURE');
  });

  test('signed by a JWT-SVID key of the same bundle', async () => {
    const bundle = TrustBundle.create({
      trustDomain: 'cluster.local',
      x509Authorities: [],
      jwtAuthorities: ca.bundle.workloadTokenKeys,
    });
    expect(await codeFor({}, { bundle })).toBe('SPIFFE_TOKEN_SIGNATURE');
  });

  test('presented by another node, or over another key', async () => {
    expect(await codeFor({}, { node: 'node-b' })).toBe('SPIFFE_TOKEN_NODE_MISMATCH');
    expect(await codeFor({}, { keyThumbprint: keyThumbprint(testPrivateKey()) })).toBe('SPIFFE_TOKEN_KEY_MISMATCH');
    expect(await codeFor({}, { keyThumbprint: '' })).toBe('SPIFFE_TOKEN_KEY_MISMATCH');
  });

  test.each(['', '.', '..', 'a.b', 'a.b.c', 'a.b.c.d', 'a.b.c.d.e', 'é.é.é', `${'a'.repeat(9000)}.a.a`, 'a.b.c\n'])(
    'text such as %j',
    async (text) => {
      expect(await codeOfAsync(() => verify(text))).toBe('SPIFFE_TOKEN_MALFORMED');
    },
  );

  test('the same signature in another text: the unused bits of its last character set', async () => {
    const token = ca.token(good);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const other = `${token.slice(0, -1)}${alphabet[alphabet.indexOf(token.slice(-1)) + 1] ?? ''}`;
    const bytesOf = (text: string) => Buffer.from(text.split('.')[2] ?? '', 'base64url');
    expect(bytesOf(other)).toEqual(bytesOf(token));
    expect(await codeOfAsync(() => verify(other))).toBe('SPIFFE_TOKEN_MALFORMED');
  });

  test('what is no text', async () => {
    for (const value of [undefined, null, 1, {}, ['a.b.c']]) {
      expect(await codeOfAsync(() => verify(value as never))).toBe('SPIFFE_TOKEN_MALFORMED');
    }
  });

  test('the end is exact, the beginning allows the skew', async () => {
    const token = ca.token({ ...good, ttlMs: 10_000 });
    const at = (now: number, clockSkewMs?: number) => codeOfAsync(() => verify(token, { now, clockSkewMs }));
    expect(await at(clock.now() + 9_999)).toBeUndefined();
    expect(await at(clock.now() + 10_000, hourMs)).toBe('SPIFFE_TOKEN_EXPIRED');
    const begins = clock.now() - 50_000;
    expect(await at(begins - 60_000)).toBeUndefined();
    expect(await at(begins - 60_001)).toBe('SPIFFE_TOKEN_NOT_YET_VALID');
    expect(await at(begins - 1, 0)).toBe('SPIFFE_TOKEN_NOT_YET_VALID');
    await expect(at(Number.NaN)).rejects.toThrow(RangeError);
  });

  test('property: no changed token is accepted, and none is quoted', async () => {
    const token = ca.token(good);
    const alphabet = fc.constantFrom(...'ABCXYZabcxyz0189-_.=');
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), alphabet, async (at, character) => {
        fc.pre(token[at] !== character);
        const changed = `${token.slice(0, at)}${character}${token.slice(at + 1)}`;
        try {
          await verify(changed);
          expect.unreachable();
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^SPIFFE_TOKEN_/);
          const [, payload = '', signature = ''] = token.split('.');
          const said = `${(error as Error).message} ${JSON.stringify(error)}`;
          expect(said).not.toContain(signature.slice(0, 20));
          expect(said).not.toContain(payload.slice(0, 20));
        }
      }),
      { numRuns: 300 },
    );
  });
});
