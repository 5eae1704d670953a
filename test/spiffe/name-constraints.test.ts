/** URI name constraints: read, evaluated against a naive reading of RFC 5280 4.2.1.10, and kept in chains. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DerError, DerReader } from '../../src/internal/der/reader.js';
import { derImplicit, derSequence, derUnsignedInteger, derValue } from '../../src/internal/der/writer.js';
import { verifyX509Svid } from '../../src/spiffe/index.js';
import { nameConstraintDefect, readNameConstraints } from '../../src/spiffe/name-constraints.js';
import type { NameConstraints } from '../../src/spiffe/name-constraints.js';
import { testCertificate, testPrivateKey } from '../../src/testing/test-certificate.js';
import type { TestExtension } from '../../src/testing/test-certificate.js';
import '../support/property-seed.js';
import { codeOf } from './code-of.js';
import { TestCa } from './fakes.js';

const uri = (text: string): Uint8Array => derImplicit(6, Buffer.from(text, 'latin1'));
const subtrees = (tag: number, bases: readonly Uint8Array[]): Uint8Array[] =>
  bases.length === 0 ? [] : [derValue(tag, ...bases.map((base) => derSequence(base)))];
const encoded = (permitted: readonly string[], excluded: readonly string[] = []): Uint8Array =>
  derSequence(...subtrees(0xa0, permitted.map(uri)), ...subtrees(0xa1, excluded.map(uri)));
const read = (der: Uint8Array): NameConstraints | undefined => readNameConstraints(new DerReader(der).enter(0x30));

/** As the RFC has it: `.example.com` is for any host with one or more labels before it, `example.com` for that host. */
function naive(constraint: string, host: string): boolean {
  const wanted = constraint.toLowerCase().split('.').reverse();
  const labels = host.toLowerCase().split('.').reverse();
  const isDomain = wanted.at(-1) === '';
  if (isDomain) wanted.pop();
  const longEnough = isDomain ? labels.length > wanted.length : labels.length === wanted.length;
  return longEnough && wanted.every((label, index) => labels[index] === label);
}

const labels = fc.constantFrom('a', 'b', 'corp', 'cluster', 'local', 'x-y', 'node_1');
const hosts = fc.array(labels, { minLength: 1, maxLength: 4 }).map((list) => list.join('.'));
const constraints = fc
  .tuple(fc.constantFrom('', '.'), hosts, fc.boolean())
  .map(([dot, host, loud]) => (loud ? `${dot}${host}`.toUpperCase() : `${dot}${host}`));

describe('name constraints', () => {
  test('are what a naive reading of the RFC says they are', () => {
    const lists = fc.array(constraints, { maxLength: 4 });
    fc.assert(
      fc.property(lists, lists, hosts, (permitted, excluded, host) => {
        fc.pre(permitted.length + excluded.length > 0);
        const found = read(encoded(permitted, excluded));
        if (found === undefined) throw new Error('not read');
        const allowed =
          !excluded.some((each) => naive(each, host)) &&
          (permitted.length === 0 || permitted.some((each) => naive(each, host)));
        expect(nameConstraintDefect(found, host) === undefined).toBe(allowed);
      }),
      { numRuns: 5_000 },
    );
  });

  test.each<[string, string[], string[], boolean]>([
    ['cluster.local', ['cluster.local'], [], true],
    ['cluster.local', ['CLUSTER.Local'], [], true],
    ['cluster.local', ['.local'], [], true],
    ['cluster.local', ['.cluster.local'], [], false],
    ['cluster.local', ['luster.local'], [], false],
    ['cluster.local', ['.uster.local'], [], false],
    ['a.b.corp.example', ['.corp.example'], [], true],
    ['cluster.local', ['other.local', 'cluster.local'], [], true],
    ['cluster.local', [], ['other.local'], true],
    ['cluster.local', [], ['.local'], false],
    ['cluster.local', ['.local'], ['cluster.local'], false],
    ['prod', ['prod'], [], true],
    // What is no host name is not shown to be permitted, nor not to be excluded.
    ['10.0.0.1', ['.0.0.1'], [], false],
    ['10.0.0.1', [], ['other.local'], false],
    ['cluster..local', [], ['other.local'], false],
    ['.local', ['.local'], [], false],
    ['a-.local', ['.local'], [], false],
  ])('%s with permitted %j and excluded %j: %s', (trustDomain, permitted, excluded, allowed) => {
    const found = read(encoded(permitted, excluded));
    expect(found).toBeDefined();
    if (found !== undefined) expect(nameConstraintDefect(found, trustDomain) === undefined).toBe(allowed);
  });

  test.each<[string, Uint8Array]>([
    ['without anything', derSequence()],
    ['on DNS names', derSequence(derValue(0xa0, derSequence(derImplicit(2, Buffer.from('cluster.local')))))],
    ['on URI and DNS names', derSequence(...subtrees(0xa0, [uri('cluster.local'), derImplicit(2, Buffer.from('x'))]))],
    ['on directory names', derSequence(derValue(0xa1, derSequence(derValue(0xa4, derSequence()))))],
    ['with an empty list', derSequence(derValue(0xa0))],
    ['with a minimum', derSequence(derValue(0xa0, derSequence(uri('a.b'), derImplicit(0, Uint8Array.of(0)))))],
    ['with an empty name', encoded([''])],
    ['with a period alone', encoded(['.'])],
    ['with a whole URI', encoded(['spiffe://cluster.local'])],
    ['with a port', encoded(['cluster.local:443'])],
    ['with an IP address', encoded([], ['10.0.0.1'])],
    ['with a star', encoded(['*.local'])],
    ['with two periods', encoded(['..local'])],
    ['with a byte that is not ASCII', encoded(['cl\u00fcster.local'])],
    ['with a zero byte', encoded(['cluster.local\0'])],
    ['of 257 hosts', encoded(Array.from({ length: 257 }, (_, index) => `host-${String(index)}.local`))],
    ['with a host that is too long', encoded([`${'a.'.repeat(127)}local`])],
  ])('%s are not evaluated', (_what, der) => {
    expect(read(der)).toBeUndefined();
  });

  test('that are no DER of them throw, and nothing else happens', () => {
    const good = encoded(['cluster.local', '.corp.example'], ['other.local']);
    expect(() => read(derSequence(derUnsignedInteger(Uint8Array.of(1))))).toThrow();
    expect(() => read(derSequence(...subtrees(0xa1, [uri('a')]), ...subtrees(0xa0, [uri('b')])))).toThrow();
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const changed = Uint8Array.from(good);
        changed[at] = byte;
        try {
          const found = read(changed);
          if (found !== undefined) nameConstraintDefect(found, 'cluster.local');
        } catch (error) {
          expect(error).toBeInstanceOf(DerError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a chain', () => {
  const now = Date.now();
  const id = 'spiffe://cluster.local/agent/node-a';
  const constrained = (value: Uint8Array, critical = true): TestExtension => ({ oid: '2.5.29.30', critical, value });

  /** Root, then an intermediate with each of these extensions, then the leaf. */
  function verify(...each: readonly (TestExtension | undefined)[]): string | undefined {
    const ca = TestCa.create();
    let signer = { name: ca.issuerName, key: ca.rootKey };
    const intermediates = each.map((extension, index) => {
      const key = testPrivateKey();
      const subject = `intermediate ${String(index)}`;
      const der = testCertificate({
        subject,
        issuer: signer.name,
        publicKey: key,
        signingKey: signer.key,
        notBefore: new Date(now - 3_600_000),
        notAfter: new Date(now + 3_600_000),
        keyUsage: [5],
        ca: { isCa: true },
        extraExtensions: extension === undefined ? [] : [extension],
      });
      signer = { name: subject, key };
      return der;
    });
    const { certificates } = ca.identity(id, { issuer: signer.name, signingKey: signer.key });
    return codeOf(() => verifyX509Svid({ certificates: [...certificates, ...intermediates], bundle: ca.bundle, now }));
  }

  test('stays within the constraints of every CA above, critical or not', () => {
    const [fits, other] = [encoded(['cluster.local']), encoded(['other.local'])];
    for (const critical of [true, false]) {
      expect(verify(constrained(fits, critical))).toBeUndefined();
      expect(verify(constrained(other, critical))).toBe('SPIFFE_X509_NAME_CONSTRAINTS');
      expect(verify(constrained(other, critical), undefined)).toBe('SPIFFE_X509_NAME_CONSTRAINTS');
      expect(verify(undefined, constrained(other, critical))).toBe('SPIFFE_X509_NAME_CONSTRAINTS');
      expect(verify(constrained(encoded([], ['.local']), critical))).toBe('SPIFFE_X509_NAME_CONSTRAINTS');
    }
    // A CA below cannot widen what one above it permits.
    expect(verify(constrained(other), constrained(fits))).toBe('SPIFFE_X509_NAME_CONSTRAINTS');
    expect(verify(constrained(fits), constrained(encoded(['.local'])))).toBeUndefined();
  });

  test('with constraints that nobody evaluates, or that are none, is refused as before', () => {
    const dns = derSequence(derValue(0xa0, derSequence(derImplicit(2, Buffer.from('cluster.local')))));
    expect(verify(constrained(dns))).toBe('SPIFFE_X509_CRITICAL_EXTENSION');
    expect(verify(constrained(dns, false))).toBe('SPIFFE_X509_CRITICAL_EXTENSION');
    expect(verify(constrained(Uint8Array.of(0x30, 3, 1, 2, 3)))).toBe('SPIFFE_X509_MALFORMED');
  });

  test('is not constrained by its leaf, which may have no constraints', () => {
    const ca = TestCa.create();
    const { certificates } = ca.identity(id, { extraExtensions: [constrained(encoded(['cluster.local']))] });
    expect(codeOf(() => verifyX509Svid({ certificates, bundle: ca.bundle, now }))).toBe(
      'SPIFFE_X509_CRITICAL_EXTENSION',
    );
  });
});
