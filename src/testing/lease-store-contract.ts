import assert from 'node:assert/strict';
import type { Lease, LeaseAcquisition, LeaseOwner, LeaseStore } from '../core/index.js';

/** One store and what a test may do with it. Each case gets its own. */
export interface LeaseStoreHarness {
  /** A client of the one store, as another process would have; each call gives a new one. */
  client(): LeaseStore | Promise<LeaseStore>;
  /** Lets `ms` pass for the store and all clients. */
  pass(ms: number): Promise<void>;
  /** The time-to-live to test with, in ms. Several times what a request takes. */
  readonly ttlMs: number;
}

export interface LeaseStoreContractCase {
  readonly name: string;
  run(harness: LeaseStoreHarness): Promise<void>;
}

/**
 * What every `LeaseStore` must do, as cases for any test runner; each throws an AssertionError where the store fails. Of a
 * store without `offer` and `standBy` nothing is asked of the kind.
 *
 * ```ts
 * for (const { name, run } of leaseStoreContract) it(name, () => run(harness()));
 * ```
 */
export const leaseStoreContract: readonly LeaseStoreContractCase[] = Object.freeze([
  {
    name: 'gives a free lease to the first who asks, and refuses everybody after that',
    async run({ client, ttlMs }) {
      const [a, b] = [await client(), await client()];
      const lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      assert.equal(lease.name, 'n');
      assert.equal(lease.holder, 'a');
      assert.equal(lease.ttlMs, ttlMs);
      const refused = await b.acquire('n', { holder: 'b', ttlMs });
      assert.deepEqual(refused, { acquired: false, holder: 'a', fencingToken: lease.fencingToken });
      // Its holder included: a second owner may bear the same name.
      assert.equal((await a.acquire('n', { holder: 'a', ttlMs })).acquired, false);
      assert.equal((await b.acquire('n', { holder: 'a', ttlMs })).acquired, false);
      assert.equal((await b.acquire('another', { holder: 'b', ttlMs })).acquired, true);
    },
  },
  {
    name: 'lets exactly one of many concurrent callers have it, again and again, with tokens that grow',
    async run({ client, ttlMs }) {
      const clients = await Promise.all(Array.from({ length: 5 }, async () => client()));
      let last = -1n;
      for (let round = 0; round < 10; round += 1) {
        const results = await Promise.all(
          clients.flatMap((store, index) => [
            store.acquire('n', { holder: `h${String(index)}`, ttlMs }),
            store.acquire('n', { holder: `h${String(index)}`, ttlMs }),
          ]),
        );
        const winners = results.flatMap((result, index) => (result.acquired ? [{ lease: result.lease, index }] : []));
        assert.equal(winners.length, 1, `round ${String(round)}: ${String(winners.length)} of ten got the lease`);
        const [winner] = winners;
        assert.ok(winner !== undefined && winner.lease.fencingToken > last, 'the token did not grow');
        last = winner.lease.fencingToken;
        for (const result of results) {
          if (!result.acquired) assert.equal(result.fencingToken, last, 'a loser was told of another owner');
        }
        await clients[Math.floor(winner.index / 2)]?.release(winner.lease);
      }
    },
  },
  {
    name: 'keeps a lease for as long as it is renewed, and ends it when it is not',
    async run({ client, pass, ttlMs }) {
      const [a, b] = [await client(), await client()];
      const lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      for (let renewal = 0; renewal < 5; renewal += 1) {
        await pass(ttlMs / 2);
        assert.equal(await a.renew(lease), true);
        assert.equal((await b.acquire('n', { holder: 'b', ttlMs })).acquired, false);
      }
      const next = await acquireWithin(b, 'n', 'b', ttlMs, pass, 3 * ttlMs);
      assert.ok(next.fencingToken > lease.fencingToken, 'the token did not grow');
      assert.equal(await a.renew(lease), false, 'a lost lease was renewed');
      assert.equal(await b.renew(next), true);
    },
  },
  {
    name: 'never gives a lease to somebody else before its time-to-live has passed since the last renewal',
    async run({ client, pass, ttlMs }) {
      const [a, b] = [await client(), await client()];
      const lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      await pass(0.6 * ttlMs);
      assert.equal(await a.renew(lease), true);
      await pass(0.6 * ttlMs);
      assert.equal((await b.acquire('n', { holder: 'b', ttlMs })).acquired, false);
    },
  },
  {
    name: 'gives it back at once on release, which may be repeated and never hurts a later owner',
    async run({ client, ttlMs }) {
      const [a, b] = [await client(), await client()];
      const lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      await a.release(lease);
      assert.equal(await a.renew(lease), false);
      const next = taken(await b.acquire('n', { holder: 'b', ttlMs }));
      assert.ok(next.fencingToken > lease.fencingToken, 'the token did not grow');
      await a.release(lease);
      assert.equal(await b.renew(next), true, 'a release by the former owner ended the lease of the new one');
      await b.release(next);
      await b.release(next);
    },
  },
  {
    name: 'keeps leases of one client apart, also while several are renewed at once',
    async run({ client, pass, ttlMs }) {
      const [a, b] = [await client(), await client()];
      const names = Array.from({ length: 20 }, (_, index) => `n${String(index)}`);
      const leases = await Promise.all(names.map(async (name) => taken(await a.acquire(name, { holder: 'a', ttlMs }))));
      const [first, ...others] = leases;
      assert.ok(first !== undefined);
      await a.release(first);
      const stolen = taken(await b.acquire(first.name, { holder: 'b', ttlMs }));
      for (let round = 0; round < 3; round += 1) {
        await pass(0.4 * ttlMs);
        const renewed = await Promise.all(others.map((lease) => a.renew(lease)));
        assert.ok(renewed.every(Boolean), 'a lease was lost though it was renewed');
        assert.equal(await b.renew(stolen), true);
        assert.equal(await a.renew(first), false);
      }
    },
  },
  {
    name: 'shows a watcher the owner, every change in the end, and that a lease ended by itself',
    async run({ client, pass, ttlMs }) {
      const [a, b] = [await client(), await client()];
      const stop = new AbortController();
      const seen: (LeaseOwner | undefined)[] = [];
      const watching = (async () => {
        for await (const owner of b.watch('n', { signal: stop.signal })) seen.push(owner);
      })();
      const until = async (what: string, holds: (owner: LeaseOwner | undefined) => boolean): Promise<void> => {
        for (let turn = 0; turn < 300; turn += 1) {
          if (seen.length > 0 && holds(seen.at(-1))) return;
          await pass(ttlMs / 50);
        }
        assert.fail(`the watcher did not see ${what}, but ${describe(seen)}`);
      };
      await until('that the lease is free', (owner) => owner === undefined);
      const first = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      await until('the first owner', (owner) => owner?.fencingToken === first.fencingToken && owner.holder === 'a');
      await a.release(first);
      await until('the release', (owner) => owner === undefined);
      const second = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      await until('the second lease', (owner) => owner?.fencingToken === second.fencingToken);
      await until('that the lease ended without renewal', (owner) => owner === undefined);
      taken(await b.acquire('n', { holder: 'b', ttlMs }));
      await until('the next owner', (owner) => owner?.holder === 'b');
      stop.abort();
      await watching;
    },
  },
  {
    name: 'hands a lease that is offered to one who stands by, who may renew it, and its former owner no more',
    async run({ client, pass, ttlMs }) {
      const [a, b, c] = [await client(), await client(), await client()];
      if (a.offer === undefined) return;
      const stop = new AbortController();
      let lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      const arrived: { lease: Lease; store: LeaseStore }[] = [];
      const sends: string[] = [];
      for (const [holder, store] of [['b', b] as const, ['c', c] as const]) {
        store
          .standBy?.('n', { holder, ttlMs, signal: stop.signal, onSend: () => sends.push(holder) })
          .then((handed) => arrived.push({ lease: handed, store }), ignore);
      }
      await pass(ttlMs / 10);
      assert.ok(!arrived.some(Boolean), 'a lease was handed over that nobody had offered');
      assert.equal(await a.offer(lease, { signal: stop.signal }), true);
      assert.ok(sends.length > 0, 'a successor was found that never sent anything');
      assert.equal(await a.renew(lease), true, 'an offered lease was not held any more');
      await a.release(lease);
      for (let turn = 0; turn < 50 && arrived.length === 0; turn += 1) await pass(ttlMs / 50);
      const [first, ...others] = arrived;
      assert.ok(first !== undefined && others.length === 0, `${String(arrived.length)} of two got the lease`);
      assert.equal(first.lease.name, 'n');
      assert.ok(['b', 'c'].includes(first.lease.holder));
      assert.ok(first.lease.fencingToken > lease.fencingToken, 'the token did not grow');
      assert.equal(await a.renew(lease), false, 'the former owner renewed');
      await a.release(lease);
      assert.equal(await first.store.renew(first.lease), true);
      const refused = await a.acquire('n', { holder: 'a', ttlMs });
      const { holder, fencingToken } = first.lease;
      assert.deepEqual(refused, { acquired: false, holder, fencingToken });
      // And on to the one that is left.
      lease = first.lease;
      assert.equal(await first.store.offer?.(lease, { signal: stop.signal }), true);
      await first.store.release(lease);
      for (let turn = 0; turn < 50 && arrived.length === 1; turn += 1) await pass(ttlMs / 50);
      const second = arrived[1];
      assert.ok(second !== undefined && second.lease.fencingToken > lease.fencingToken, 'no second handover');
      assert.equal(await second.store.renew(second.lease), true);
      stop.abort();
    },
  },
  {
    name: 'hands nothing to those who no longer stand by, and ends a lease that was handed over and not renewed',
    async run({ client, pass, ttlMs }) {
      const [a, b] = [await client(), await client()];
      if (a.offer === undefined || b.standBy === undefined) return;
      const gone = new AbortController();
      const reason = new Error('no longer wanted');
      const standing = b.standBy('n', { holder: 'b', ttlMs, signal: gone.signal });
      let lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
      gone.abort(reason);
      await assert.rejects(standing, reason);
      const tired = new AbortController();
      const offering = a.offer(lease, { signal: tired.signal });
      offering.catch(ignore);
      await pass(ttlMs / 10);
      tired.abort(reason);
      await assert.rejects(offering, reason);
      assert.equal(await a.renew(lease), true, 'an offer that nobody answered ended the lease');
      await a.release(lease);
      // And who is handed one, and does not renew it, loses it like anybody.
      const stop = new AbortController();
      lease = taken(await b.acquire('n', { holder: 'b', ttlMs }));
      const next = a.standBy?.('n', { holder: 'a', ttlMs, signal: stop.signal });
      await pass(ttlMs / 10);
      assert.equal(await b.offer?.(lease, { signal: stop.signal }), true);
      await b.release(lease);
      const handed = await next;
      assert.ok(handed !== undefined && handed.fencingToken > lease.fencingToken);
      assert.equal(await b.offer?.(lease, { signal: stop.signal }), false, 'a lease was offered that is not held');
      const after = await acquireWithin(b, 'n', 'b', ttlMs, pass, 3 * ttlMs);
      assert.ok(after.fencingToken > handed.fencingToken, 'the token did not grow');
      assert.equal(await a.renew(handed), false, 'a lost lease was renewed');
      stop.abort();
    },
  },
  {
    name: 'refuses names, holders and times that are out of bounds, and a signal that has aborted',
    async run({ client, ttlMs }) {
      const store = await client();
      for (const name of ['', 'a b', 'ü', 'x'.repeat(513)]) {
        await assert.rejects(async () => store.acquire(name, { holder: 'a', ttlMs }), { code: 'CORE_OPTION_INVALID' });
      }
      await assert.rejects(async () => store.acquire('n', { holder: '', ttlMs }), { code: 'CORE_OPTION_INVALID' });
      for (const wrong of [0, -1, 99, Number.NaN, Infinity]) {
        await assert.rejects(async () => store.acquire('n', { holder: 'a', ttlMs: wrong }), {
          code: 'CORE_OPTION_INVALID',
        });
      }
      const reason = new Error('no longer wanted');
      const signal = AbortSignal.abort(reason);
      await assert.rejects(async () => store.acquire('n', { holder: 'a', ttlMs, signal }), reason);
      assert.equal((await store.acquire('n', { holder: 'a', ttlMs })).acquired, true);
    },
  },
]);

const ignore = (): void => undefined;

function taken(result: LeaseAcquisition): Lease {
  assert.ok(result.acquired, 'expected the lease to be free');
  return result.lease;
}

async function acquireWithin(
  store: LeaseStore,
  name: string,
  holder: string,
  ttlMs: number,
  pass: (ms: number) => Promise<void>,
  withinMs: number,
): Promise<Lease> {
  for (let waitedMs = 0; waitedMs <= withinMs; waitedMs += ttlMs / 10) {
    const result = await store.acquire(name, { holder, ttlMs });
    if (result.acquired) return result.lease;
    await pass(ttlMs / 10);
  }
  return assert.fail(`the lease did not end within ${String(withinMs)} ms`);
}

function describe(seen: readonly (LeaseOwner | undefined)[]): string {
  return `[${seen.map((owner) => (owner === undefined ? 'free' : `${owner.holder} ${String(owner.fencingToken)}`)).join(', ')}]`;
}
