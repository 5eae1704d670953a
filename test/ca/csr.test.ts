import { X509Certificate, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { CaError, SpiffeCA, createCsr } from 'meshwright/ca';
import { agent, codeOf, openssl, p256 } from './support.js';

let ca: SpiffeCA;
beforeAll(async () => {
  ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
});

const issue = (csr: string | Uint8Array): Promise<{ certificatePem: string }> =>
  ca.issueX509Svid({ spiffeId: agent, csr });

describe('certificate signing requests', () => {
  it('made here satisfy openssl', async () => {
    for (const { privateKey } of [p256(), generateKeyPairSync('ed25519')]) {
      const csr = await createCsr(privateKey);
      expect(() => openssl({ csr }, 'req', '-inform', 'der', '-in', '{csr}', '-verify', '-noout')).not.toThrow();
    }
  });

  it('made by openssl are taken, and nothing of their subject and extensions', async () => {
    const key = p256().privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    const config = [
      '[req]',
      'distinguished_name = dn',
      'req_extensions = ext',
      'prompt = no',
      '[dn]',
      'CN = admin',
      'O = evil',
      '[ext]',
      'basicConstraints = critical,CA:TRUE',
      'keyUsage = critical,keyCertSign',
      'subjectAltName = URI:spiffe://cluster.local/controller,DNS:evil.example',
    ].join('\n');
    const pem = openssl({ key, config }, 'req', '-new', '-key', '{key}', '-config', '{config}');
    const { certificatePem } = await issue(pem);
    const certificate = new X509Certificate(certificatePem);
    expect(certificate.ca).toBe(false);
    expect(certificate.subject).toBeFalsy();
    expect(certificate.subjectAltName).toBe(`URI:${agent}`);
    expect(certificate.publicKey.equals(new X509Certificate(certificatePem).publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
  });

  it.each([
    ['sha384', ['-sha384'], undefined],
    ['sha512', ['-sha512'], 'CA_CSR_SIGNATURE'],
    ['sha1', ['-sha1'], 'CA_CSR_SIGNATURE'],
  ] as const)('signed with ECDSA and %s', async (_, args, refusal) => {
    const key = p256().privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    const pem = openssl({ key }, 'req', '-new', '-key', '{key}', '-subj', '/CN=x', ...args);
    if (refusal === undefined) await issue(pem);
    else expect(await codeOf(() => issue(pem))).toBe(refusal);
  });

  it('with an RSA key are refused', async () => {
    const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const pem = openssl(
      { key: key.export({ format: 'pem', type: 'pkcs8' }) },
      'req',
      '-new',
      '-key',
      '{key}',
      '-subj',
      '/CN=x',
    );
    expect(await codeOf(() => issue(pem))).toBe('CA_KEY_REFUSED');
  });

  it('for a key that the sender does not hold are refused', async () => {
    const victim = p256();
    const attacker = p256();
    const csr = Buffer.from(await createCsr(attacker.privateKey));
    const theirs = attacker.publicKey.export({ format: 'der', type: 'spki' });
    const swapped = Buffer.from(csr);
    victim.publicKey.export({ format: 'der', type: 'spki' }).copy(swapped, csr.indexOf(theirs));
    expect(await codeOf(() => issue(swapped))).toBe('CA_CSR_SIGNATURE');
  });

  it.each([
    ['empty', ''],
    ['of another type', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
    ['not PEM', 'hello'],
    ['too large', new Uint8Array(9000)],
    ['huge PEM', '-'.repeat(1_000_000)],
    ['empty DER', new Uint8Array()],
  ])('that are %s are refused', async (_, csr) => {
    expect(await codeOf(() => issue(csr))).toBe('CA_CSR_MALFORMED');
  });

  it('that are random bytes are refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await expect(issue(bytes)).rejects.toBeInstanceOf(CaError);
      }),
      { numRuns: 500 },
    );
  });

  it('with any one byte changed, cut or added are refused with a code', async () => {
    const good = await createCsr(p256().privateKey);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = good.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        for (const bad of [changed, good.subarray(0, at), Uint8Array.from([...good, flip])]) {
          await expect(issue(bad)).rejects.toBeInstanceOf(CaError);
        }
      }),
      { numRuns: 300 },
    );
  });
});
