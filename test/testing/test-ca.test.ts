import { describe, expect, test } from 'vitest';
import { SpiffeId, verifyWorkloadToken, verifyX509Svid } from '../../src/spiffe/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { TestCa } from '../../src/testing/test-ca.js';
import { testCertificateDefects } from '../../src/testing/test-certificate-defects.js';

const id = 'spiffe://mesh.test/agent/node-a';

describe('TestCa', () => {
  test('lives by its clock', () => {
    const clock = new FakeClock();
    const ca = TestCa.create({ trustDomain: 'mesh.test', clock });
    const svid = ca.svid(id, { ttlMs: 10_000 });
    const verify = () => verifyX509Svid({ certificates: svid.certificates, bundle: ca.bundle, now: clock.now() });
    expect(verify().spiffeId.toString()).toBe(id);
    clock.advance(10_000);
    expect(verify).toThrow(expect.objectContaining({ code: 'SPIFFE_X509_EXPIRED' }));
  });

  test('hands out tokens for what asks', async () => {
    const clock = new FakeClock();
    const ca = TestCa.create({ trustDomain: 'mesh.test', clock });
    const { keyThumbprint } = ca.svid(id);
    const workload = SpiffeId.parse('spiffe://mesh.test/ns/shop/sa/web');
    const token = await ca.tokenSource('node-a').token(workload, { keyThumbprint });
    const expected = { bundle: ca.bundle, audience: 'meshwright-tunnel', now: clock.now(), node: 'node-a' };
    const verified = await verifyWorkloadToken(token, { ...expected, keyThumbprint });
    expect(verified.workload.equals(workload)).toBe(true);
  });

  test('two CAs of one name trust nothing of each other', () => {
    const [a, b] = [TestCa.create(), TestCa.create()];
    const { certificates } = a.svid('spiffe://cluster.local/agent/a');
    expect(() => verifyX509Svid({ certificates, bundle: b.bundle, now: Date.now() })).toThrow(
      expect.objectContaining({ code: 'SPIFFE_X509_SIGNATURE' }),
    );
  });

  test('every defect has a certificate with its key, on the clock of its CA', () => {
    const ca = TestCa.create({ trustDomain: 'mesh.test', clock: new FakeClock(), intermediate: true });
    for (const [name, { code, issue }] of Object.entries(testCertificateDefects)) {
      const { certificates, privateKeyPem, chainPem } = issue(ca, id);
      expect(privateKeyPem).toMatch(/^-----BEGIN PRIVATE KEY-----/);
      expect(chainPem.match(/BEGIN CERTIFICATE/g)).toHaveLength(certificates.length);
      const verify = () => verifyX509Svid({ certificates, bundle: ca.bundle, now: ca.now() });
      expect(verify, name).toThrow(expect.objectContaining({ code }));
    }
  });
});
