import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryLeaseStore } from '../../src/core/index.js';
import type { Lease } from '../../src/core/index.js';
import { FakeClock, leaseStoreContract } from '../../src/testing/index.js';

describe('MemoryLeaseStore', () => {
  for (const { name, run } of leaseStoreContract) {
    it(name, async () => {
      const clock = new FakeClock();
      const store = new MemoryLeaseStore({ clock });
      await run({ client: () => store, pass: (ms) => clock.advanceAsync(ms), ttlMs: 1_000 });
    });
  }

  it('leaves no timer behind once all leases have ended', async () => {
    const clock = new FakeClock();
    const store = new MemoryLeaseStore({ clock });
    const released = await store.acquire('a', { holder: 'x', ttlMs: 500 });
    await store.acquire('b', { holder: 'x', ttlMs: 500 });
    if (released.acquired) await store.release(released.lease);
    clock.advance(500);
    expect(clock.pendingTimers).toBe(0);
  });

  it('takes no notice of jumps of the wall clock', async () => {
    const clock = new FakeClock();
    const store = new MemoryLeaseStore({ clock });
    await store.acquire('a', { holder: 'x', ttlMs: 500 });
    clock.jumpWall(86_400_000);
    expect(await store.acquire('a', { holder: 'y', ttlMs: 500 })).toMatchObject({ acquired: false });
    clock.jumpWall(-3 * 86_400_000);
    clock.advance(500);
    expect(await store.acquire('a', { holder: 'y', ttlMs: 500 })).toMatchObject({ acquired: true });
  });

  it('never has two leases valid at once, and tokens that grow, under any order of calls and time', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constantFrom('acquire', 'renew', 'release'), who: fc.nat({ max: 2 }) }),
      fc.record({ kind: fc.constant('pass' as const), who: fc.nat({ max: 700 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const clock = new FakeClock();
        const store = new MemoryLeaseStore({ clock });
        const valid: ({ readonly lease: Lease; readonly untilMs: number } | undefined)[] = [];
        let newest = 0n;
        for (const { kind, who } of steps) {
          const nowMs = clock.monotonicMs();
          const mine = valid[who];
          if (kind === 'pass') {
            clock.advance(who);
          } else if (kind === 'acquire') {
            const result = await store.acquire('n', { holder: String(who), ttlMs: 500 });
            if (result.acquired) {
              expect(result.lease.fencingToken).toBeGreaterThan(newest);
              newest = result.lease.fencingToken;
              valid[who] = { lease: result.lease, untilMs: nowMs + 500 };
            }
          } else if (mine !== undefined && kind === 'renew') {
            valid[who] = (await store.renew(mine.lease)) ? { ...mine, untilMs: nowMs + 500 } : undefined;
          } else if (mine !== undefined) {
            await store.release(mine.lease);
            valid[who] = undefined;
          }
          expect(valid.filter((each) => each !== undefined && clock.monotonicMs() < each.untilMs).length).toBeLessThan(
            2,
          );
        }
      }),
    );
  });
});
