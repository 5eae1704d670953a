import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { AuthzCompileError, AuthzEngine, JwtAuthenticator } from '../../src/authz/index.js';
import type { JwtRule } from '../../src/authz/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';

type Keys = Awaited<ReturnType<typeof generateKeyPair>>;
let keys: Keys;
let other: Keys;
let jwks: string;

beforeAll(async () => {
  keys = await generateKeyPair('ES256', { extractable: true });
  other = await generateKeyPair('ES256', { extractable: true });
  jwks = JSON.stringify({ keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'one' }] });
});

const nowMs = Date.UTC(2030, 0, 1);
const issuer = 'https://issuer.example';

function manifest(jwtRules: readonly object[], more: object = {}): unknown {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'jwt', namespace: 'shop' },
    spec: { jwtRules, ...more },
  };
}
const destination = { namespace: 'shop', services: ['shop/api'], labels: { app: 'api' } };
const rulesOf = (...jwtRules: object[]): readonly JwtRule[] =>
  AuthzEngine.compile([manifest(jwtRules)]).jwtRules(destination);

interface Claims {
  readonly iss?: string;
  readonly aud?: string;
  readonly expiresInS?: number;
  readonly key?: Keys['privateKey'];
  readonly kid?: string;
}
function token({
  iss = issuer,
  aud = 'shop',
  expiresInS = 60,
  key = keys.privateKey,
  kid = 'one',
}: Claims = {}): Promise<string> {
  const nowS = nowMs / 1000;
  return new SignJWT({ scope: 'read write' })
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuer(iss)
    .setSubject('alice')
    .setAudience(aud)
    .setIssuedAt(nowS - 3600)
    .setExpirationTime(nowS + expiresInS)
    .sign(key);
}
const authenticator = (options: ConstructorParameters<typeof JwtAuthenticator>[0] = {}): JwtAuthenticator =>
  new JwtAuthenticator({ clock: new FakeClock({ start: nowMs }), ...options });
const bearer = (text: string): { method: string; path: string; headers: Record<string, string> } => ({
  method: 'GET',
  path: '/',
  headers: { Authorization: `Bearer ${text}` },
});

describe('RequestAuthentication', () => {
  it('applies by namespace, labels and target', () => {
    const rule = { issuer, jwksUri: 'https://issuer.example/keys' };
    const count = (more: object): number => AuthzEngine.compile([manifest([rule], more)]).jwtRules(destination).length;
    expect(count({})).toBe(1);
    expect(count({ selector: { matchLabels: { app: 'api' } } })).toBe(1);
    expect(count({ selector: { matchLabels: { app: 'web' } } })).toBe(0);
    expect(count({ targetRefs: [{ kind: 'Service', name: 'api' }] })).toBe(1);
    expect(count({ targetRefs: [{ kind: 'Service', name: 'web' }] })).toBe(0);
  });

  it.each([
    [{ issuer }, 'spec.jwtRules[0]'],
    [{ jwksUri: 'https://x/y' }, 'spec.jwtRules[0].issuer'],
    [{ issuer, jwks: 'x' }, 'spec.jwtRules[0].jwks'],
    [{ issuer, jwks: '{"keys":[]}', jwksUri: 'https://x/y' }, 'spec.jwtRules[0].jwks'],
    [{ issuer, jwksUri: 'file:///etc/keys' }, 'spec.jwtRules[0].jwksUri'],
    [{ issuer, jwksUri: 'https://x/y', audience: 'a' }, 'spec.jwtRules[0].audience'],
  ])('%j is refused', (rule, path) => {
    const compile = (): unknown => AuthzEngine.compile([manifest([rule])]);
    expect(compile).toThrow(AuthzCompileError);
    expect(compile).toThrow(expect.objectContaining({ problems: [expect.objectContaining({ path })] }));
  });
});

describe('JwtAuthenticator', () => {
  it('a valid token gives its claims, no token is no error', async () => {
    const rules = rulesOf({ issuer, jwks, audiences: ['shop'] });
    expect(await authenticator().authenticate(bearer(await token()), rules)).toMatchObject({
      kind: 'valid',
      jwt: { claims: { iss: issuer, sub: 'alice' } },
    });
    expect(await authenticator().authenticate({ method: 'GET', path: '/' }, rules)).toEqual({ kind: 'none' });
    expect(await authenticator().authenticate(bearer(await token()), [])).toEqual({ kind: 'none' });
  });

  it('what it gives satisfies rules about the token', async () => {
    const policy = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'a', namespace: 'shop' },
      spec: {
        rules: [
          {
            from: [{ source: { requestPrincipals: [`${issuer}/alice`] } }],
            when: [{ key: 'request.auth.claims[scope]', values: ['write'] }],
          },
        ],
      },
    };
    const engine = AuthzEngine.compile([manifest([{ issuer, jwks }]), policy]);
    const outcome = await authenticator().authenticate(bearer(await token()), engine.jwtRules(destination));
    expect(outcome.kind).toBe('valid');
    const jwt = outcome.kind === 'valid' ? outcome.jwt : undefined;
    expect(engine.authorize({ source: {}, destination, http: { method: 'GET', path: '/' }, jwt }).allowed).toBe(true);
    expect(engine.authorize({ source: {}, destination, http: { method: 'GET', path: '/' } }).allowed).toBe(false);
  });

  it('every invalid token is a 401 with its reason', async () => {
    const rules = rulesOf({ issuer, jwks, audiences: ['shop'] });
    const cases = [
      await token({ iss: 'https://other.example' }),
      await token({ aud: 'other' }),
      await token({ expiresInS: -61 }),
      await token({ key: other.privateKey }),
      await token({ kid: 'two' }),
      'garbage',
      '',
      `${(await token()).split('.').slice(0, 2).join('.')}.`,
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(`{"iss":"${issuer}"}`).toString('base64url')}.`,
    ];
    for (const text of cases) {
      const outcome = await authenticator().authenticate(bearer(text), rules);
      expect(outcome).toMatchObject({ kind: 'invalid', status: 401 });
      if (text !== '' && outcome.kind === 'invalid') expect(outcome.reason).not.toContain(text);
    }
  });

  it('allows for clocks that differ, as configured', async () => {
    const rules = rulesOf({ issuer, jwks });
    expect((await authenticator().authenticate(bearer(await token({ expiresInS: -59 })), rules)).kind).toBe('valid');
    expect(
      (await authenticator({ clockSkewMs: 0 }).authenticate(bearer(await token({ expiresInS: -1 })), rules)).kind,
    ).toBe('invalid');
  });

  it('finds the token in headers, parameters and cookies; two different tokens are refused', async () => {
    const text = await token();
    const places = rulesOf({
      issuer,
      jwks,
      fromHeaders: [{ name: 'X-Token', prefix: 'jwt ' }],
      fromParams: ['t'],
      fromCookies: ['session'],
    });
    const at = async (path: string, headers: Record<string, string>): Promise<string> =>
      (await authenticator().authenticate({ method: 'GET', path, headers }, places)).kind;
    expect(await at('/', { 'x-token': `jwt ${text}` })).toBe('valid');
    expect(await at(`/?t=${text}`, {})).toBe('valid');
    expect(await at('/', { cookie: `a=b; session=${text}` })).toBe('valid');
    expect(await at('/', { authorization: `Bearer ${text}` })).toBe('none');
    expect(await at(`/?t=${text}`, { 'x-token': `jwt ${text}` })).toBe('valid');
    expect(await at(`/?t=${await token({ expiresInS: 50 })}`, { 'x-token': `jwt ${text}` })).toBe('invalid');
    expect(
      (await authenticator().authenticate({ method: 'GET', path: `/?access_token=${text}` }, rulesOf({ issuer, jwks })))
        .kind,
    ).toBe('valid');
  });

  it('several issuers, each with its own keys', async () => {
    const otherJwks = JSON.stringify({ keys: [{ ...(await exportJWK(other.publicKey)), kid: 'one' }] });
    const rules = rulesOf({ issuer, jwks }, { issuer: 'https://two.example', jwks: otherJwks });
    expect(
      (
        await authenticator().authenticate(
          bearer(await token({ iss: 'https://two.example', key: other.privateKey })),
          rules,
        )
      ).kind,
    ).toBe('valid');
    expect((await authenticator().authenticate(bearer(await token({ iss: 'https://two.example' })), rules)).kind).toBe(
      'invalid',
    );
  });

  it('fetches remote keys once, again when a key is unknown, and serves old ones while the issuer is away', async () => {
    const clock = new FakeClock({ start: nowMs });
    const rotated = JSON.stringify({ keys: [{ ...(await exportJWK(other.publicKey)), kid: 'two' }] });
    let answer: () => unknown = () => JSON.parse(jwks);
    let fetches = 0;
    const remote = authenticator({
      clock,
      cacheMs: 100_000,
      fetchJwks: () => {
        fetches += 1;
        return Promise.resolve().then(answer);
      },
    });
    const rules = rulesOf({ issuer, jwksUri: 'https://issuer.example/keys' });
    const kinds = await Promise.all(
      [1, 2, 3].map(async () => (await remote.authenticate(bearer(await token()), rules)).kind),
    );
    expect([kinds, fetches]).toEqual([['valid', 'valid', 'valid'], 1]);
    answer = () => JSON.parse(rotated);
    const fresh = bearer(await token({ key: other.privateKey, kid: 'two', expiresInS: 1000 }));
    expect([(await remote.authenticate(fresh, rules)).kind, fetches]).toEqual(['invalid', 1]);
    clock.advance(31_000);
    expect([(await remote.authenticate(fresh, rules)).kind, fetches]).toEqual(['valid', 2]);
    answer = () => {
      throw new Error('away');
    };
    clock.advance(101_000);
    expect([(await remote.authenticate(fresh, rules)).kind, fetches]).toEqual(['valid', 3]);
    clock.advance(101_000);
    expect([(await remote.authenticate(fresh, rules)).kind, fetches]).toEqual(['invalid', 4]);
  });
});
