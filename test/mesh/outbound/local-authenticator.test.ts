import { beforeEach, describe, expect, it } from 'vitest';
import { LatestValueCell } from '../../../src/core/index.js';
import { EvidenceStore, LocalAuthenticator } from '../../../src/mesh/index.js';
import { SpiffeId, TrustBundle } from '../../../src/spiffe/index.js';
import type { X509Svid } from '../../../src/spiffe/index.js';
import { FakeClock, TestCa } from '../../../src/testing/index.js';

const web = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');
const clock = new FakeClock();
const ca = TestCa.create({ clock });
let svid: LatestValueCell<X509Svid>;
let bundle: LatestValueCell<TrustBundle>;
let evidence: EvidenceStore;
let issue: (keyThumbprint: string) => Promise<string>;
let local: LocalAuthenticator;

beforeEach(() => {
  svid = new LatestValueCell(ca.svid('spiffe://cluster.local/agent/node-a', { ttlMs: 7_200_000 }));
  bundle = new LatestValueCell(ca.bundle);
  evidence = new EvidenceStore({ clock });
  issue = (keyThumbprint) => Promise.resolve(ca.token({ workload: web, node: 'node-a', keyThumbprint }));
  const tokens = { token: (_workload: SpiffeId, options: { keyThumbprint: string }) => issue(options.keyThumbprint) };
  local = new LocalAuthenticator({ svid, bundle, tokens, evidence, clock });
});

describe('LocalAuthenticator', () => {
  it('accepts a workload with a token bound to this agent, and records the evidence', async () => {
    expect(await local.authenticate(web)).toMatchObject({ principal: web, node: 'node-a', via: 'local' });
    expect(evidence.expiresAtMs({ node: 'node-a', principal: web.toString() })).toBeGreaterThan(clock.now());
  });

  it.each<[string, () => Promise<string>]>([
    ['none can be had', () => Promise.reject(new Error('the controller is away'))],
    [
      'it is for another workload',
      () =>
        Promise.resolve(
          ca.token({
            workload: 'spiffe://cluster.local/ns/shop/sa/db',
            node: 'node-a',
            keyThumbprint: svid.current.keyThumbprint,
          }),
        ),
    ],
    [
      'it is bound to another key',
      () => Promise.resolve(ca.token({ workload: web, node: 'node-a', keyThumbprint: 'A'.repeat(43) })),
    ],
    [
      'it is of another node',
      () => Promise.resolve(ca.token({ workload: web, node: 'node-b', keyThumbprint: svid.current.keyThumbprint })),
    ],
    [
      'it has expired',
      () =>
        Promise.resolve(
          ca.token({ workload: web, node: 'node-a', keyThumbprint: svid.current.keyThumbprint, ttlMs: -600_000 }),
        ),
    ],
  ])('refuses when the token is bad: %s', async (_what, make) => {
    issue = make;
    expect(await local.authenticate(web)).toMatchObject({ refused: 'source-unauthenticated' });
    expect(evidence.expiresAtMs({ node: 'node-a', principal: web.toString() })).toBe(0);
  });

  it('refuses with an SVID that has ended, or that is no agent', async () => {
    clock.advance(7_300_000);
    expect(await local.authenticate(web)).toMatchObject({ refused: 'source-unauthenticated' });
    svid.set(ca.svid('spiffe://cluster.local/ns/shop/sa/web'));
    expect(await local.authenticate(web)).toMatchObject({ refused: 'source-unauthenticated' });
  });

  it('refuses with an SVID that no peer would take: on the deny list, or of a root that was dropped', async () => {
    expect(await local.authenticate(web)).toMatchObject({ via: 'local' });
    const { x509Authorities, workloadTokenKeys } = ca.bundle;
    const keys = { trustDomain: ca.trustDomain, workloadTokenKeys };
    const denied = { serialNumbers: [svid.current.serialNumber] };
    for (const next of [
      { ...keys, x509Authorities, denied },
      { ...keys, x509Authorities: TestCa.create({ clock }).bundle.x509Authorities },
    ]) {
      bundle.set(TrustBundle.create(next));
      expect(await local.authenticate(web)).toMatchObject({ refused: 'source-unauthenticated' });
    }
    bundle.set(ca.bundle);
    expect(await local.authenticate(web)).toMatchObject({ via: 'local' });
  });

  it('does not trust its memory beyond the bundle, the key or the expiry', async () => {
    const kept = await issue(svid.current.keyThumbprint);
    issue = () => Promise.resolve(kept);
    expect(await local.authenticate(web)).toMatchObject({ via: 'local' });
    svid.set(ca.svid('spiffe://cluster.local/agent/node-a', { ttlMs: 7_200_000 }));
    expect(await local.authenticate(web)).toMatchObject({ refused: 'source-unauthenticated' });
    issue = (keyThumbprint) => Promise.resolve(ca.token({ workload: web, node: 'node-a', keyThumbprint }));
    expect(await local.authenticate(web)).toMatchObject({ via: 'local' });
    bundle.set(TestCa.create({ clock }).bundle);
    expect(await local.authenticate(web)).toMatchObject({ refused: 'source-unauthenticated' });
  });
});
