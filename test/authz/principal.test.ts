import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PrincipalCache, parsePrincipal } from '../../src/authz/principal.js';

/** The form as one expression, and the parts by splitting. */
function obvious(uri: string): object | undefined {
  if (uri.length > 2048 || !/^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/[A-Za-z0-9._-]+)+$/.test(uri)) return undefined;
  const name = uri.replace('spiffe://', '');
  const [trustDomain, ...path] = name.split('/');
  if (path.includes('.') || path.includes('..')) return undefined;
  const [ns, namespace, sa, serviceAccount] = path;
  const hasAccount = ns === 'ns' && sa === 'sa' && serviceAccount !== undefined;
  return {
    uri,
    name,
    trustDomain,
    namespace: ns === 'ns' ? namespace : undefined,
    serviceAccount: hasAccount ? serviceAccount : undefined,
    account: hasAccount ? `${String(namespace)}/${serviceAccount}` : undefined,
    isWorkload: hasAccount && path.length === 4,
    isAgent: ns === 'agent' && path.length === 2,
  };
}

function parsed(uri: string): object | undefined {
  const principal = parsePrincipal(uri);
  if (principal === undefined) return undefined;
  const { name, trustDomain, namespace, serviceAccount, account, isWorkload, isAgent } = principal;
  return { uri: principal.uri, name, trustDomain, namespace, serviceAccount, account, isWorkload, isAgent };
}

describe('principals', () => {
  const segment = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('ns', 'sa', 'agent', 'shop', 'web', 'node-a', 'A_b.c', 'agents') },
    { weight: 1, arbitrary: fc.constantFrom('', '.', '..', '...', 'a b', 'é', '%41', '*', 'x:y', '\u0000') },
  );
  const uri = fc
    .tuple(
      fc.constantFrom('spiffe://', 'spiffe://', 'spiffe://', 'spiffe:/', 'SPIFFE://', ''),
      fc.constantFrom('cluster.local', 'a', 'Upper', '', 'x'.repeat(255), 'x'.repeat(256), 'a_b-c.9'),
      fc.array(segment, { maxLength: 7 }),
    )
    .map(([scheme, trustDomain, path]) => scheme + [trustDomain, ...path].join('/'));

  it('are taken apart as the obvious way does it', () => {
    fc.assert(
      fc.property(fc.oneof(uri, fc.string()), (text) => {
        expect(parsed(text)).toEqual(obvious(text));
      }),
      { numRuns: 20_000 },
    );
  });

  it('have at most 2,048 characters', () => {
    const long = (length: number): string => `spiffe://a/${'b'.repeat(length - 11)}`;
    expect([2048, 2049].map((length) => parsePrincipal(long(length))?.uri.length)).toEqual([2048, undefined]);
  });

  it('are remembered, and a flood of others neither pushes them out nor is remembered', () => {
    const cache = new PrincipalCache(10);
    const id = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
    const known = cache.get(id('web'));
    for (let index = 0; index < 100; index += 1)
      expect(cache.get(id(`x${String(index)}`))?.uri).toBe(id(`x${String(index)}`));
    expect(cache.get(id('web'))).toBe(known);
    expect(cache.get(id('x99'))).not.toBe(cache.get(id('x99')));
    // After long enough the names in use count as changed.
    for (let index = 0; index < 300; index += 1) cache.get(id(`y${String(index)}`));
    expect(cache.get(id('web'))).not.toBe(known);
    expect(cache.get('web')).toBeUndefined();
  });
});
