import { createPublicKey } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, importJWK, jwtVerify } from 'jose';
import { describe, expect, it } from 'vitest';
import { SpiffeCA, memoryStore } from 'meshwright/ca';
import type { CaEvent } from 'meshwright/ca';
import { TrustBundle, keyThumbprint, verifyJwtSvid, verifyWorkloadToken } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { codeOf, p256, workload } from './support.js';

const clock = new FakeClock();
const events: CaEvent[] = [];
const caReady = SpiffeCA.create({ trustDomain: 'cluster.local', clock, observer: (event) => void events.push(event) });

describe('JwtSvidIssuer', () => {
  it('issues what verifyJwtSvid accepts, for this audience and five minutes', async () => {
    const ca = await caReady;
    const { token, expiresAt, spiffeId } = await ca.jwtSvids().issue({ spiffeId: workload, audience: 'orders' });
    const expected = { bundle: ca.bundle.current, audience: 'orders', now: clock.now() };
    const verified = await verifyJwtSvid(token, expected);
    expect(verified.spiffeId.toString()).toBe(workload);
    expect(verified.expiresAt).toEqual(expiresAt);
    expect(spiffeId.toString()).toBe(workload);
    expect(expiresAt.getTime()).toBe(clock.now() + 300_000);
    expect(await codeOf(() => verifyJwtSvid(token, { ...expected, audience: 'other' }))).toBe('SPIFFE_JWT_AUDIENCE');
    expect(await codeOf(() => verifyJwtSvid(token, { ...expected, now: expiresAt.getTime() }))).toBe(
      'SPIFFE_JWT_EXPIRED',
    );
    expect(events.at(-1)).toEqual({
      type: 'ca-jwt-svid-issued',
      spiffeId: workload,
      audience: ['orders'],
      jti: verified.claims['jti'],
      expiresAt,
    });
    expect(JSON.stringify(events)).not.toContain(token.split('.')[2]);
  });

  it('writes the claims of the standard and no others', async () => {
    const ca = await caReady;
    const { token } = await ca
      .jwtSvids({ ttlMs: 60_000 })
      .issue({ spiffeId: workload, audience: ['a', 'b', 'a'], ttlMs: 2500 });
    const [key] = ca.bundle.current.jwtAuthorities;
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'JWT', kid: key?.kid });
    const now = Math.floor(clock.now() / 1000);
    expect(decodeJwt(token)).toEqual({
      sub: workload,
      aud: ['a', 'b'],
      iat: now,
      exp: now + 3, // rounded up
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
  });

  it('is verified by any JWT library with the jwt-svid keys of the bundle document', async () => {
    const ca = await caReady;
    const { token } = await ca.jwtSvids().issue({ spiffeId: workload, audience: 'orders' });
    const { keys } = JSON.parse(JSON.stringify(ca.bundle.current)) as { keys: Record<string, string>[] };
    const published = keys.filter((key) => key['use'] === 'jwt-svid');
    expect(published).toHaveLength(1);
    const verified = await jwtVerify(token, await importJWK(published[0] ?? {}, 'ES256'), {
      audience: 'orders',
      currentDate: new Date(clock.now()),
    });
    expect(verified.payload.sub).toBe(workload);
  });

  it('signs with a key of its own: JWT-SVIDs and workload tokens are never taken for each other', async () => {
    const ca = await caReady;
    const bundle = ca.bundle.current;
    const jkt = keyThumbprint(p256().publicKey);
    const { token: jwtSvid } = await ca.jwtSvids().issue({ spiffeId: workload, audience: 'meshwright-tunnel' });
    const { token: workloadToken } = await ca
      .tokens({ registry: { runsOn: () => true } })
      .issue({ node: 'node-a', workload, confirmationKey: jkt });
    const common = { bundle, audience: 'meshwright-tunnel', now: clock.now() };
    expect(await codeOf(() => verifyJwtSvid(workloadToken, common))).toBe('SPIFFE_JWT_TYPE');
    expect(await codeOf(() => verifyWorkloadToken(jwtSvid, { ...common, node: 'node-a', keyThumbprint: jkt }))).toBe(
      'SPIFFE_TOKEN_TYPE',
    );
    const kids = [...bundle.jwtAuthorities, ...bundle.workloadTokenKeys].map((key) => key.kid);
    expect(new Set(kids).size).toBe(2);
    const rootKid = keyThumbprint(createPublicKey(bundle.x509AuthoritiesPem[0] ?? ''));
    expect(kids).not.toContain(rootKid);
  });

  it.each(['spiffe://other.local/ns/a/sa/b', 'spiffe://cluster.local', 'web', ''])(
    'refuses the SPIFFE ID %j',
    async (spiffeId) => {
      const issuer = (await caReady).jwtSvids();
      expect(await codeOf(() => issuer.issue({ spiffeId, audience: 'a' }))).toBe('CA_SPIFFE_ID_REFUSED');
    },
  );

  it('refuses audiences that are none, and lifetimes out of bounds', async () => {
    const ca = await caReady;
    const issuer = ca.jwtSvids();
    for (const audience of ['', [], ['a', ''], 'a'.repeat(257), Array(17).fill('a'), [1], undefined, { length: 1 }]) {
      expect(await codeOf(() => issuer.issue({ spiffeId: workload, audience: audience as never }))).toBe(
        'CA_REQUEST_INVALID',
      );
    }
    for (const ttlMs of [0, 999, 86_400_001, Number.NaN]) {
      expect(await codeOf(() => ca.jwtSvids({ ttlMs }))).toBe('CA_REQUEST_INVALID');
      expect(await codeOf(() => issuer.issue({ spiffeId: workload, audience: 'a', ttlMs }))).toBe('CA_REQUEST_INVALID');
    }
  });

  it('keeps its key in the store, and issues nothing when the CA is closed', async () => {
    const store = memoryStore();
    const first = await SpiffeCA.create({ trustDomain: 'cluster.local', store, clock });
    const issuer = first.jwtSvids();
    const { token } = await issuer.issue({ spiffeId: workload, audience: 'orders' });
    await first.close();
    expect(await codeOf(() => issuer.issue({ spiffeId: workload, audience: 'orders' }))).toBe('CA_CLOSED');
    const second = await SpiffeCA.open({ store, clock });
    const bundle = TrustBundle.parse(JSON.stringify(second.bundle.current), 'cluster.local');
    await verifyJwtSvid(token, { bundle, audience: 'orders', now: clock.now() });
    await second.close();
  });
});
