/** What comes from an API server is not trusted to be of any form. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { kubernetesTokenAttestor } from 'meshwright/ca';
import type { CaError, FetchLike } from 'meshwright/ca';
import { FakeClock } from 'meshwright/testing';
import '../../support/property-seed.js';
import { parseKeySet } from '../../../src/ca/attestation/key-set.js';
import { atMs, claimsOf, jwkOf, mint, policy, signingKey, username } from './fake-cluster.js';

const key = signingKey('key-1');
const { signal } = new AbortController();
const token = mint(key, claimsOf('node-a'));
const [ec, rsa] = [jwkOf(key), jwkOf(signingKey('rsa', 'RS256'))];

/** An attestor whose API server answers the review with `text`. */
function reviewedBy(text: string): () => Promise<void> {
  const fetch: FetchLike = () =>
    Promise.resolve({
      status: 201,
      body: (async function* () {
        yield await Promise.resolve(Buffer.from(text));
      })(),
    });
  const clock = new FakeClock({ start: atMs });
  const attestor = kubernetesTokenAttestor({
    ...policy,
    jwks: { keys: [ec] },
    server: { url: 'https://api', fetch },
    clock,
  });
  return async () => (await attestor.attest(token, { signal })).confirm?.({ key: 'k', signal });
}

const honest = {
  apiVersion: 'authentication.k8s.io/v1',
  kind: 'TokenReview',
  status: {
    authenticated: true,
    audiences: [policy.audience],
    user: {
      username,
      uid: 'sa-uid',
      extra: {
        'authentication.kubernetes.io/node-name': ['node-a'],
        'authentication.kubernetes.io/node-uid': ['node-uid-node-a'],
        'authentication.kubernetes.io/pod-name': ['agent-node-a'],
        'authentication.kubernetes.io/pod-uid': ['pod-uid-node-a'],
      },
    },
  },
};

/** Every place in `value`, as a path. */
function pathsOf(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return [path, ...inner.flatMap(([name, member]) => pathsOf(member, [...path, name]))];
}

function replaced(value: unknown, [name, ...rest]: readonly string[], by: unknown): unknown {
  if (name === undefined) return by;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<string, unknown>;
  copy[name] = replaced(copy[name], rest, by);
  return copy;
}

const refusal = /^CA_(ATTESTATION_UNAVAILABLE|KUBERNETES_REVIEW_(REFUSED|MISMATCH))$/;

it('the honest review is accepted, and with any one value of it changed it is not', async () => {
  await reviewedBy(JSON.stringify(honest))();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...pathsOf(honest)), fc.jsonValue(), async (path, by) => {
      const review = replaced(honest, path, by);
      fc.pre(JSON.stringify(review) !== JSON.stringify(honest));
      const error: unknown = await reviewedBy(JSON.stringify(review))().catch((thrown: unknown) => thrown);
      expect((error as CaError | undefined)?.code).toMatch(refusal);
    }),
  );
});

it('no text at all is taken for a review', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
      const error: unknown = await reviewedBy(text)().catch((thrown: unknown) => thrown);
      expect((error as CaError | undefined)?.code).toMatch(refusal);
    }),
  );
});

it('a key set is public RSA and EC keys of a sufficient size, each key ID once, or it is an error', () => {
  const member = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom<unknown>('RSA', 'EC', 'oct', 'sig', 'P-256', 'P-384', ec['x'], ec['y'], rsa['n'], rsa['e']),
  );
  const jwk = fc
    .tuple(
      fc.constantFrom(ec, rsa, {}),
      fc.dictionary(fc.constantFrom('kty', 'kid', 'use', 'alg', 'crv', 'x', 'y', 'n', 'e', 'd', 'k'), member, {
        maxKeys: 2,
      }),
    )
    .map(([base, changes]) => ({ ...base, ...changes }));
  const document = fc.oneof(fc.jsonValue(), fc.record({ keys: fc.array(jwk, { maxLength: 4 }) }));
  fc.assert(
    fc.property(document, (set) => {
      let keys: ReturnType<typeof parseKeySet>;
      try {
        keys = parseKeySet(set);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        return;
      }
      expect(keys.size).toBeGreaterThan(0);
      for (const [kid, { key: found }] of keys) {
        expect(kid).not.toBe('');
        expect(found.type).toBe('public');
        expect(['rsa', 'ec']).toContain(found.asymmetricKeyType);
        expect(found.asymmetricKeyDetails?.modulusLength ?? 2048).toBeGreaterThanOrEqual(2048);
      }
      expect((set as { keys: { d?: unknown }[] }).keys.every((each) => each.d === undefined)).toBe(true);
    }),
  );
});
