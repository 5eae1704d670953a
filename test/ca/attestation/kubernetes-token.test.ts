import { createHmac, createPublicKey } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CaError, kubernetesTokenAttestor } from 'meshwright/ca';
import type { Attestation, KubernetesTokenAttestorOptions } from 'meshwright/ca';
import { FakeClock } from 'meshwright/testing';
import '../../support/property-seed.js';
import { codeOf } from '../support.js';
import { atMs, audience, claimsOf, issuer, jwkOf, mint, policy, signingKey, username } from './fake-cluster.js';
import type { SigningKey } from './fake-cluster.js';

const key = signingKey('key-1');
const rsa = signingKey('rsa', 'RS256');
const p384 = signingKey('p384', 'ES384');
const jwks = { keys: [key, rsa, p384].map(jwkOf) };
const { signal } = new AbortController();

interface Setup {
  readonly clock: FakeClock;
  attest(token: string): Promise<Attestation>;
}

function setup(options: Partial<KubernetesTokenAttestorOptions> = {}): Setup {
  const clock = new FakeClock({ start: atMs });
  const attestor = kubernetesTokenAttestor({ ...policy, jwks, clock, ...options });
  return { clock, attest: (token) => attestor.attest(token, { signal }) };
}

/** The claims of node-a's agent with `changes`; `undefined` takes a claim out. */
const changed = (changes: Record<string, unknown>): Record<string, unknown> => ({ ...claimsOf('node-a'), ...changes });
const cluster = (changes: Record<string, unknown>): Record<string, unknown> =>
  changed({ 'kubernetes.io': { ...(claimsOf('node-a')['kubernetes.io'] as object), ...changes } });
const iat = Math.floor(atMs / 1000);

describe('a projected token', () => {
  it.each([key, rsa, p384].map((each) => [each.alg, each] as const))('of %s names its node', async (_, signer) => {
    const { node, how } = await setup().attest(mint(signer, claimsOf('node-a')));
    expect(node).toBe('node-a');
    expect(how).toContain('pod mesh-system/agent-node-a (pod-uid-node-a) on node node-a');
  });

  it('may carry the typ that an external signer writes', async () => {
    expect((await setup().attest(mint(key, claimsOf('node-a'), { typ: 'JWT' }))).node).toBe('node-a');
  });

  const refusals: readonly (readonly [string, string, unknown])[] = [
    ['another issuer', 'ISSUER', changed({ iss: 'https://kubernetes.default.svc' })],
    ['an issuer with a slash more', 'ISSUER', changed({ iss: `${issuer}/` })],
    ['the token of a legacy secret', 'ISSUER', { iss: 'kubernetes/serviceaccount', sub: username, aud: [] }],
    ['a legacy token of our issuer', 'LIFETIME', changed({ exp: undefined })],
    ['no beginning', 'LIFETIME', changed({ iat: undefined })],
    ['a lifetime of a second too much', 'LIFETIME', changed({ exp: iat + 3601 })],
    ['a year', 'LIFETIME', changed({ exp: iat + 365 * 86_400 })],
    ['an end before its beginning', 'LIFETIME', changed({ exp: iat - 1 })],
    ['another service account', 'SUBJECT', changed({ sub: `${username}-evil` })],
    ['a prefix of ours', 'SUBJECT', changed({ sub: username.slice(0, -1) })],
    ['another namespace', 'SUBJECT', changed({ sub: 'system:serviceaccount:mesh-system-evil:meshwright-agent' })],
    ['colons that shift', 'SUBJECT', changed({ sub: 'system:serviceaccount:mesh-system:meshwright-agent:x' })],
    ['upper case', 'SUBJECT', changed({ sub: username.toUpperCase() })],
    ['a user', 'SUBJECT', changed({ sub: 'meshwright-agent' })],
    ['a namespace that disagrees', 'SUBJECT', cluster({ namespace: 'shop' })],
    ['an account that disagrees', 'SUBJECT', cluster({ serviceaccount: { name: 'web', uid: 'x' } })],
    ["the API server's audience", 'AUDIENCE', changed({ aud: ['https://kubernetes.default.svc'] })],
    ['ours among others', 'AUDIENCE', changed({ aud: [audience, 'https://kubernetes.default.svc'] })],
    ['no audience', 'AUDIENCE', changed({ aud: [] })],
    ['an audience that begins as ours', 'AUDIENCE', changed({ aud: [`${audience}-2`] })],
    ['no node', 'NOT_BOUND', cluster({ node: undefined })],
    ['no pod', 'NOT_BOUND', cluster({ pod: undefined })],
    ['no claims of Kubernetes', 'NOT_BOUND', changed({ 'kubernetes.io': undefined })],
    ['a node without a UID', 'MALFORMED', cluster({ node: { name: 'node-a', uid: '' } })],
    ['a node without a name', 'MALFORMED', cluster({ node: { uid: 'u' } })],
    ['claims of another type', 'MALFORMED', changed({ exp: `${String(iat + 60)}` })],
    ['a list', 'MALFORMED', [claimsOf('node-a')]],
    ['nothing', 'MALFORMED', null],
  ];
  it.each(refusals)('with %s is refused: %s', async (_, code, claims) => {
    expect(await codeOf(() => setup().attest(mint(key, claims)))).toBe(`CA_KUBERNETES_TOKEN_${code}`);
  });

  it('of a subject that is none says so before it says that it never ends', async () => {
    const claims = changed({ sub: `${username}-evil`, exp: undefined, aud: [] });
    expect(await codeOf(() => setup().attest(mint(key, claims)))).toBe('CA_KUBERNETES_TOKEN_SUBJECT');
  });
});

describe('the signature', () => {
  const good = mint(key, claimsOf('node-a'));
  const [header = '', payload = '', signature = ''] = good.split('.');
  const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

  it('must be an algorithm of the list: none and HMAC never are', async () => {
    const { attest } = setup();
    const spki = createPublicKey(key.privateKey).export({ format: 'pem', type: 'spki' });
    for (const alg of ['none', 'None', 'HS256', 'EdDSA', 'PS256', 'RS384', '', 'es256', 7, undefined]) {
      const head = encoded({ alg, kid: 'key-1' });
      const mac = createHmac('sha256', spki).update(`${head}.${payload}`).digest('base64url');
      expect(await codeOf(() => attest(`${head}.${payload}.${mac}`))).toBe('CA_KUBERNETES_TOKEN_ALGORITHM');
      const bare = await codeOf(() => attest(`${head}.${payload}.`));
      expect(bare).toBe('CA_KUBERNETES_TOKEN_MALFORMED');
    }
  });

  it('must be of the algorithm that its key makes', async () => {
    const { attest } = setup();
    for (const [signer, alg, kid] of [
      [key, 'RS256', 'key-1'],
      [rsa, 'ES256', 'rsa'],
      [key, 'ES384', 'key-1'],
      [p384, 'ES256', 'p384'],
    ] as const) {
      const token = mint(signer, claimsOf('node-a'), { alg, kid });
      expect(await codeOf(() => attest(token))).toBe('CA_KUBERNETES_TOKEN_ALGORITHM');
    }
  });

  it('must be of the algorithms that were chosen', async () => {
    const { attest } = setup({ algorithms: ['RS256'] });
    expect(await codeOf(() => attest(good))).toBe('CA_KUBERNETES_TOKEN_ALGORITHM');
    expect((await attest(mint(rsa, claimsOf('node-a')))).node).toBe('node-a');
  });

  it('must be of the key that it names', async () => {
    const { attest } = setup();
    const stranger: SigningKey = { ...signingKey('key-1') };
    expect(await codeOf(() => attest(mint(stranger, claimsOf('node-a'))))).toBe('CA_KUBERNETES_TOKEN_SIGNATURE');
    const unknown = mint({ ...key, kid: 'key-2' }, claimsOf('node-a'));
    expect(await codeOf(() => attest(unknown))).toBe('CA_KUBERNETES_TOKEN_KEY_UNKNOWN');
    for (const kid of ['', 7, null, '__proto__', 'constructor']) {
      const token = mint(key, claimsOf('node-a'), { kid });
      expect(await codeOf(() => attest(token))).toBe('CA_KUBERNETES_TOKEN_KEY_UNKNOWN');
    }
  });

  it('must not bring its own key, nor any header that an API server does not write', async () => {
    const { attest } = setup();
    const stranger = signingKey('key-1');
    for (const extra of [
      { jwk: jwkOf(stranger) },
      { jku: 'https://example.com/jwks' },
      { x5c: ['AAAA'] },
      { crit: ['b64'], b64: false },
      { typ: 'at+jwt' },
    ]) {
      const token = mint(stranger, claimsOf('node-a'), extra);
      expect(await codeOf(() => attest(token))).toBe('CA_KUBERNETES_TOKEN_MALFORMED');
    }
  });

  it('covers every character: a token changed anywhere is refused', async () => {
    const { attest } = setup();
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.constantFrom(...'ABab01-_.='), async (at, character) => {
        fc.pre(good[at] !== character);
        const token = `${good.slice(0, at)}${character}${good.slice(at + 1)}`;
        expect(await codeOf(() => attest(token))).toMatch(/^CA_KUBERNETES_TOKEN_/);
      }),
    );
  });

  it('is looked for in one canonical form only', async () => {
    const { attest } = setup();
    for (const token of [
      '',
      ' ',
      good.slice(0, -1),
      `${good} `,
      `${good}=`,
      `${header}.${payload}`,
      `${good}.${signature}`,
      `${header}..${signature}`,
      'x'.repeat(20_000),
    ]) {
      expect(await codeOf(() => attest(token))).toMatch(/^CA_KUBERNETES_TOKEN_(MALFORMED|SIGNATURE)$/);
    }
  });

  it('never gets into an error, nor does any part of the token', async () => {
    const { attest } = setup();
    for (const changes of [{ iss: 'x' }, { aud: 'x' }, { exp: iat - 5, iat: iat - 10 }, { 'kubernetes.io': 1 }]) {
      const token = mint(key, changed(changes));
      const error: unknown = await attest(token).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CaError);
      for (const part of token.split('.')) expect(`${String(error)}${JSON.stringify(error)}`).not.toContain(part);
    }
  });
});

describe('any text', () => {
  const anyClaims = fc.dictionary(
    fc.constantFrom('iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'kubernetes.io', 'jti'),
    fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(issuer, username, [audience], iat, iat + 60, claimsOf('node-a')['kubernetes.io']),
    ),
  );

  it('as a token is refused by a code of its own', async () => {
    const { attest } = setup();
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        expect(await codeOf(() => attest(text))).toBe('CA_KUBERNETES_TOKEN_MALFORMED');
      }),
    );
  });

  it('in signed claims is taken only with everything right', async () => {
    const { attest } = setup();
    await fc.assert(
      fc.asyncProperty(anyClaims, async (changes) => {
        const claims = changed(changes) as { iss: unknown; sub: unknown; exp: unknown; aud: unknown };
        try {
          await attest(mint(key, claims));
        } catch (error) {
          expect((error as CaError).code).toMatch(/^CA_KUBERNETES_TOKEN_/);
          return;
        }
        expect(claims).toMatchObject({ iss: issuer, sub: username });
        expect([claims.aud].flat()).toEqual([audience]);
        expect(claims.exp).toBeGreaterThan(iat);
        expect(claims.exp).toBeLessThanOrEqual(iat + 3600);
      }),
    );
  });
});

describe('time', () => {
  it('ends a token exactly, and lets it begin a little early', async () => {
    const { attest, clock } = setup();
    const token = mint(key, claimsOf('node-a'));
    clock.jumpWall(atMs + 3_600_000 - 1 - clock.now());
    await attest(token);
    clock.jumpWall(atMs + 3_600_000 - clock.now());
    expect(await codeOf(() => attest(token))).toBe('CA_KUBERNETES_TOKEN_EXPIRED');
    clock.jumpWall(atMs - 60_000 - clock.now());
    await attest(token);
    clock.jumpWall(atMs - 60_001 - clock.now());
    expect(await codeOf(() => attest(token))).toBe('CA_KUBERNETES_TOKEN_NOT_YET_VALID');
  });

  it('counts nbf as well as iat, with the skew that was chosen', async () => {
    const { attest } = setup({ clockSkewMs: 0 });
    const token = mint(key, changed({ nbf: iat + 1 }));
    expect(await codeOf(() => attest(token))).toBe('CA_KUBERNETES_TOKEN_NOT_YET_VALID');
  });

  it('does not make a used token fresh again, whichever way the clock jumps', async () => {
    const { attest, clock } = setup();
    const token = mint(key, claimsOf('node-a'));
    const use = async (text: string, by = 'one'): Promise<void> => (await attest(text)).confirm?.({ signal, key: by });
    await use(token);
    expect(await codeOf(() => use(token, 'another'))).toBe('CA_KUBERNETES_TOKEN_USED');
    clock.jumpWall(atMs + 2 * 3_600_000 - clock.now());
    await use(mint(key, claimsOf('node-b', clock.now())));
    clock.jumpWall(atMs - clock.now());
    expect(await codeOf(() => use(token, 'another'))).toBe('CA_KUBERNETES_TOKEN_USED');
  });
});

describe('options', () => {
  it.each<Partial<KubernetesTokenAttestorOptions>>([
    { issuer: '' },
    { audience: '' },
    { serviceAccount: { namespace: '', name: 'x' } },
    { serviceAccount: { namespace: 'a:b', name: 'x' } },
    { serviceAccount: { namespace: 'x', name: 'a:b' } },
    { maxLifetimeMs: 59_999 },
    { maxLifetimeMs: Number.NaN },
    { clockSkewMs: -1 },
    { clockSkewMs: Number.POSITIVE_INFINITY },
    { algorithms: [] },
    { algorithms: ['HS256' as 'RS256'] },
    { jwks: undefined },
    { jwks: { keys: [] } },
    { jwks: { keys: [{ ...jwkOf(key), ...key.privateKey.export({ format: 'jwk' }) }] } },
    { jwks: { keys: [jwkOf(key), jwkOf({ ...rsa, kid: key.kid })] } },
    { jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: 'key-1' }] } },
    { jwks: { keys: [{ ...jwkOf(key), use: 'enc' }] } },
    { jwks: { keys: [{ ...jwkOf(key), kid: undefined }] } },
    { jwks: { keys: [{ ...jwkOf(key), x: 'AAAA' }] } },
    { server: { url: 'http://10.0.0.1' } },
    { server: { url: 'http://localhost.example.com' } },
    { server: { url: 'https://user:secret@api' } },
    { server: { url: 'file:///etc/passwd' } },
    { server: { url: 'api:6443' } },
    { server: { url: 'https://api', ca: 'x', fetch: () => Promise.reject(new Error()) } },
    { server: { url: 'https://api', timeoutMs: 0 } },
  ])('out of bounds are refused: %o', async (options) => {
    expect(await codeOf(() => setup(options))).toBe('CA_REQUEST_INVALID');
  });
});
