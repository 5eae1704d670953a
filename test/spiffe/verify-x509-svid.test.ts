import { sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { DerReader } from '../../src/internal/der/reader.js';
import {
  derBitString,
  derExplicit,
  derImplicit,
  derOid,
  derSequence,
  derUnsignedInteger,
} from '../../src/internal/der/writer.js';
import { TrustBundle, verifyX509Svid } from '../../src/spiffe/index.js';
import { FakeClock, TestCa, testCertificate, testCertificateDefects, testPrivateKey } from './fakes.js';
import type { TestCertificateFields, TestKeyType } from './fakes.js';
import { codeOf } from './code-of.js';

const id = 'spiffe://cluster.local/agent/node-a';
const hourMs = 3_600_000;

describe('a good X.509-SVID', () => {
  test('is verified, and its facts are those of the certificate', () => {
    const clock = new FakeClock();
    const ca = TestCa.create({ clock });
    const svid = ca.svid(id);
    const verified = verifyX509Svid({ certificates: svid.certificates, bundle: ca.bundle, now: clock.now() });
    expect(verified.spiffeId.toString()).toBe(id);
    expect(verified.notAfter).toEqual(svid.notAfter);
    expect(verified.notBefore).toEqual(svid.notBefore);
    expect(verified.serialNumber).toBe(svid.serialNumber);
    expect(verified.keyThumbprint).toBe(svid.keyThumbprint);
    expect(Object.isFrozen(verified)).toBe(true);
  });

  test.each<[TestKeyType, TestKeyType]>([
    ['P-256', 'P-384'],
    ['P-384', 'P-256'],
    ['Ed25519', 'Ed25519'],
    ['RSA-2048', 'P-256'],
    ['P-256', 'RSA-2048'],
  ])('with a CA key of %s and a leaf key of %s', (caKey, leafKey) => {
    const ca = TestCa.create({ keyType: caKey });
    const svid = ca.svid(id, { keyType: leafKey });
    expect(verifyX509Svid({ certificates: svid.certificates, bundle: ca.bundle, now: Date.now() }).keyThumbprint).toBe(
      svid.keyThumbprint,
    );
  });

  test('through an intermediate of the bundle, for a peer that shows its leaf alone; which trusts nobody by itself', () => {
    const ca = TestCa.create({ intermediate: true });
    const svid = ca.svid(id);
    const certificates = svid.certificates.slice(0, 1);
    const verify = (x509Authorities: readonly string[], x509Intermediates: readonly Uint8Array[]) => () =>
      verifyX509Svid({
        certificates,
        bundle: TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities, x509Intermediates }),
        now: Date.now(),
      });
    expect(codeOf(verify([ca.rootPem], []))).toBe('SPIFFE_X509_UNTRUSTED');
    expect(verify([ca.rootPem], ca.intermediates)().spiffeId.toString()).toBe(id);
    expect(codeOf(verify([], ca.intermediates))).toBe('SPIFFE_X509_UNTRUSTED');
    expect(codeOf(verify([TestCa.create().rootPem], ca.intermediates))).toMatch(/^SPIFFE_X509_(UNTRUSTED|SIGNATURE)$/);
  });

  test('through an intermediate, beside certificates that have nothing to do with it', () => {
    const ca = TestCa.create({ intermediate: true });
    const other = TestCa.create({ intermediate: true });
    const [leaf = new Uint8Array(), ...rest] = ca.svid(id).certificates;
    const certificates = [leaf, ...other.intermediates, ...rest];
    expect(verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() }).spiffeId.toString()).toBe(id);
    expect(codeOf(() => verifyX509Svid({ certificates: [leaf], bundle: ca.bundle, now: Date.now() }))).toBe(
      'SPIFFE_X509_UNTRUSTED',
    );
  });

  test('with the root sent along, which is not needed and does no harm', () => {
    const ca = TestCa.create({ intermediate: true });
    const root = new Uint8Array(ca.bundle.x509Authorities[0]?.raw ?? []);
    const certificates = [...ca.svid(id).certificates, root];
    expect(verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() }).spiffeId.toString()).toBe(id);
    expect(
      codeOf(() =>
        verifyX509Svid({ certificates: [...certificates, root.subarray(1)], bundle: ca.bundle, now: Date.now() }),
      ),
    ).toBe('SPIFFE_X509_MALFORMED');
  });

  test('of either root while a bundle holds two', () => {
    const [a, b] = [TestCa.create(), TestCa.create()];
    const bundle = TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities: [a.rootPem, b.rootPem] });
    for (const ca of [a, b]) {
      const { certificates } = ca.svid(id);
      expect(verifyX509Svid({ certificates, bundle, now: Date.now() }).spiffeId.toString()).toBe(id);
    }
  });

  test('without extended key usage, with a DNS name beside the URI, and without basic constraints', () => {
    const ca = TestCa.create();
    for (const changes of [{ extendedKeyUsage: undefined }, { dnsNames: ['localhost'] }, { ca: undefined }]) {
      const { certificates } = ca.identity(id, changes);
      expect(verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() }).spiffeId.toString()).toBe(id);
    }
  });
});

describe('a bad certificate is refused with its own code', () => {
  for (const intermediate of [false, true]) {
    const ca = TestCa.create({ intermediate });
    test.each(Object.entries(testCertificateDefects))(`%s (intermediate: ${String(intermediate)})`, (_name, defect) => {
      const { certificates } = defect.issue(ca, id);
      expect(codeOf(() => verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() }))).toBe(defect.code);
    });
  }

  test('no certificate, and too many', () => {
    const ca = TestCa.create();
    const { certificates } = ca.svid(id);
    const verify = (chain: readonly Uint8Array[]) => verifyX509Svid({ certificates: chain, bundle: ca.bundle, now: 0 });
    expect(codeOf(() => verify([]))).toBe('SPIFFE_X509_MISSING');
    expect(codeOf(() => verify([...certificates, ...Array<Uint8Array>(8).fill(new Uint8Array())]))).toBe(
      'SPIFFE_X509_LIMIT',
    );
    expect(codeOf(() => verify([new Uint8Array(16 * 1024 + 1)]))).toBe('SPIFFE_X509_LIMIT');
  });

  test('a bundle without authorities trusts nobody', () => {
    const bundle = TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities: [] });
    const { certificates } = TestCa.create().svid(id);
    expect(codeOf(() => verifyX509Svid({ certificates, bundle, now: Date.now() }))).toBe('SPIFFE_X509_UNTRUSTED');
  });

  test("the bundle's own root is no identity", () => {
    const ca = TestCa.create();
    const certificates = [new Uint8Array(ca.bundle.x509Authorities[0]?.raw ?? [])];
    expect(codeOf(() => verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() }))).toBe(
      'SPIFFE_X509_SPIFFE_ID',
    );
  });

  test('every byte of a leaf counts: no single changed byte is accepted', () => {
    const ca = TestCa.create();
    const [leaf = new Uint8Array()] = ca.svid(id).certificates;
    for (let index = 0; index < leaf.length; index += 1) {
      const changed = Uint8Array.from(leaf);
      changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8));
      expect(codeOf(() => verifyX509Svid({ certificates: [changed], bundle: ca.bundle, now: Date.now() }))).toMatch(
        /^SPIFFE_/,
      );
    }
  });
});

describe('the shape of the certificate itself, signed by the CA all the same', () => {
  const ca = TestCa.create();

  /** A good leaf whose signed part and outer algorithm were changed, under a good signature. */
  function reshaped(change: (fields: Uint8Array[]) => void, outerAlgorithm?: Uint8Array): string | undefined {
    const [leaf = new Uint8Array()] = ca.svid(id).certificates;
    const reader = new DerReader(leaf).enter(0x30);
    const tbsReader = reader.enter(0x30);
    const algorithm = outerAlgorithm ?? reader.read().encoded;
    const fields: Uint8Array[] = [];
    while (!tbsReader.atEnd) fields.push(tbsReader.read().encoded);
    change(fields);
    const tbs = derSequence(...fields);
    const der = derSequence(tbs, algorithm, derBitString(sign('sha256', tbs, ca.rootKey)));
    return codeOf(() => verifyX509Svid({ certificates: [der], bundle: ca.bundle, now: Date.now() }));
  }

  test('unchanged it is good, so what follows is refused for the change alone', () => {
    expect(reshaped(() => undefined)).toBeUndefined();
  });

  test.each<[string, (fields: Uint8Array[]) => void, Uint8Array?]>([
    ['version 1', (fields) => void fields.shift()],
    ['version 2', (fields) => void (fields[0] = derExplicit(0, derUnsignedInteger(Uint8Array.of(1))))],
    [
      'a signature algorithm inside that is not the one outside',
      () => undefined,
      derSequence(derOid('1.2.840.10045.4.3.3')),
    ],
    ['a unique identifier', (fields) => void fields.splice(7, 0, derImplicit(1, Uint8Array.of(0, 1)))],
    ['something after the extensions', (fields) => void fields.push(derSequence())],
    ['a negative serial number', (fields) => void (fields[1] = Uint8Array.of(2, 1, 0x80))],
    ['a serial number of 21 bytes', (fields) => void (fields[1] = derUnsignedInteger(new Uint8Array(21).fill(1)))],
    ['no validity', (fields) => void fields.splice(4, 1)],
  ])('%s is malformed', (_what, change, outerAlgorithm) => {
    expect(reshaped(change, outerAlgorithm)).toBe('SPIFFE_X509_MALFORMED');
  });

  test('no extensions at all: no identity', () => {
    expect(reshaped((fields) => void fields.pop())).toBe('SPIFFE_X509_URI_SAN');
  });
});

describe('signing certificates', () => {
  const now = Date.now();
  const base = {
    notBefore: new Date(now - hourMs),
    notAfter: new Date(now + hourMs),
    keyUsage: [5],
    ca: { isCa: true },
  };

  /** A chain root -> first -> … -> leaf with the given changes to each intermediate. */
  function verifyThrough(...changes: readonly Partial<TestCertificateFields>[]): string | undefined {
    const ca = TestCa.create();
    let signer = { name: ca.issuerName, key: ca.rootKey };
    const intermediates: Uint8Array[] = [];
    changes.forEach((change, index) => {
      const key = testPrivateKey();
      const subject = `intermediate ${String(index)}`;
      intermediates.push(
        testCertificate({ ...base, subject, issuer: signer.name, publicKey: key, signingKey: signer.key, ...change }),
      );
      signer = { name: subject, key };
    });
    const { certificates } = ca.identity(id, { issuer: signer.name, signingKey: signer.key });
    return codeOf(() => verifyX509Svid({ certificates: [...certificates, ...intermediates], bundle: ca.bundle, now }));
  }

  test('up to four in a row', () => {
    expect(verifyThrough({}, {}, {}, {})).toBeUndefined();
    expect(verifyThrough({}, {}, {}, {}, {})).toBe('SPIFFE_X509_UNTRUSTED');
  });

  test.each<[string, Partial<TestCertificateFields>, string]>([
    ['not a CA', { ca: { isCa: false } }, 'SPIFFE_X509_CA'],
    ['without basic constraints', { ca: undefined }, 'SPIFFE_X509_CA'],
    ['without keyCertSign', { keyUsage: [0] }, 'SPIFFE_X509_KEY_USAGE'],
    ['without key usage', { keyUsage: undefined }, 'SPIFFE_X509_KEY_USAGE'],
    ['expired', { notAfter: new Date(now - 1000) }, 'SPIFFE_X509_EXPIRED'],
    ['not yet valid', { notBefore: new Date(now + hourMs / 2) }, 'SPIFFE_X509_NOT_YET_VALID'],
    ['with the identity of a workload', { uriNames: ['spiffe://cluster.local/ns/a/sa/b'] }, 'SPIFFE_X509_SPIFFE_ID'],
    ['with two URI names', { uriNames: ['spiffe://cluster.local', 'spiffe://b'] }, 'SPIFFE_X509_URI_SAN'],
    ['for e-mail only', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] }, 'SPIFFE_X509_EXTENDED_KEY_USAGE'],
    [
      'with name constraints',
      { extraExtensions: [{ oid: '2.5.29.30', value: Uint8Array.of(0x30, 0) }] },
      'SPIFFE_X509_CRITICAL_EXTENSION',
    ],
  ])('an intermediate %s is refused', (_what, change, code) => {
    expect(verifyThrough(change)).toBe(code);
  });

  test('path lengths are kept', () => {
    expect(verifyThrough({ ca: { isCa: true, pathLength: 0 } })).toBeUndefined();
    expect(verifyThrough({ ca: { isCa: true, pathLength: 1 } }, {})).toBeUndefined();
    expect(verifyThrough({ ca: { isCa: true, pathLength: 0 } }, {})).toBe('SPIFFE_X509_CA');
  });

  test('a knot of certificates that sign each other ends the search within its bounds', () => {
    const ca = TestCa.create();
    const key = testPrivateKey();
    const knot = Array.from({ length: 7 }, () =>
      testCertificate({ ...base, subject: 'knot', issuer: 'knot', publicKey: key, signingKey: key }),
    );
    const [leaf = new Uint8Array()] = ca.identity(id, { issuer: 'knot', signingKey: key }).certificates;
    const verify = () => verifyX509Svid({ certificates: [leaf, ...knot], bundle: ca.bundle, now });
    expect(codeOf(verify)).toBe('SPIFFE_X509_LIMIT');
  });
});

describe('time', () => {
  const clock = new FakeClock();
  const ca = TestCa.create({ clock, rootTtlMs: 10 * hourMs });
  const { certificates, notBefore, notAfter } = ca.svid(id);
  const at = (now: number, clockSkewMs?: number) =>
    codeOf(() => verifyX509Svid({ certificates, bundle: ca.bundle, now, clockSkewMs }));

  test('the end is exact, whatever skew is allowed', () => {
    expect(at(notAfter.getTime() - 1)).toBeUndefined();
    expect(at(notAfter.getTime())).toBe('SPIFFE_X509_EXPIRED');
    expect(at(notAfter.getTime(), hourMs)).toBe('SPIFFE_X509_EXPIRED');
  });

  test('the beginning allows the skew', () => {
    expect(at(notBefore.getTime() - 60_000)).toBeUndefined();
    expect(at(notBefore.getTime() - 60_001)).toBe('SPIFFE_X509_NOT_YET_VALID');
    expect(at(notBefore.getTime() - 1, 0)).toBe('SPIFFE_X509_NOT_YET_VALID');
  });

  test('an expired root ends every leaf below it', () => {
    const longLived = ca.svid(id, { ttlMs: 100 * hourMs }).certificates;
    const now = clock.now() + 11 * hourMs;
    expect(codeOf(() => verifyX509Svid({ certificates: longLived, bundle: ca.bundle, now }))).toBe(
      'SPIFFE_X509_EXPIRED',
    );
  });

  test('a time or a skew that is no number is a mistake of the caller, never an acceptance', () => {
    for (const [now, skew] of [
      [Number.NaN, 0],
      [0, Number.NaN],
      [0, -1],
      [Number.POSITIVE_INFINITY, 0],
    ] as const) {
      expect(() => at(now, skew)).toThrow(RangeError);
    }
  });
});
