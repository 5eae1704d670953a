import { describe, expect, it } from 'vitest';
import { SpiffeCA, memoryStore } from 'meshwright/ca';
import { DenyList, TrustBundle, TrustDomain, X509Svid, verifyWorkloadToken, verifyX509Svid } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { agent, codeOf, p256, workload } from './support.js';

const registry = { runsOn: () => true };

async function svidOf(ca: SpiffeCA, spiffeId: string): Promise<X509Svid> {
  const { publicKey, privateKey } = p256();
  const { chainPem } = await ca.issueX509Svid({ spiffeId, publicKey });
  return X509Svid.fromPem({ chainPem, privateKey });
}

describe('the deny list', () => {
  it('refuses a serial number, and only that certificate', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const [stolen, other] = [await svidOf(ca, agent), await svidOf(ca, agent)];
    const verify = (svid: X509Svid): unknown =>
      verifyX509Svid({ certificates: svid.certificates, bundle: ca.bundle.current, now: Date.now() });
    // As openssl prints it.
    const value = stolen.serialNumber
      .toUpperCase()
      .padStart(32, '0')
      .replace(/(..)(?=.)/g, '$1:');
    await ca.denyList.deny({ kind: 'serial-number', value, reason: 'found on a laptop' });
    expect(await codeOf(() => verify(stolen))).toBe('SPIFFE_X509_DENIED');
    verify(other);
    expect(await ca.denyList.allow({ kind: 'serial-number', value })).toBe(true);
    verify(stolen);
    expect(await ca.denyList.allow({ kind: 'serial-number', value })).toBe(false);
  });

  it.each([
    ['spiffe-id', workload],
    ['spiffe-id', agent],
    ['node', 'node-a'],
  ] as const)('refuses %s %s: certificates, tokens, and issuing', async (kind, value) => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const svid = await svidOf(ca, value === workload ? workload : agent);
    const { keyThumbprint } = svid;
    const tokens = ca.tokens({ registry });
    const request = { node: 'node-a', workload, confirmationKey: keyThumbprint };
    const { token } = await tokens.issue(request);
    await ca.denyList.deny({ kind, value });
    // As an agent has it, after the wire.
    const bundle = TrustBundle.parse(JSON.stringify(ca.bundle.current), 'cluster.local');
    const now = Date.now();
    expect(await codeOf(() => verifyX509Svid({ certificates: svid.certificates, bundle, now }))).toBe(
      'SPIFFE_X509_DENIED',
    );
    const checks = { bundle, audience: 'meshwright-tunnel', now, node: 'node-a', keyThumbprint };
    expect(await codeOf(() => verifyWorkloadToken(token, checks))).toBe('SPIFFE_TOKEN_DENIED');
    expect(await codeOf(() => tokens.issue(request))).toBe('CA_DENIED');
    expect(await codeOf(() => svidOf(ca, svid.spiffeId.toString()))).toBe('CA_DENIED');
    const jwts = ca.jwtSvids();
    if (kind === 'spiffe-id') {
      expect(await codeOf(() => jwts.issue({ spiffeId: value, audience: 'shop' }))).toBe('CA_DENIED');
    }
    await svidOf(ca, 'spiffe://cluster.local/agent/node-b');
  });

  it.each(['090b31', '90b31', '00090b31', '09:0B:31', '0:9:0b:31'])(
    'finds the serial number 09:0b:31 written %s',
    (text) => {
      const list = DenyList.create({ serialNumbers: [text] }, TrustDomain.parse('cluster.local'));
      expect(list.serialNumbers).toEqual(['090b31']);
      for (const serialNumber of ['090b31', '90b31', '00090b31']) {
        expect(list.reasonFor({ serialNumber })).toBeDefined();
      }
      expect(list.reasonFor({ serialNumber: '90b310' })).toBeUndefined();
    },
  );

  it('refuses every certificate whose serial number it has, whatever digits that begins with', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    for (let count = 0; count < 100; count += 1) {
      const { certificates, serialNumber } = await svidOf(ca, agent);
      const denied = { serialNumbers: [serialNumber] };
      const { trustDomain, x509Authorities } = ca.bundle.current;
      const bundle = TrustBundle.create({ trustDomain, x509Authorities, denied });
      const verify = (): unknown => verifyX509Svid({ certificates, bundle, now: Date.now() });
      expect(await codeOf(verify)).toBe('SPIFFE_X509_DENIED');
    }
  });

  it('survives a restart, and drops entries whose time is over', async () => {
    const clock = new FakeClock({ start: Date.UTC(2030, 0, 1) });
    const store = memoryStore();
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock, store });
    await ca.denyList.deny({ kind: 'serial-number', value: 'ab', ttlMs: 60_000 });
    await ca.denyList.deny({ kind: 'node', value: 'node-a' });
    await ca.close();
    const again = await SpiffeCA.open({ store, clock });
    expect(again.bundle.current.denied.toJSON()).toMatchObject({ serial_numbers: ['ab'], nodes: ['node-a'] });
    clock.advance(61_000);
    await again.denyList.deny({ kind: 'node', value: 'node-b' });
    expect(again.bundle.current.denied.toJSON()).toEqual({
      serial_numbers: [],
      spiffe_ids: [],
      nodes: ['node-a', 'node-b'],
    });
  });

  it.each([
    ['serial-number', 'not hex'],
    ['serial-number', ''],
    ['spiffe-id', 'spiffe://other.example/ns/shop/sa/web'],
    ['spiffe-id', 'spiffe://cluster.local'],
    ['spiffe-id', 'web'],
    ['node', ''],
    ['node', 'a/b'],
  ] as const)('refuses to take %s %j', async (kind, value) => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    expect(await codeOf(() => ca.denyList.deny({ kind, value }))).toBe('CA_REQUEST_INVALID');
  });

  it('is refused as a whole when it does not parse', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const document = JSON.parse(JSON.stringify(ca.bundle.current)) as Record<string, unknown>;
    for (const meshwright_denied of [
      null,
      [],
      { nodes: ['a'] },
      { serial_numbers: ['zz'], spiffe_ids: [], nodes: [] },
    ]) {
      const parse = (): unknown => TrustBundle.parse({ ...document, meshwright_denied }, 'cluster.local');
      expect(await codeOf(parse)).toBe('SPIFFE_BUNDLE_MALFORMED');
    }
  });
});
