import { describe, expect, test } from 'vitest';
import { BundleSet, TrustBundle, TrustDomain, verifyX509Svid } from '../../src/spiffe/index.js';
import { TestCa, testPrivateKey } from './fakes.js';
import { codeOf } from './code-of.js';

const a = TestCa.create({ trustDomain: 'a.local' });
const b = TestCa.create({ trustDomain: 'b.local' });
const both = BundleSet.of(a.bundle, b.bundle);

describe('BundleSet', () => {
  test('holds one bundle of each trust domain', () => {
    expect(both.size).toBe(2);
    expect(both.trustDomains.map(String)).toEqual(['a.local', 'b.local']);
    expect(both.get('a.local')).toBe(a.bundle);
    expect(both.get(TrustDomain.parse('b.local'))).toBe(b.bundle);
    expect(both.get('c.local')).toBeUndefined();
    expect([...both]).toEqual([a.bundle, b.bundle]);
    expect(codeOf(() => BundleSet.of(a.bundle, b.bundle, a.bundle))).toBe('SPIFFE_BUNDLE_AMBIGUOUS');
    expect(codeOf(() => both.get('A B'))).toBe('SPIFFE_TRUST_DOMAIN_MALFORMED');
    expect(both.get('constructor')).toBeUndefined();
  });

  test('is changed into another, never in place', () => {
    const renewed = TestCa.create({ trustDomain: 'a.local' }).bundle;
    const changed = both.with(renewed);
    expect(changed.get('a.local')).toBe(renewed);
    expect(both.get('a.local')).toBe(a.bundle);
    expect(changed.without('a.local').trustDomains.map(String)).toEqual(['b.local']);
    expect(changed.without('c.local').size).toBe(2);
    expect(changed.equals(both)).toBe(false);
    expect(BundleSet.of(b.bundle, a.bundle).equals(both)).toBe(true);
    expect(both.without('b.local').equals(both)).toBe(false);
    expect(BundleSet.of(a.bundle, renewed && TestCa.create({ trustDomain: 'c.local' }).bundle).equals(both)).toBe(
      false,
    );
    expect(Object.isFrozen(both)).toBe(true);
  });

  test('is written as documents by trust domain', () => {
    const json = JSON.parse(JSON.stringify(both)) as Record<string, unknown>;
    expect(Object.keys(json)).toEqual(['a.local', 'b.local']);
    expect(TrustBundle.parse(json['b.local'], 'b.local').equals(b.bundle)).toBe(true);
  });
});

describe('verification against a set', () => {
  const verify = (certificates: readonly Uint8Array[], bundle: TrustBundle | BundleSet = both) =>
    verifyX509Svid({ certificates, bundle, now: Date.now() });

  test('accepts each peer by the bundle of its own trust domain', () => {
    for (const ca of [a, b]) {
      const id = `spiffe://${ca.trustDomain.name}/agent/node`;
      expect(verify(ca.svid(id).certificates).spiffeId.toString()).toBe(id);
    }
  });

  test('refuses what one domain’s CA issued in the name of the other', () => {
    const forged = a.identity('spiffe://b.local/agent/node').certificates;
    expect(codeOf(() => verify(forged))).toBe('SPIFFE_X509_UNTRUSTED');
    // Also under the very name of the other's root.
    const named = a.identity('spiffe://b.local/agent/node', { issuer: b.issuerName, signingKey: a.rootKey });
    expect(codeOf(() => verify(named.certificates))).toBe('SPIFFE_X509_SIGNATURE');
    // Also with the forger's root sent along, or an intermediate of its own.
    const root = new Uint8Array(a.bundle.x509Authorities[0]?.raw ?? []);
    expect(codeOf(() => verify([...forged, root]))).toBe('SPIFFE_X509_UNTRUSTED');
    const intermediate = TestCa.create({ trustDomain: 'a.local', intermediate: true });
    const set = BundleSet.of(intermediate.bundle, b.bundle);
    const chain = intermediate.identity('spiffe://b.local/agent/node').certificates;
    expect(codeOf(() => verify(chain, set))).toBe('SPIFFE_X509_UNTRUSTED');
  });

  test('one root in the bundles of two domains speaks for both, as was asked for', () => {
    const shared = TrustBundle.create({ trustDomain: 'b.local', x509Authorities: [a.rootPem] });
    const { certificates } = a.identity('spiffe://b.local/x', {}, { privateKey: testPrivateKey() });
    expect(verify(certificates, BundleSet.of(a.bundle, shared)).spiffeId.trustDomain.name).toBe('b.local');
  });

  test('refuses a domain that is not in it, and everybody when empty', () => {
    const stranger = TestCa.create({ trustDomain: 'c.local' }).svid('spiffe://c.local/x').certificates;
    expect(codeOf(() => verify(stranger))).toBe('SPIFFE_X509_TRUST_DOMAIN');
    expect(() => verify(stranger)).toThrow('a.local or b.local');
    expect(codeOf(() => verify(a.svid('spiffe://a.local/x').certificates, BundleSet.of()))).toBe(
      'SPIFFE_X509_TRUST_DOMAIN',
    );
  });
});
