/**
 * What a real API server answered (recorded-cluster.json): each case is a request to it and its answer, without the echo of
 * what was asked. Its keys are gone and its tokens have ended; test/kube-apiserver asks a living one.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { kubernetesTokenAttestor } from 'meshwright/ca';
import type { Attestation, CaError, FetchLike } from 'meshwright/ca';
import { FakeClock } from 'meshwright/testing';
import { codeOf } from '../support.js';
import { audience, claimsOf, fakeCluster, mint, policy, signingKey } from './fake-cluster.js';

const answer = z.object({ status: z.number(), type: z.string(), body: z.record(z.string(), z.unknown()) });
type Answer = z.output<typeof answer>;
const recorded = z
  .object({
    version: z.string(),
    tokens: z.object({
      ofPod: z.string(),
      ofNode: z.string(),
      withoutNode: z.string(),
      unbound: z.string(),
      ofNewKey: z.string(),
    }),
    keys: answer,
    keysAsJson: answer,
    keysForNobody: answer,
    keysForUnknown: answer,
    keysAfterRotation: answer,
    reviewAccepted: answer,
    reviewForbidden: answer,
    reviewForNobody: answer,
    reviewOfAnotherAudience: answer,
    reviewOfAnotherSignature: answer,
    reviewOfPodThatIsGone: answer,
    reviewOfUnknownKey: answer,
  })
  .parse(JSON.parse(readFileSync(new URL('recorded-cluster.json', import.meta.url), 'utf8')));
const { tokens } = recorded;

const claims = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
const madeAtMs = Number(claims(tokens.ofPod)['iat']) * 1000;
const { signal } = new AbortController();

interface Setup {
  readonly clock: FakeClock;
  attest(token: string): Promise<Attestation>;
  /** And its last step. */
  join(token: string): Promise<void>;
}

/** An attestor whose API server answers with these. */
function setup({ keys = recorded.keys, review = recorded.reviewAccepted } = {}): Setup {
  const fetch: FetchLike = (url, { headers }) => {
    const asked = url.endsWith('/openid/v1/jwks') ? keys : review;
    const { status, type, body } = headers['accept']?.includes(asked.type) === true ? asked : recorded.keysAsJson;
    expect(type).toContain('json');
    const bytes = (async function* () {
      yield await Promise.resolve(Buffer.from(JSON.stringify(body)));
    })();
    return Promise.resolve({ status, body: bytes });
  };
  const clock = new FakeClock({ start: madeAtMs });
  const attestor = kubernetesTokenAttestor({ ...policy, server: { url: 'https://api', fetch }, clock });
  const attest = (token: string): Promise<Attestation> => attestor.attest(token, { signal });
  return { clock, attest, join: async (token) => (await attest(token)).confirm?.({ key: 'k', signal }) };
}

describe(`tokens of kube-apiserver ${recorded.version}`, () => {
  it('that are bound to a pod name its node, and are accepted with its review', async () => {
    const { attest, join } = setup();
    const { node, how } = await attest(tokens.ofPod);
    expect(node).toBe('node-a');
    expect(how).toMatch(
      /^Kubernetes token of pod mesh-system\/agent-node-a \([-\da-f]{36}\) on node node-a \([-\da-f]{36}\)$/,
    );
    await join(tokens.ofPod);
  });

  it('are refused at their end, to the second', async () => {
    const { attest, clock } = setup();
    clock.advance(599_999);
    await attest(tokens.ofPod);
    clock.advance(1);
    expect(await codeOf(() => attest(tokens.ofPod))).toBe('CA_KUBERNETES_TOKEN_EXPIRED');
  });

  it.each(['ofNode', 'withoutNode', 'unbound'] as const)('that are %s are refused as not bound', async (kind) => {
    expect(await codeOf(() => setup().attest(tokens[kind]))).toBe('CA_KUBERNETES_TOKEN_NOT_BOUND');
  });

  it('are verified after a rotation, by a set that has a key twice', async () => {
    const { attest } = setup({ keys: recorded.keysAfterRotation });
    expect((await attest(tokens.ofPod)).node).toBe('node-a');
    expect((await attest(tokens.ofNewKey)).node).toBe('node-a');
  });

  it('have the claims of the tokens that the other tests make', () => {
    expect(shapeOf(claimsOf('node-a'))).toEqual(shapeOf(claims(tokens.ofPod)));
  });
});

describe(`answers of kube-apiserver ${recorded.version}`, () => {
  it.each(['OfPodThatIsGone', 'OfAnotherAudience', 'OfAnotherSignature', 'OfUnknownKey'] as const)(
    'to reviews that refuse are refusals: review%s',
    async (kind) => {
      const { join } = setup({ review: recorded[`review${kind}`] });
      expect(await codeOf(() => join(tokens.ofPod))).toBe('CA_KUBERNETES_REVIEW_REFUSED');
    },
  );

  it.each([
    ['keysForNobody', 'got 403: forbidden: User "system:anonymous" cannot get path "/openid/v1/jwks"'],
    ['keysForUnknown', 'got 401: Unauthorized'],
    ['reviewForNobody', 'User "system:anonymous" cannot create resource "tokenreviews"'],
    ['reviewForbidden', 'User "system:serviceaccount:mesh-system:meshwright-controller" cannot create resource'],
  ] as const)('to those who may not ask are no judgement, and say why: %s', async (kind, why) => {
    const { join } = setup(kind.startsWith('keys') ? { keys: recorded[kind] } : { review: recorded[kind] });
    const error = (await join(tokens.ofPod).catch((thrown: unknown) => thrown)) as CaError;
    expect(error.code).toBe('CA_ATTESTATION_UNAVAILABLE');
    expect(String((error.cause as Error).message)).toContain(why);
  });

  it('are those of the cluster that the other tests have', async () => {
    const cluster = await fakeCluster({ tls: false });
    const ask = async (path: string, headers: Record<string, string>, body?: unknown): Promise<Answer> => {
      const own = { accept: '*/*', authorization: `Bearer ${cluster.bearerToken}`, ...headers };
      const response = await fetch(`${cluster.url}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: Object.fromEntries(Object.entries(own).filter(([, value]) => value !== '')),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const type = response.headers.get('content-type');
      return answer.parse({ status: response.status, type, body: await response.json() });
    };
    const keys = (headers: Record<string, string> = {}): Promise<Answer> => ask('/openid/v1/jwks', headers);
    const review = async (token: string, to = audience, headers = {}): Promise<Answer> => {
      const path = '/apis/authentication.k8s.io/v1/tokenreviews';
      const { body, ...rest } = await ask(path, headers, { spec: { token, audiences: [to] } });
      const { spec: _echo, ...others } = body;
      return { ...rest, body: others };
    };
    cluster.keys = [signingKey('key-1', 'RS256')];
    const [key = signingKey('none')] = cluster.keys;
    const good = mint(key, claimsOf('node-a'));
    const anonymous = { authorization: '' };
    const same = (fake: Answer, real: Answer): void => expect(shapeOf(fake)).toEqual(shapeOf(real));

    same(await keys(), recorded.keys);
    expect(await keys({ accept: 'application/json' })).toEqual(recorded.keysAsJson);
    expect(await keys(anonymous)).toEqual(recorded.keysForNobody);
    expect(await keys({ authorization: 'Bearer unknown' })).toEqual(recorded.keysForUnknown);
    same(await review(good), recorded.reviewAccepted);
    expect(await review(good, audience, anonymous)).toEqual(recorded.reviewForNobody);
    expect(await review(good, 'https://kubernetes.default.svc.cluster.local')).toEqual(
      recorded.reviewOfAnotherAudience,
    );
    expect(await review(`${good.slice(0, -8)}AAAAAAAA`)).toEqual(recorded.reviewOfAnotherSignature);
    expect(await review(mint(signingKey('key-2'), claimsOf('node-a')))).toEqual(recorded.reviewOfUnknownKey);
    cluster.deletedPods.add('agent-node-a');
    expect(await review(good)).toEqual(recorded.reviewOfPodThatIsGone);
    cluster.broken = 'forbidden';
    expect(await review(good)).toEqual(recorded.reviewForbidden);
  });
});

/** Names and types, all the way down. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shapeOf(member)]));
}
