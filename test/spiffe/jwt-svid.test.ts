import { createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { SignJWT, exportJWK } from 'jose';
import { describe, expect, test } from 'vitest';
import { BundleSet, TrustBundle, verifyJwtSvid, verifyWorkloadToken } from '../../src/spiffe/index.js';
import type { Jwk, VerifyJwtSvidOptions } from '../../src/spiffe/index.js';
import { FakeClock, TestCa, testPrivateKey } from './fakes.js';
import type { TestJwtSvidOptions, TestKeyType } from './fakes.js';
import { codeOfAsync } from './code-of.js';

const clock = new FakeClock();
const ca = TestCa.create({ clock });
const spiffeId = 'spiffe://cluster.local/ns/shop/sa/web';
const good: TestJwtSvidOptions = { spiffeId, audience: 'orders' };
const expected: VerifyJwtSvidOptions = { bundle: ca.bundle, audience: 'orders', now: clock.now() };

const verify = (token: string, changes: Partial<VerifyJwtSvidOptions> = {}) =>
  verifyJwtSvid(token, { ...expected, ...changes });
const codeFor = (token: Partial<TestJwtSvidOptions>, changes: Partial<VerifyJwtSvidOptions> = {}) =>
  codeOfAsync(() => verify(ca.jwtSvid({ ...good, ...token }), changes));

const jwkOf = (key: KeyObject, kid: string): Jwk =>
  ({ ...createPublicKey(key).export({ format: 'jwk' }), kid }) as unknown as Jwk;

describe('a good JWT-SVID', () => {
  test('is verified', async () => {
    const verified = await verify(ca.jwtSvid({ ...good, claims: { extra: 1 } }));
    expect(verified.spiffeId.toString()).toBe(spiffeId);
    expect(verified.audience).toEqual(['orders']);
    expect(verified.expiresAt.getTime()).toBe(clock.now() + 300_000);
    expect(verified.issuedAt).toBeInstanceOf(Date);
    expect(verified.claims['extra']).toBe(1);
    expect(Object.isFrozen(verified)).toBe(true);
  });

  test.each<[string, Partial<TestJwtSvidOptions>]>([
    ['typ JOSE', { header: { typ: 'JOSE' } }],
    ['no typ', { header: { typ: undefined } }],
    ['no kid', { header: { kid: undefined } }],
    ['several audiences', { audience: ['a', 'orders'] }],
    ['no iat', { claims: { iat: undefined } }],
    ['nbf', { claims: { nbf: Math.floor(clock.now() / 1000) } }],
    ['an issuer, which means nothing here', { claims: { iss: 'https://issuer.example' } }],
  ])('may have %s', async (_what, token) => {
    expect(await codeFor(token)).toBeUndefined();
  });

  test.each<[string, TestKeyType]>([
    ['ES256', 'P-256'],
    ['ES384', 'P-384'],
    ['RS256', 'RSA-2048'],
    ['RS384', 'RSA-2048'],
    ['RS512', 'RSA-2048'],
    ['PS256', 'RSA-2048'],
    ['PS384', 'RSA-2048'],
    ['PS512', 'RSA-2048'],
  ])('may be signed as %s by jose, with or without naming its key', async (alg, type) => {
    const key = testPrivateKey(type);
    const bundle = TrustBundle.create({
      trustDomain: 'cluster.local',
      x509Authorities: [],
      jwtAuthorities: [jwkOf(ca.jwtKey, 'other'), jwkOf(key, 'this')],
    });
    for (const header of [{ alg, kid: 'this' }, { alg }]) {
      const token = await new SignJWT({ sub: spiffeId, aud: 'orders', exp: Math.floor(clock.now() / 1000) + 60 })
        .setProtectedHeader(header)
        .sign(key);
      expect((await verify(token, { bundle })).spiffeId.toString()).toBe(spiffeId);
    }
  });
});

describe('a bad JWT-SVID is refused with its own code', () => {
  const seconds = Math.floor(clock.now() / 1000);

  test.each<[string, Partial<TestJwtSvidOptions>, string]>([
    ['a workload token type', { header: { typ: 'meshwright-workload+jwt' } }, 'SPIFFE_JWT_TYPE'],
    ['typ in lower case', { header: { typ: 'jwt' } }, 'SPIFFE_JWT_TYPE'],
    ['typ that is no text', { header: { typ: 1 } }, 'SPIFFE_JWT_TYPE'],
    ['alg none', { header: { alg: 'none' } }, 'SPIFFE_JWT_TYPE'],
    ['alg HS256', { header: { alg: 'HS256' } }, 'SPIFFE_JWT_TYPE'],
    ['alg EdDSA', { header: { alg: 'EdDSA' } }, 'SPIFFE_JWT_TYPE'],
    ['alg of the prototype', { header: { alg: 'toString' } }, 'SPIFFE_JWT_TYPE'],
    ['no alg', { header: { alg: undefined } }, 'SPIFFE_JWT_TYPE'],
    ['an alg that its key cannot make', { header: { alg: 'RS256' } }, 'SPIFFE_JWT_SIGNATURE'],
    ['ES512', { header: { alg: 'ES512' } }, 'SPIFFE_JWT_SIGNATURE'],
    ['an unknown kid', { header: { kid: 'other' } }, 'SPIFFE_JWT_SIGNATURE'],
    ['a kid that is no text', { header: { kid: 1 } }, 'SPIFFE_JWT_SIGNATURE'],
    ['a critical header', { header: { crit: ['x'], x: 1 } }, 'SPIFFE_JWT_SIGNATURE'],
    ['another key', { signingKey: testPrivateKey() }, 'SPIFFE_JWT_SIGNATURE'],
    ['another key, unnamed', { signingKey: testPrivateKey(), header: { kid: undefined } }, 'SPIFFE_JWT_SIGNATURE'],
    ['the workload token key', { signingKey: ca.tokenKey }, 'SPIFFE_JWT_SIGNATURE'],
    [
      'the workload token key under its name',
      { signingKey: ca.tokenKey, header: { kid: ca.tokenKeyId } },
      'SPIFFE_JWT_SIGNATURE',
    ],
    [
      'the workload token key, unnamed',
      { signingKey: ca.tokenKey, header: { kid: undefined } },
      'SPIFFE_JWT_SIGNATURE',
    ],
    ['another trust domain', { spiffeId: 'spiffe://other.local/a' }, 'SPIFFE_JWT_TRUST_DOMAIN'],
    ['a subject without a path', { spiffeId: 'spiffe://cluster.local' }, 'SPIFFE_JWT_SUBJECT'],
    ['a subject that is no SPIFFE ID', { spiffeId: 'web' }, 'SPIFFE_JWT_SUBJECT'],
    ['no subject', { claims: { sub: undefined } }, 'SPIFFE_JWT_MALFORMED'],
    ['another audience', { audience: 'other' }, 'SPIFFE_JWT_AUDIENCE'],
    ['part of the audience', { audience: 'order' }, 'SPIFFE_JWT_AUDIENCE'],
    ['no audience', { claims: { aud: undefined } }, 'SPIFFE_JWT_MALFORMED'],
    ['an empty audience', { claims: { aud: [] } }, 'SPIFFE_JWT_MALFORMED'],
    ['an audience that is no text', { claims: { aud: [1] } }, 'SPIFFE_JWT_MALFORMED'],
    ['no end', { claims: { exp: undefined } }, 'SPIFFE_JWT_MALFORMED'],
    ['an end as text', { claims: { exp: '9999999999' } }, 'SPIFFE_JWT_MALFORMED'],
    ['an endless end', { claims: { exp: 1e300 } }, 'SPIFFE_JWT_MALFORMED'],
    ['an end that has come', { claims: { exp: seconds } }, 'SPIFFE_JWT_EXPIRED'],
    ['a beginning too far ahead', { claims: { nbf: seconds + 61 } }, 'SPIFFE_JWT_NOT_YET_VALID'],
    ['an issue in the future', { claims: { iat: seconds + 61 } }, 'SPIFFE_JWT_NOT_YET_VALID'],
  ])('%s', async (_what, token, code) => {
    expect(await codeFor(token)).toBe(code);
  });

  test.each(['', '.', 'a.b', 'a.b.c', 'a.b.c.d.e', `${'a'.repeat(9000)}.a.a`, 'e30.W10.AA', 'e30.e30.AA'])(
    'text such as %j',
    async (text) => {
      expect(['SPIFFE_JWT_MALFORMED', 'SPIFFE_JWT_TYPE']).toContain(await codeOfAsync(() => verify(text)));
    },
  );

  test('a payload that is no object', async () => {
    const encode = (text: string) => Buffer.from(text).toString('base64url');
    for (const payload of ['[]', 'null', '"a"', '{', '\u00ff']) {
      const input = `${encode('{"alg":"ES256"}')}.${encode(payload)}`;
      const signature = sign('sha256', Buffer.from(input), { key: ca.jwtKey, dsaEncoding: 'ieee-p1363' });
      expect(await codeOfAsync(() => verify(`${input}.${signature.toString('base64url')}`))).toBe(
        'SPIFFE_JWT_MALFORMED',
      );
    }
  });

  test('JSON serialization, and what is no text', async () => {
    const [header, payload, signature] = ca.jwtSvid(good).split('.');
    for (const value of [
      undefined,
      null,
      1,
      {},
      ['a.b.c'],
      JSON.stringify({ protected: header, payload, signature }),
    ]) {
      expect(await codeOfAsync(() => verify(value as never))).toBe('SPIFFE_JWT_MALFORMED');
    }
  });

  test('an empty audience of the receiver, or a time that is none, is a mistake of the caller', async () => {
    const token = ca.jwtSvid(good);
    await expect(verify(token, { audience: '' })).rejects.toThrow(RangeError);
    await expect(verify(token, { now: Number.NaN })).rejects.toThrow(RangeError);
    await expect(verify(token, { clockSkewMs: -1 })).rejects.toThrow(RangeError);
  });

  test('the end is exact, the beginning allows the skew', async () => {
    const token = ca.jwtSvid({ ...good, ttlMs: 10_000, claims: { iat: seconds } });
    const at = (now: number, clockSkewMs?: number) => codeOfAsync(() => verify(token, { now, clockSkewMs }));
    const start = seconds * 1000;
    expect(await at(clock.now() + 9_999)).toBeUndefined();
    expect(await at(clock.now() + 10_000, 3_600_000)).toBe('SPIFFE_JWT_EXPIRED');
    expect(await at(start - 60_000)).toBeUndefined();
    expect(await at(start - 60_001)).toBe('SPIFFE_JWT_NOT_YET_VALID');
    expect(await at(start - 1, 0)).toBe('SPIFFE_JWT_NOT_YET_VALID');
  });

  test('property: no changed token is accepted, and none is quoted', async () => {
    const token = ca.jwtSvid(good);
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.constantFrom(...'ABCXYZabcxyz0189-_.='), async (at, character) => {
        fc.pre(token[at] !== character);
        const changed = `${token.slice(0, at)}${character}${token.slice(at + 1)}`;
        try {
          await verify(changed);
          expect.unreachable();
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^SPIFFE_JWT_/);
          const [, payload = '', signature = ''] = token.split('.');
          const said = `${(error as Error).message} ${JSON.stringify(error)}`;
          expect(said).not.toContain(signature.slice(0, 20));
          expect(said).not.toContain(payload.slice(0, 20));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('property: any header and claims under a good signature are accepted or refused with a code', async () => {
    const member = fc.oneof(fc.jsonValue(), fc.constantFrom('JWT', 'ES256', spiffeId, 'orders', seconds + 60));
    const header = fc.record({ typ: member, alg: member, kid: member }, { requiredKeys: [] });
    const claims = fc.record({ sub: member, aud: member, exp: member, iat: member, nbf: member }, { requiredKeys: [] });
    await fc.assert(
      fc.asyncProperty(header, claims, async (changedHeader, changedClaims) => {
        const code = await codeFor({ header: changedHeader, claims: changedClaims });
        expect(code ?? 'SPIFFE_JWT_').toMatch(/^SPIFFE_JWT_/);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the two kinds of tokens', () => {
  const agent = ca.svid('spiffe://cluster.local/agent/node-a');
  const workloadToken = ca.token({ workload: spiffeId, node: 'node-a', keyThumbprint: agent.keyThumbprint });
  const binding = { node: 'node-a', keyThumbprint: agent.keyThumbprint, now: clock.now() };
  // Even where one key were published for both uses, by mistake.
  const [tokenJwk, jwtJwk] = [jwkOf(ca.tokenKey, ca.tokenKeyId), jwkOf(ca.jwtKey, ca.jwtKeyId)];
  const sharedKeys = TrustBundle.create({
    trustDomain: 'cluster.local',
    x509Authorities: [],
    workloadTokenKeys: [tokenJwk, jwtJwk],
    jwtAuthorities: [tokenJwk, jwtJwk],
  });

  test.each([
    ['with keys of their own', ca.bundle],
    ['with keys shared', sharedKeys],
  ])('are not taken for each other, %s', async (_what, bundle) => {
    expect(
      await codeOfAsync(() =>
        verifyWorkloadToken(workloadToken, { ...binding, bundle, audience: 'meshwright-tunnel' }),
      ),
    ).toBeUndefined();
    expect(await codeOfAsync(() => verify(workloadToken, { bundle, audience: 'meshwright-tunnel' }))).toBe(
      'SPIFFE_JWT_TYPE',
    );
    const jwtSvid = ca.jwtSvid(good);
    expect(await codeOfAsync(() => verify(jwtSvid, { bundle }))).toBeUndefined();
    expect(await codeOfAsync(() => verifyWorkloadToken(jwtSvid, { ...binding, bundle, audience: 'orders' }))).toBe(
      'SPIFFE_TOKEN_TYPE',
    );
  });
});

describe('with a bundle set', () => {
  const other = TestCa.create({ clock, trustDomain: 'other.local' });
  const bundle = BundleSet.of(ca.bundle, other.bundle);

  test('the keys of the subject’s own trust domain count, and no others', async () => {
    const otherId = 'spiffe://other.local/ns/shop/sa/web';
    expect(await codeFor({}, { bundle })).toBeUndefined();
    expect(
      await codeOfAsync(() => verify(other.jwtSvid({ spiffeId: otherId, audience: 'orders' }), { bundle })),
    ).toBeUndefined();
    // One domain's CA speaks for the other's workload.
    expect(await codeFor({ spiffeId: otherId }, { bundle })).toBe('SPIFFE_JWT_SIGNATURE');
    expect(await codeFor({ spiffeId: otherId, header: { kid: undefined } }, { bundle })).toBe('SPIFFE_JWT_SIGNATURE');
    expect(await codeFor({ spiffeId: 'spiffe://third.local/a' }, { bundle })).toBe('SPIFFE_JWT_TRUST_DOMAIN');
    expect(await codeFor({}, { bundle: BundleSet.of() })).toBe('SPIFFE_JWT_TRUST_DOMAIN');
  });

  test('keys come through the bundle document', async () => {
    const parsed = TrustBundle.parse(JSON.stringify(ca.bundle), 'cluster.local');
    expect(await codeFor({}, { bundle: parsed })).toBeUndefined();
    expect(parsed.jwtAuthorities).toEqual([{ ...(await exportJWK(createPublicKey(ca.jwtKey))), kid: ca.jwtKeyId }]);
  });
});
