import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LatestValueCell } from '../../../src/core/index.js';
import { EvidenceStore, PeerAuthenticator } from '../../../src/mesh/index.js';
import { SpiffeId, workloadTokenHeader } from '../../../src/spiffe/index.js';
import type { X509Svid, TrustBundle } from '../../../src/spiffe/index.js';
import { FakeClock, TestCa } from '../../../src/testing/index.js';
import type { TunnelPeer } from '../../../src/tunnel/index.js';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
let clock: FakeClock;
let ca: TestCa;
let svid: X509Svid;
let bundle: LatestValueCell<TrustBundle>;
let evidence: EvidenceStore;
let authenticator: PeerAuthenticator;

beforeAll(() => {
  clock = new FakeClock();
  ca = TestCa.create({ clock });
  svid = ca.svid('spiffe://cluster.local/agent/node-a');
});
beforeEach(() => {
  bundle = new LatestValueCell(ca.bundle);
  evidence = new EvidenceStore({ clock });
  authenticator = new PeerAuthenticator({ bundle, evidence, clock, knowsNode: (node) => node === 'node-a' });
});

const peer = (changes: Partial<TunnelPeer> = {}): TunnelPeer => ({
  spiffeId: svid.spiffeId,
  keyThumbprint: svid.keyThumbprint,
  notAfter: new Date(clock.now() + 3_600_000),
  serialNumber: svid.serialNumber,
  remoteAddress: { ip: '172.30.0.11', port: 40_000 },
  ...changes,
});
const token = (changes: Partial<Parameters<TestCa['token']>[0]> = {}): string =>
  ca.token({ workload: web, node: 'node-a', keyThumbprint: svid.keyThumbprint, ...changes });
const ask = async (value: string | undefined, session: object = {}, from = peer()): Promise<unknown> => {
  const headers = value === undefined ? {} : { [workloadTokenHeader]: value };
  const outcome = await authenticator.authenticate(from, session, headers);
  return 'refused' in outcome ? outcome.refused : outcome.principal?.toString();
};

describe('PeerAuthenticator', () => {
  it('accepts a token bound to this very peer, and records both pieces of evidence', async () => {
    expect(await ask(token())).toBe(web);
    expect(evidence.expiresAtMs({ node: 'node-a', principal: web })).toBeGreaterThan(clock.now());
  });

  it.each([
    ['no token', () => undefined, 'token-missing'],
    ['an empty one', () => '', 'token-missing'],
    ['two', () => `${token()}, ${token()}`, 'token-repeated'],
    ['garbage', () => 'x.y.z', 'token-malformed'],
    ['one for another audience', () => token({ audience: 'other' }), 'token-audience'],
    ['an expired one', () => token({ ttlMs: -600_000 }), 'token-expired'],
    ["another node's", () => token({ node: 'node-b' }), 'token-node-mismatch'],
    ['one bound to another key', () => token({ keyThumbprint: 'A'.repeat(43) }), 'token-key-mismatch'],
    [
      "one of another mesh's CA",
      () => TestCa.create({ clock }).token({ workload: web, node: 'node-a', keyThumbprint: svid.keyThumbprint }),
      'token-signature',
    ],
    ['one for an agent', () => token({ workload: 'spiffe://cluster.local/agent/node-a' }), 'token-subject'],
    ['one that never ends', () => token({ ttlMs: 365 * 86_400_000 }), 'token-lifetime'],
  ])('refuses %s with a reason of its own', async (_what, make, reason) => {
    expect(await ask(make())).toBe(reason);
    expect(evidence.expiresAtMs({ node: 'node-a', principal: web })).toBe(0);
  });

  it('refuses a node the snapshot does not know, whatever token it has', async () => {
    expect(await ask(token(), {}, peer({ spiffeId: SpiffeId.parse('spiffe://cluster.local/agent/node-x') }))).toBe(
      'peer-node-unknown',
    );
  });

  it('refuses what is no agent, unless workload SVIDs are accepted; then the certificate is the evidence', async () => {
    const workload = peer({ spiffeId: SpiffeId.parse(web) });
    expect(await ask(token(), {}, workload)).toBe('peer-not-an-agent');
    expect(await ask(token(), {}, peer({ spiffeId: SpiffeId.parse('spiffe://cluster.local/controller') }))).toBe(
      'peer-not-an-agent',
    );
    authenticator = new PeerAuthenticator({
      bundle,
      evidence,
      clock,
      knowsNode: () => true,
      acceptWorkloadSvids: true,
    });
    expect(await ask(undefined, {}, workload)).toBe(web);
    expect(await ask(token(), {}, peer({ spiffeId: SpiffeId.parse('spiffe://cluster.local/controller') }))).toBe(
      'peer-not-an-agent',
    );
  });

  it('answers at once for a token the session has shown before, and only for that session', async () => {
    const session = {};
    const headers = { [workloadTokenHeader]: token() };
    await authenticator.authenticate(peer(), session, headers);
    expect(authenticator.authenticate(peer(), session, headers)).not.toBeInstanceOf(Promise);
    expect(authenticator.authenticate(peer(), {}, headers)).toBeInstanceOf(Promise);
    // The same token from a peer with another key is never taken from a cache.
    expect(await ask(headers[workloadTokenHeader], {}, peer({ keyThumbprint: 'B'.repeat(43) }))).toBe(
      'token-key-mismatch',
    );
  });

  it('verifies anew when the bundle changed: a key that was withdrawn is worth nothing', async () => {
    const session = {};
    const value = token();
    expect(await ask(value, session)).toBe(web);
    bundle.set(TestCa.create({ clock }).bundle);
    expect(await ask(value, session)).toBe('token-signature');
  });

  it('verifies again when the bundle changed while it verified, and records nothing of what was withdrawn', async () => {
    const asked = ask(token());
    bundle.set(TestCa.create({ clock }).bundle);
    expect(await asked).toBe('token-signature');
    expect(evidence.expiresAtMs({ node: 'node-a', principal: web })).toBe(0);
  });

  it('refuses a cached token once it has expired', async () => {
    const session = {};
    const value = token({ ttlMs: 60_000 });
    expect(await ask(value, session)).toBe(web);
    clock.advance(600_000);
    expect(await ask(value, session)).toBe('token-expired');
  });

  it('remembers a bounded number of tokens of a session, the newest', async () => {
    const session = {};
    const values = Array.from({ length: 515 }, (_each, index) =>
      token({ workload: `spiffe://cluster.local/ns/shop/sa/w${String(index)}` }),
    );
    for (const value of values) await ask(value, session);
    const cached = (value: string | undefined): boolean =>
      !(authenticator.authenticate(peer(), session, { [workloadTokenHeader]: value ?? '' }) instanceof Promise);
    expect([cached(values[0]), cached(values.at(-1))]).toEqual([false, true]);
  });
});
