/** Certificates made by OpenSSL, good and bad, and ours as OpenSSL sees them. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TrustBundle, X509Svid, verifyX509Svid } from '../../src/spiffe/index.js';
import { describeRequiring } from '../support/requirements.js';
import { codeOf } from './code-of.js';
import { TestCa } from './fakes.js';

const id = 'spiffe://cluster.local/agent/node-a';
const goodExtensions = {
  basicConstraints: 'critical,CA:FALSE',
  keyUsage: 'critical,digitalSignature',
  extendedKeyUsage: 'serverAuth,clientAuth',
  subjectAltName: `URI:${id}`,
};
type Extensions = Partial<Record<keyof typeof goodExtensions | 'nameConstraints' | '1.2.3.4', string | undefined>>;

describeRequiring({ commands: ['openssl'] }, 'certificates made by openssl', () => {
  let folder = '';
  let bundle: TrustBundle;
  const file = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): string =>
    execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

  /** A leaf (or an intermediate) with these extensions, signed by the named issuer. */
  function issue(
    name: string,
    extensions: Extensions,
    options: { key?: string[]; issuer?: string; sign?: string[] } = {},
  ) {
    const { key = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], issuer = 'root', sign = ['-days', '1'] } = options;
    const [algorithm = '', ...parameters] = key;
    openssl(
      'req',
      '-new',
      '-newkey',
      algorithm,
      ...parameters,
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
    );
    const lines = Object.entries(extensions).flatMap(([extension, value]) =>
      value === undefined ? [] : [`${extension}=${value}`],
    );
    writeFileSync(file(`${name}.ext`), `${lines.join('\n')}\n`);
    const from = ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`, '-CAcreateserial'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...from, '-extfile', `${name}.ext`, ...sign, '-out', `${name}.pem`);
    return readFileSync(file(`${name}.pem`), 'utf8');
  }

  const der = (pem: string): Uint8Array => new Uint8Array(new X509Certificate(pem).raw);
  const verifyCode = (...chain: string[]) =>
    codeOf(() => verifyX509Svid({ certificates: chain.map(der), bundle, now: Date.now() }));

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'meshwright-openssl-'));
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=openssl root',
      '-keyout',
      'root.key',
      '-out',
      'root.pem',
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
      '-addext',
      'subjectAltName=URI:spiffe://cluster.local',
    );
    bundle = TrustBundle.create({
      trustDomain: 'cluster.local',
      x509Authorities: [readFileSync(file('root.pem'), 'utf8')],
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each<[string, string[]]>([
    ['P-256', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['Ed25519', ['ed25519']],
    ['RSA of 2048 bits', ['rsa:2048']],
  ])('a good leaf with a key on %s is an X.509-SVID, and its facts are those openssl prints', (name, key) => {
    const pem = issue(`good-${name.replaceAll(' ', '-')}`, goodExtensions, { key });
    const certificate = new X509Certificate(pem);
    const verified = verifyX509Svid({ certificates: [der(pem)], bundle, now: Date.now() });
    expect(verified.spiffeId.toString()).toBe(id);
    expect(verified.notAfter).toEqual(new Date(certificate.validTo));
    expect(verified.notBefore).toEqual(new Date(certificate.validFrom));
    expect(BigInt(`0x${verified.serialNumber}`)).toBe(BigInt(`0x${certificate.serialNumber}`));
    const privateKeyPem = readFileSync(file(`good-${name.replaceAll(' ', '-')}.key`), 'utf8');
    expect(X509Svid.fromPem({ chainPem: pem, privateKeyPem }).spiffeId.toString()).toBe(id);
  });

  test('a good leaf through an intermediate', () => {
    const ca = { basicConstraints: 'critical,CA:TRUE,pathlen:0', keyUsage: 'critical,keyCertSign' };
    const intermediate = issue('intermediate', ca);
    const leaf = issue('under-intermediate', goodExtensions, { issuer: 'intermediate' });
    expect(verifyCode(leaf, intermediate)).toBeUndefined();
    expect(verifyCode(leaf)).toBe('SPIFFE_X509_UNTRUSTED');
  });

  test.each<[string, Extensions, string, { key?: string[]; sign?: string[] }?]>([
    ['no-san', { subjectAltName: undefined }, 'SPIFFE_X509_URI_SAN'],
    ['dns-san', { subjectAltName: 'DNS:node-a' }, 'SPIFFE_X509_URI_SAN'],
    ['two-uris', { subjectAltName: `URI:${id},URI:${id}-2` }, 'SPIFFE_X509_URI_SAN'],
    ['https-uri', { subjectAltName: 'URI:https://cluster.local/agent/node-a' }, 'SPIFFE_X509_SPIFFE_ID'],
    ['root-path', { subjectAltName: 'URI:spiffe://cluster.local/' }, 'SPIFFE_X509_SPIFFE_ID'],
    ['with-port', { subjectAltName: 'URI:spiffe://cluster.local:443/agent/node-a' }, 'SPIFFE_X509_SPIFFE_ID'],
    ['other-domain', { subjectAltName: 'URI:spiffe://other.local/agent/node-a' }, 'SPIFFE_X509_TRUST_DOMAIN'],
    ['ca-leaf', { basicConstraints: 'critical,CA:TRUE' }, 'SPIFFE_X509_CA'],
    ['no-usage', { keyUsage: undefined }, 'SPIFFE_X509_KEY_USAGE'],
    ['signer-usage', { keyUsage: 'critical,digitalSignature,keyCertSign' }, 'SPIFFE_X509_KEY_USAGE'],
    ['crl-usage', { keyUsage: 'critical,digitalSignature,cRLSign' }, 'SPIFFE_X509_KEY_USAGE'],
    ['wrong-usage', { keyUsage: 'critical,keyAgreement' }, 'SPIFFE_X509_KEY_USAGE'],
    ['server-only', { extendedKeyUsage: 'serverAuth' }, 'SPIFFE_X509_EXTENDED_KEY_USAGE'],
    ['e-mail', { extendedKeyUsage: 'emailProtection' }, 'SPIFFE_X509_EXTENDED_KEY_USAGE'],
    ['critical', { '1.2.3.4': 'critical,ASN1:NULL' }, 'SPIFFE_X509_CRITICAL_EXTENSION'],
    ['constrained', { nameConstraints: 'permitted;DNS:x' }, 'SPIFFE_X509_CRITICAL_EXTENSION'],
    ['p-521', {}, 'SPIFFE_X509_ALGORITHM', { key: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-521'] }],
    ['secp256k1', {}, 'SPIFFE_X509_ALGORITHM', { key: ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'] }],
    ['rsa-1024', {}, 'SPIFFE_X509_ALGORITHM', { key: ['rsa:1024'] }],
    ['sha-1', {}, 'SPIFFE_X509_ALGORITHM', { sign: ['-days', '1', '-sha1'] }],
    ['past', {}, 'SPIFFE_X509_EXPIRED', { sign: ['-days', '-1'] }],
  ])('%s is refused', (name, changes, code, options) => {
    expect(verifyCode(issue(name, { ...goodExtensions, ...changes }, options))).toBe(code);
  });

  test.each<[string, string, boolean]>([
    ['permitted', 'critical,permitted;URI:cluster.local', true],
    ['not-critical', 'permitted;URI:CLUSTER.local', true],
    ['domain', 'critical,permitted;URI:.local', true],
    ['one-of-two', 'critical,permitted;URI:other.local,permitted;URI:cluster.local', true],
    ['other', 'critical,permitted;URI:other.local', false],
    ['below-it', 'critical,permitted;URI:.cluster.local', false],
    ['end-of-it', 'permitted;URI:luster.local', false],
    ['excluded', 'critical,excluded;URI:cluster.local', false],
    ['excluded-domain', 'critical,permitted;URI:cluster.local,excluded;URI:.local', false],
    ['other-excluded', 'critical,excluded;URI:other.local', true],
  ])('name constraints on URI names, %s, are kept as openssl keeps them', (name, nameConstraints, fits) => {
    const ca = { basicConstraints: 'critical,CA:TRUE', keyUsage: 'critical,keyCertSign', nameConstraints };
    const intermediate = issue(`constrained-${name}`, ca);
    const leaf = issue(`under-${name}`, goodExtensions, { issuer: `constrained-${name}` });
    expect(verifyCode(leaf, intermediate)).toBe(fits ? undefined : 'SPIFFE_X509_NAME_CONSTRAINTS');
    const verify = (): string =>
      openssl('verify', '-CAfile', 'root.pem', '-untrusted', `constrained-${name}.pem`, `under-${name}.pem`);
    if (fits) expect(verify()).toContain('OK');
    else expect(verify).toThrow();
  });

  test('ours verify with openssl, to the same end', () => {
    const ca = TestCa.create({ intermediate: true });
    const { certificatePem, chainPem } = ca.svid(id);
    writeFileSync(file('ours-root.pem'), ca.rootPem);
    writeFileSync(file('ours.pem'), certificatePem);
    writeFileSync(file('ours-chain.pem'), chainPem);
    expect(
      openssl(
        'verify',
        '-x509_strict',
        '-purpose',
        'sslserver',
        '-CAfile',
        'ours-root.pem',
        '-untrusted',
        'ours-chain.pem',
        'ours.pem',
      ),
    ).toContain('OK');
    expect(() => openssl('verify', '-CAfile', 'root.pem', '-untrusted', 'ours-chain.pem', 'ours.pem')).toThrow();
  });
});
