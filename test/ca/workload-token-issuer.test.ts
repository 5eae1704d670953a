import { decodeJwt, decodeProtectedHeader } from 'jose';
import { describe, expect, it } from 'vitest';
import { SpiffeCA } from 'meshwright/ca';
import type { WorkloadRegistry } from 'meshwright/ca';
import { keyThumbprint, verifyWorkloadToken } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { codeOf, p256, workload } from './support.js';

const clock = new FakeClock();
const caReady = SpiffeCA.create({ trustDomain: 'cluster.local', clock });
const onNodeA: WorkloadRegistry = { runsOn: (node, id) => node === 'node-a' && id.toString() === workload };

describe('WorkloadTokenIssuer', () => {
  it('issues what verifyWorkloadToken accepts, for this node, key and hour only', async () => {
    const ca = await caReady;
    const { publicKey } = p256();
    const jkt = keyThumbprint(publicKey);
    const { token, expiresAt } = await ca
      .tokens({ registry: onNodeA })
      .issue({ node: 'node-a', workload, confirmationKey: publicKey });
    const expected = {
      bundle: ca.bundle.current,
      audience: 'meshwright-tunnel',
      now: clock.now(),
      node: 'node-a',
      keyThumbprint: jkt,
    };
    const verified = await verifyWorkloadToken(token, expected);
    expect(verified.workload.toString()).toBe(workload);
    expect(verified.expiresAt).toEqual(expiresAt);
    expect(expiresAt.getTime()).toBe(clock.now() + 3_600_000);
    const others = [
      [{ node: 'node-b' }, 'SPIFFE_TOKEN_NODE_MISMATCH'],
      [{ keyThumbprint: keyThumbprint(p256().publicKey) }, 'SPIFFE_TOKEN_KEY_MISMATCH'],
      [{ audience: 'another' }, 'SPIFFE_TOKEN_AUDIENCE'],
      [{ now: clock.now() + 3_600_000 }, 'SPIFFE_TOKEN_EXPIRED'],
    ] as const;
    for (const [change, code] of others) {
      expect(await codeOf(() => verifyWorkloadToken(token, { ...expected, ...change }))).toBe(code);
    }
  });

  it('writes the claims of the protocol and no others', async () => {
    const ca = await caReady;
    const jkt = keyThumbprint(p256().publicKey);
    const issuer = ca.tokens({ registry: onNodeA, ttlMs: 2500, audience: 'elsewhere' });
    const { token } = await issuer.issue({ node: 'node-a', workload, confirmationKey: jkt });
    const [key] = ca.bundle.current.workloadTokenKeys;
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'meshwright-workload+jwt', kid: key?.kid });
    const now = Math.floor(clock.now() / 1000);
    expect(decodeJwt(token)).toEqual({
      iss: 'spiffe://cluster.local',
      sub: workload,
      aud: 'elsewhere',
      node: 'node-a',
      cnf: { jkt },
      iat: now,
      nbf: now,
      exp: now + 3, // rounded up
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
  });

  it('works at the longest lifetime a receiver takes', async () => {
    const ca = await caReady;
    const jkt = keyThumbprint(p256().publicKey);
    clock.advance(123);
    const issuer = ca.tokens({ registry: onNodeA, ttlMs: 86_400_000 });
    const { token } = await issuer.issue({ node: 'node-a', workload, confirmationKey: jkt });
    const options = { bundle: ca.bundle.current, audience: 'meshwright-tunnel', now: clock.now(), node: 'node-a' };
    await verifyWorkloadToken(token, { ...options, keyThumbprint: jkt });
  });

  it.each([
    ['another node', { runsOn: (node: string) => node === 'node-b' }, 'CA_WORKLOAD_NOT_ON_NODE'],
    ['nothing known', { runsOn: () => false }, 'CA_WORKLOAD_NOT_ON_NODE'],
    ['something truthy', { runsOn: () => 1 as unknown as boolean }, 'CA_WORKLOAD_NOT_ON_NODE'],
    ['a registry that throws', { runsOn: () => Promise.reject(new Error('down')) }, 'CA_REGISTRY_FAILED'],
  ] as const)('refuses for %s', async (_, registry, code) => {
    const issuer = (await caReady).tokens({ registry });
    const request = { node: 'node-a', workload, confirmationKey: p256().publicKey };
    expect(await codeOf(() => issuer.issue(request))).toBe(code);
  });

  it.each([
    'spiffe://cluster.local/agent/node-a',
    'spiffe://cluster.local/controller',
    'spiffe://other.local/ns/shop/sa/web',
    'spiffe://cluster.local/ns/shop/sa/web/more',
    'web',
    '',
  ])('refuses for %j, whatever the registry says', async (id) => {
    const issuer = (await caReady).tokens({ registry: { runsOn: () => true } });
    const request = { node: 'node-a', workload: id, confirmationKey: p256().publicKey };
    expect(await codeOf(() => issuer.issue(request))).toBe('CA_SPIFFE_ID_REFUSED');
  });

  it('refuses node names and thumbprints that are none, and lifetimes out of bounds', async () => {
    const ca = await caReady;
    const issuer = ca.tokens({ registry: { runsOn: () => true } });
    const confirmationKey = keyThumbprint(p256().publicKey);
    for (const request of [
      { node: 'a/b', confirmationKey },
      { node: '', confirmationKey },
      { node: 'node-a', confirmationKey: confirmationKey.slice(1) },
      { node: 'node-a', confirmationKey: `${confirmationKey.slice(1)}=` },
    ]) {
      expect(await codeOf(() => issuer.issue({ ...request, workload }))).toBe('CA_REQUEST_INVALID');
    }
    for (const ttlMs of [0, 999, 86_400_001, Number.NaN]) {
      expect(await codeOf(() => ca.tokens({ registry: onNodeA, ttlMs }))).toBe('CA_REQUEST_INVALID');
    }
  });
});
