import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EvidenceStore } from '../../src/mesh/index.js';
import { FakeClock } from '../../src/testing/index.js';

const node = 'node-a';
const principal = 'spiffe://cluster.local/ns/shop/sa/web';
const key = { node, principal };
const setUp = () => {
  const clock = new FakeClock();
  const store = new EvidenceStore({ clock });
  const at = (ms: number): Date => new Date(clock.now() + ms);
  return { clock, store, at };
};

describe('EvidenceStore', () => {
  it('takes a source it never heard of as expired', () => {
    const { clock, store } = setUp();
    let expired = 0;
    store.watch(key, () => (expired += 1));
    expect(store.expiresAtMs(key)).toBe(0);
    clock.advance(0);
    expect(expired).toBe(1);
  });

  it('ends with the token or the certificate of its node, whichever is first', () => {
    const { clock, store, at } = setUp();
    store.recordPeer(node, at(1_000));
    store.recordToken(node, principal, at(5_000), 'k1');
    expect(store.expiresAtMs(key)).toBe(clock.now() + 1_000);
    store.recordPeer(node, at(9_000));
    expect(store.expiresAtMs(key)).toBe(clock.now() + 5_000);
  });

  it('keeps what is watched alive while fresh evidence comes, and calls once when it stops', () => {
    const { clock, store, at } = setUp();
    let expired = 0;
    store.recordPeer(node, at(1e9));
    store.recordToken(node, principal, at(1_000), 'k1');
    store.watch(key, () => (expired += 1));
    for (let round = 0; round < 5; round += 1) {
      clock.advance(900);
      store.recordToken(node, principal, at(1_000), 'k1');
    }
    expect(expired).toBe(0);
    clock.advance(1_000);
    expect(expired).toBe(1);
    store.recordToken(node, principal, at(1_000), 'k1');
    clock.advance(10_000);
    expect(expired).toBe(1);
    expect([clock.pendingTimers, store.watching]).toEqual([0, 0]);
  });

  it('ends at once when the key that signed it is withdrawn, unless a token of another key came before', () => {
    const { clock, store, at } = setUp();
    const ends: string[] = [];
    store.recordPeer(node, at(1e9));
    store.recordToken(node, principal, at(10_000), 'k1');
    store.recordToken(node, 'other', at(10_000), 'k1');
    store.watch(key, (end) => ends.push(`first ${end}`));
    store.watch({ node, principal: 'other' }, (end) => ends.push(`second ${end}`));
    store.watch({ node }, (end) => ends.push(`node ${end}`));
    store.keepTokenKeys(new Set(['k1', 'k2']));
    store.recordToken(node, principal, at(5_000), 'k2');
    expect(store.expiresAtMs(key)).toBe(clock.now() + 10_000);
    store.keepTokenKeys(new Set(['k2']));
    expect(ends).toEqual(['second withdrawn']);
    expect(store.expiresAtMs(key)).toBe(clock.now() + 5_000);
    clock.advance(5_000);
    expect(ends).toEqual(['second withdrawn', 'first expired']);
    expect(store.watching).toBe(1);
  });

  it('never shortens: an older token that comes late changes nothing', () => {
    const { clock, store, at } = setUp();
    store.recordPeer(node, at(10_000));
    store.recordToken(node, principal, at(10_000), 'k1');
    store.recordToken(node, principal, at(1_000), 'k1');
    expect(store.expiresAtMs(key)).toBe(clock.now() + 10_000);
  });

  it('keeps the evidence of one principal and node apart from that of another', () => {
    const { clock, store, at } = setUp();
    store.recordPeer(node, at(9_000));
    store.recordToken(node, principal, at(9_000), 'k1');
    expect(store.expiresAtMs({ node: 'node-b', principal })).toBe(0);
    expect(store.expiresAtMs({ node, principal: `${principal}2` })).toBe(0);
    expect(store.expiresAtMs(key)).toBeGreaterThan(clock.now());
  });

  it('notices within 30 s that the wall clock has jumped past the end', () => {
    const { clock, store, at } = setUp();
    let expired = 0;
    store.recordPeer(node, at(86_400_000));
    store.recordToken(node, principal, at(3_600_000), 'k1');
    store.watch(key, () => (expired += 1));
    clock.jumpWall(4_000_000);
    clock.advance(30_000);
    expect(expired).toBe(1);
  });

  it('goes on when a listener throws', () => {
    const { clock, store } = setUp();
    let expired = 0;
    store.watch(key, () => {
      throw new Error('listener');
    });
    store.watch(key, () => (expired += 1));
    clock.advance(0);
    expect(expired).toBe(1);
  });

  it('leaves no timer behind when it is not watched any more', () => {
    const { clock, store, at } = setUp();
    store.recordPeer(node, at(1_000));
    const watch = store.watch({ node }, () => undefined);
    watch[Symbol.dispose]();
    watch[Symbol.dispose]();
    expect([clock.pendingTimers, store.watching]).toEqual([0, 0]);
  });

  it('forgets the expired and keeps what is watched or valid, however many principals come', () => {
    const { clock, store, at } = setUp();
    store.recordPeer(node, at(1e9));
    store.recordToken(node, 'kept', at(1e9), 'k1');
    let expired = 0;
    store.recordToken(node, 'watched', at(60_000), 'k1');
    store.watch({ node, principal: 'watched' }, () => (expired += 1));
    for (let index = 0; index < 30_000; index += 1) {
      store.recordToken(node, `p${String(index)}`, at(1), 'k1');
      if (index % 1_000 === 0) clock.advance(2);
    }
    expect(store.expiresAtMs({ node, principal: 'kept' })).toBeGreaterThan(clock.now());
    // Evidence for the watched one still reaches its watcher.
    store.recordToken(node, 'watched', at(600_000), 'k1');
    clock.advance(120_000);
    expect(expired).toBe(0);
    expect(store.expiresAtMs({ node, principal: 'p0' })).toBe(0);
  });

  it('expires a watch exactly when no evidence covers the moment any more (any history)', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('peer' as const), ms: fc.integer({ min: 0, max: 100_000 }) }),
      fc.record({ do: fc.constant('token' as const), ms: fc.integer({ min: 0, max: 100_000 }) }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 50_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const { clock, store, at } = setUp();
        store.recordPeer(node, at(10_000));
        store.recordToken(node, principal, at(10_000), 'k1');
        let [peer, token] = [clock.now() + 10_000, clock.now() + 10_000];
        let expired = false;
        let model = false;
        store.watch(key, () => (expired = true));
        for (const { do: what, ms } of steps) {
          if (what === 'wait') {
            // Within a wait nothing is recorded, so it expires if the end lies within.
            if (!model && clock.now() + ms >= Math.min(peer, token)) model = true;
            clock.advance(ms);
          } else if (what === 'peer') {
            store.recordPeer(node, at(ms));
            peer = Math.max(peer, clock.now() + ms);
          } else {
            store.recordToken(node, principal, at(ms), 'k1');
            token = Math.max(token, clock.now() + ms);
          }
          expect(expired).toBe(model);
        }
      }),
      { numRuns: 200 },
    );
  });
});
