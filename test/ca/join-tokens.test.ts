import { describe, expect, it } from 'vitest';
import { SpiffeCA, matchesRootPin, memoryStore } from 'meshwright/ca';
import type { CaStore, JoinTokens } from 'meshwright/ca';
import { FakeClock } from 'meshwright/testing';
import { codeOf, p256 } from './support.js';

interface Setup {
  readonly ca: SpiffeCA;
  readonly joinTokens: JoinTokens;
  readonly clock: FakeClock;
  readonly store: CaStore;
}

async function setup(): Promise<Setup> {
  const clock = new FakeClock();
  const store = memoryStore();
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock, store });
  return { ca, joinTokens: await ca.joinTokens(), clock, store };
}

describe('JoinTokens', () => {
  it('stand for one node, and come with the pin of the root', async () => {
    const { ca, joinTokens, clock } = await setup();
    const made = await joinTokens.create({ node: 'node-a', ttlMs: 60_000 });
    expect(made).toMatchObject({ node: 'node-a', rootPin: ca.rootPin, expiresAt: new Date(clock.now() + 60_000) });
    expect(made.rootPin).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(joinTokens.check(made.token).agent.toString()).toBe('spiffe://cluster.local/agent/node-a');
    expect((await joinTokens.redeem(made.token)).node).toBe('node-a');
  });

  it('are used once, also by two at the same moment', async () => {
    const { joinTokens } = await setup();
    const { token } = await joinTokens.create({ node: 'node-a' });
    const outcomes = await Promise.allSettled([joinTokens.redeem(token), joinTokens.redeem(token)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await codeOf(() => joinTokens.check(token))).toBe('CA_JOIN_TOKEN_USED');
  });

  it('end', async () => {
    const { joinTokens, clock } = await setup();
    const { token } = await joinTokens.create({ node: 'node-a', ttlMs: 5000 });
    clock.advance(4999);
    joinTokens.check(token);
    clock.advance(1);
    expect(await codeOf(() => joinTokens.redeem(token))).toBe('CA_JOIN_TOKEN_EXPIRED');
  });

  it('survive a restart, used ones as used', async () => {
    const { ca, joinTokens, store, clock } = await setup();
    const [used, fresh] = [await joinTokens.create({ node: 'node-a' }), await joinTokens.create({ node: 'node-b' })];
    await joinTokens.redeem(used.token);
    await ca.close();
    const again = await (await SpiffeCA.open({ store, clock })).joinTokens();
    expect(await codeOf(() => again.redeem(used.token))).toBe('CA_JOIN_TOKEN_USED');
    expect((await again.redeem(fresh.token)).node).toBe('node-b');
  });

  it('are kept as hashes', async () => {
    const { joinTokens, store } = await setup();
    const { token } = await joinTokens.create({ node: 'node-a' });
    const kept = Buffer.from((await store.read('join-tokens')) ?? []).toString('utf8');
    const [id = '', secret = ''] = token.split('.');
    expect(kept).toContain(id);
    expect(kept).not.toContain(secret);
  });

  it('are not accepted unless every byte is right', async () => {
    const { joinTokens } = await setup();
    const { token } = await joinTokens.create({ node: 'node-a' });
    const other = await joinTokens.create({ node: 'node-b' });
    const wrong = [
      '',
      'x',
      token.slice(0, -1),
      `${token}x`,
      ` ${token}`,
      `${token.slice(0, 13)}${other.token.slice(13)}`,
      token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A'),
      '.'.repeat(57),
      'A'.repeat(1_000_000),
    ];
    for (const bad of wrong) expect(await codeOf(() => joinTokens.redeem(bad))).toBe('CA_JOIN_TOKEN_UNKNOWN');
    await joinTokens.redeem(token);
  });

  it('stay used when the store fails, rather than come back', async () => {
    const memory = memoryStore();
    let full = false;
    const store: CaStore = {
      ...memory,
      write: (name, bytes) => (full ? Promise.reject(new Error('disk full')) : memory.write(name, bytes)),
    };
    const joinTokens = await (await SpiffeCA.create({ trustDomain: 'cluster.local', store })).joinTokens();
    const { token } = await joinTokens.create({ node: 'node-a' });
    full = true;
    await expect(joinTokens.redeem(token)).rejects.toThrow('disk full');
    full = false;
    expect(await codeOf(() => joinTokens.redeem(token))).toBe('CA_JOIN_TOKEN_USED');
  });

  it('are forgotten a day after their end', async () => {
    const { joinTokens, clock } = await setup();
    const { token } = await joinTokens.create({ node: 'node-a', ttlMs: 1000 });
    clock.advance(25 * 3_600_000);
    await joinTokens.create({ node: 'node-b' });
    expect(await codeOf(() => joinTokens.check(token))).toBe('CA_JOIN_TOKEN_UNKNOWN');
  });

  it.each(['', 'a/b', '..', 'a b', 'ä', '../controller'])('are not made for a node called %j', async (node) => {
    const { joinTokens } = await setup();
    expect(await codeOf(() => joinTokens.create({ node }))).toBe('CA_REQUEST_INVALID');
  });

  it.each([0, 999, Number.NaN, 31 * 86_400_000])('are not made for %s ms', async (ttlMs) => {
    const { joinTokens } = await setup();
    expect(await codeOf(() => joinTokens.create({ node: 'node-a', ttlMs }))).toBe('CA_REQUEST_INVALID');
  });
});

describe('root pins', () => {
  it('match one key', async () => {
    const { ca } = await setup();
    const [root] = ca.bundle.current.x509Authorities;
    if (root === undefined) throw new Error('no root');
    expect(matchesRootPin(root.publicKey, ca.rootPin)).toBe(true);
    expect(matchesRootPin(p256().publicKey, ca.rootPin)).toBe(false);
  });

  it.each(['', 'sha256:', `sha256:${'A'.repeat(64)}`, `sha1:${'a'.repeat(40)}`, 'a'.repeat(64)])(
    'are refused as %j, not taken for a mismatch',
    async (pin) => {
      expect(await codeOf(() => matchesRootPin(p256().publicKey, pin))).toBe('CA_REQUEST_INVALID');
    },
  );
});
