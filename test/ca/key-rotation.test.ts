import { describe, expect, it } from 'vitest';
import { SpiffeCA, memoryStore } from 'meshwright/ca';
import type { CaStore } from 'meshwright/ca';
import { X509Svid, verifyWorkloadToken, verifyX509Svid } from 'meshwright/spiffe';
import type { TrustBundle } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { agent, codeOf, p256, workload } from './support.js';

const hourMs = 3_600_000;
const registry = { runsOn: () => true };

async function issue(ca: SpiffeCA, ttlMs = hourMs): Promise<X509Svid> {
  const { publicKey, privateKey } = p256();
  const { chainPem } = await ca.issueX509Svid({ spiffeId: agent, publicKey, ttlMs });
  return X509Svid.fromPem({ chainPem, privateKey });
}

const accepted = (svid: X509Svid, bundle: TrustBundle, now: number): boolean => {
  try {
    verifyX509Svid({ certificates: svid.certificates, bundle, now });
    return true;
  } catch {
    return false;
  }
};

describe('rotation of the root', () => {
  it('refuses nothing valid from its first step to its last', async () => {
    const clock = new FakeClock({ start: Date.UTC(2030, 0, 1) });
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock, svidTtlMs: hourMs });
    const first = ca.rootPin;
    const old = await issue(ca);
    const seen: TrustBundle[] = [ca.bundle.current];
    ca.bundle.subscribe((bundle) => seen.push(bundle));

    expect(await ca.rootRotation.prepare({ keyType: 'P-384' })).toMatchObject({ phase: 'prepared', active: first });
    const published = ca.bundle.current;
    expect(published.x509Authorities).toHaveLength(2);
    expect(ca.rootPin).toBe(first);
    expect(await codeOf(() => ca.rootRotation.activate())).toBe('CA_ROTATION_NOT_READY');

    clock.advance(1.2 * hourMs);
    expect(await ca.rootRotation.activate()).toMatchObject({ phase: 'activated', outgoing: first });
    expect(ca.rootPin).not.toBe(first);
    // Whoever has the bundle of before, or of now, accepts what the new root signs.
    const young = await issue(ca);
    for (const bundle of [published, ca.bundle.current]) expect(accepted(young, bundle, clock.now())).toBe(true);

    await ca.rootRotation.retire();
    expect(ca.rootRotation.status.phase).toBe('steady');
    expect(ca.bundle.current.x509Authorities).toHaveLength(1);
    expect(accepted(young, ca.bundle.current, clock.now())).toBe(true);
    expect(accepted(old, ca.bundle.current, Date.UTC(2030, 0, 1))).toBe(false);
    expect(seen.map(({ sequence }) => sequence)).toEqual([...seen.keys()].map((index) => index + 1));
  });

  it('does not retire a root while a leaf of it lives, unless forced', async () => {
    const clock = new FakeClock({ start: Date.UTC(2030, 0, 1) });
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
    await ca.rootRotation.prepare();
    const late = await issue(ca, 5 * hourMs);
    await ca.rootRotation.activate();
    expect(await codeOf(() => ca.rootRotation.retire())).toBe('CA_ROTATION_NOT_READY');
    expect(accepted(late, ca.bundle.current, clock.now())).toBe(true);
    await ca.rootRotation.retire({ force: true, reason: 'the old key was stolen' });
    expect(accepted(late, ca.bundle.current, clock.now())).toBe(false);
  });

  it('takes its steps in order only', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const rotation = ca.rootRotation;
    for (const step of ['activate', 'retire', 'cancel'] as const) {
      expect(await codeOf(() => rotation[step]({ force: true }))).toBe('CA_ROTATION_PHASE');
    }
    await rotation.prepare();
    expect(await codeOf(() => rotation.prepare())).toBe('CA_ROTATION_PHASE');
    expect(await codeOf(() => rotation.retire({ force: true }))).toBe('CA_ROTATION_PHASE');
    await rotation.cancel();
    expect(rotation.status.phase).toBe('steady');
    await rotation.prepare();
    await rotation.activate();
    for (const step of ['prepare', 'activate', 'cancel'] as const) {
      expect(await codeOf(() => rotation[step]())).toBe('CA_ROTATION_PHASE');
    }
  });

  it('goes on after a crash before or after the write of any step', async () => {
    const inner = memoryStore();
    let crash: 'before' | 'after' | undefined;
    const store: CaStore = {
      ...inner,
      write: async (name, bytes) => {
        if (crash === 'before') throw new Error('crash');
        await inner.write(name, bytes);
        if (crash === 'after') throw new Error('crash');
      },
    };
    await (await SpiffeCA.create({ trustDomain: 'cluster.local', store })).close();
    const phases = ['steady', 'prepared', 'activated', 'steady'] as const;
    const steps = ['prepare', 'activate', 'retire'] as const;
    for (const kind of ['rootRotation', 'tokenKeyRotation', 'jwtKeyRotation'] as const) {
      for (const [index, step] of steps.entries()) {
        for (const when of ['before', 'after'] as const) {
          const ca = await SpiffeCA.open({ store });
          const status = ca[kind].status;
          expect(status.phase).toBe(phases[index]);
          crash = when;
          await expect(ca[kind][step]({ force: true })).rejects.toThrow('crash');
          crash = undefined;
          // Nothing changed for this process, whatever the store has.
          expect(ca[kind].status).toEqual(status);
          await ca.close();
        }
        const ca = await SpiffeCA.open({ store });
        expect(ca[kind].status.phase).toBe(phases[index + 1]);
        expect(accepted(await issue(ca), ca.bundle.current, Date.now())).toBe(true);
        await ca.close();
      }
    }
  });

  it('counts a certificate before it is signed, so that a crash never forgets one', async () => {
    const clock = new FakeClock({ start: Date.UTC(2030, 0, 1) });
    const store = memoryStore();
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock, store });
    await issue(ca, 5 * hourMs);
    await ca.close();
    const again = await SpiffeCA.open({ store, clock });
    await again.rootRotation.prepare();
    expect(again.rootRotation.status.readyAt?.getTime()).toBeGreaterThanOrEqual(clock.now() + 5 * hourMs);
  });
});

it('rotation of the token key refuses no valid token, and none of a retired key', async () => {
  const clock = new FakeClock({ start: Date.UTC(2030, 0, 1) });
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
  const tokens = ca.tokens({ registry, ttlMs: hourMs });
  const { keyThumbprint } = await issue(ca);
  const request = { node: 'node-a', workload, confirmationKey: keyThumbprint };
  const verify = (token: string, bundle: TrustBundle): Promise<unknown> =>
    verifyWorkloadToken(token, {
      bundle,
      audience: 'meshwright-tunnel',
      now: clock.now(),
      node: 'node-a',
      keyThumbprint,
    });
  const { token: old } = await tokens.issue(request);
  await ca.tokenKeyRotation.prepare();
  const published = ca.bundle.current;
  expect(await codeOf(() => ca.tokenKeyRotation.activate())).toBe('CA_ROTATION_NOT_READY');
  await ca.tokenKeyRotation.activate({ force: true });
  const { token: young } = await tokens.issue(request);
  await verify(old, ca.bundle.current);
  await verify(young, published);
  await verify(young, ca.bundle.current);
  expect(await codeOf(() => ca.tokenKeyRotation.retire())).toBe('CA_ROTATION_NOT_READY');
  await ca.tokenKeyRotation.retire({ force: true });
  await verify(young, ca.bundle.current);
  expect(await codeOf(() => verify(old, ca.bundle.current))).toBe('SPIFFE_TOKEN_SIGNATURE');
});
