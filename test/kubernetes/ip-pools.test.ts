import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Cidr } from '../../src/core/index.js';
import { allocateFromPools, poolHas } from '../../src/kubernetes/ip-pools.js';
import type { IpPool, PoolAllocation, PoolRequest } from '../../src/kubernetes/ip-pools.js';

function pool(name: string, blocks: readonly string[], addresses: readonly string[] = [], autoAssign = true): IpPool {
  return { name, addresses, blocks: blocks.map((text) => Cidr.parse(text)), autoAssign };
}

function allocate(
  pools: readonly IpPool[],
  requests: readonly PoolRequest[],
  previous: readonly PoolAllocation[] = [],
  taken: readonly string[] = [],
) {
  return allocateFromPools({
    pools: new Map(pools.map((each) => [each.name, each])),
    requests,
    previous,
    taken: new Set(taken),
  });
}

const want = (vip: string, family: 4 | 6 = 4, from = 'p'): PoolRequest => ({ vip, pool: from, family });

describe('allocateFromPools', () => {
  it('gives single addresses first, then those of the blocks, without network and broadcast address', () => {
    const { allocations } = allocate(
      [pool('p', ['192.0.2.0/30'], ['198.51.100.7'])],
      ['c', 'b', 'a'].map((vip) => want(vip)),
    );
    expect(allocations).toEqual([
      { vip: 'c', pool: 'p', address: '192.0.2.2' },
      { vip: 'b', pool: 'p', address: '192.0.2.1' },
      { vip: 'a', pool: 'p', address: '198.51.100.7' },
    ]);
  });

  it.each([
    ['192.0.2.4/31', ['192.0.2.4', '192.0.2.5']],
    ['192.0.2.4/32', ['192.0.2.4']],
    ['2001:db8::/126', ['2001:db8::1', '2001:db8::2', '2001:db8::3']],
    ['2001:db8::/127', ['2001:db8::', '2001:db8::1']],
  ])('uses of %s: %j', (block, usable) => {
    const family = block.includes(':') ? 6 : 4;
    const requests = Array.from({ length: usable.length + 1 }, (_, index) => want(`v${String(index)}`, family));
    const { allocations, failures } = allocate([pool('p', [block])], requests);
    expect(allocations.map(({ address }) => address)).toEqual(usable);
    expect(failures).toEqual([{ request: requests.at(-1), reason: 'exhausted' }]);
  });

  it('takes no longer for a huge block', () => {
    const { allocations } = allocate([pool('p', ['2001:db8::/32'])], [want('a', 6)]);
    expect(allocations[0]?.address).toBe('2001:db8::1');
  });

  it('says why a request got nothing', () => {
    const given = allocate(
      [pool('m', ['192.0.2.0/24'], [], false)],
      [want('a', 4, 'm'), want('b', 4, 'none'), want('c', 6, 'm')],
    );
    expect(given.failures.map(({ reason }) => reason)).toEqual(['manual', 'no-pool', 'manual']);
  });

  it('keeps what was given by a pool that gives nothing new', () => {
    const previous = [{ vip: 'a', pool: 'm', address: '192.0.2.9' }];
    expect(allocate([pool('m', ['192.0.2.0/24'], [], false)], [want('a', 4, 'm')], previous).allocations).toEqual(
      previous,
    );
  });

  it('moves a VIP whose address left the pool, or was taken by one that names it', () => {
    const previous = [
      { vip: 'a', pool: 'p', address: '198.51.100.9' },
      { vip: 'b', pool: 'p', address: '192.0.2.1' },
    ];
    const { allocations } = allocate([pool('p', ['192.0.2.0/29'])], [want('a'), want('b')], previous, ['192.0.2.1']);
    expect(allocations.map(({ address }) => address)).toEqual(['192.0.2.2', '192.0.2.3']);
  });

  const vipNames = fc.uniqueArray(fc.constantFrom(...'abcdefghij'), { minLength: 1 });
  const steps = fc.array(vipNames, { minLength: 1, maxLength: 8 });
  const pools = [pool('p', ['192.0.2.0/29', '2001:db8::/125'], ['198.51.100.1']), pool('q', ['192.0.2.0/28'])];

  it('never gives an address twice, never outside of the pool, and never moves one that may stay', () => {
    fc.assert(
      fc.property(
        steps,
        fc.uniqueArray(fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1')),
        (generations, taken: readonly string[]) => {
          let previous: readonly PoolAllocation[] = [];
          for (const names of generations) {
            const requests = names.flatMap((vip, index) =>
              index % 3 === 0 ? [want(vip, 4), want(vip, 6)] : [want(vip, 4, index % 2 === 0 ? 'p' : 'q')],
            );
            const { allocations, failures } = allocate(pools, requests, previous, taken);
            const addresses = allocations.map(({ address }) => address);
            expect(new Set(addresses).size).toBe(addresses.length);
            expect(addresses.filter((address) => taken.includes(address))).toEqual([]);
            expect(allocations.length + failures.length).toBe(requests.length);
            for (const allocation of allocations) {
              const from = pools.find(({ name }) => name === allocation.pool);
              expect(from !== undefined && poolHas(from, allocation.address)).toBe(true);
            }
            for (const before of previous) {
              const family = before.address.includes(':') ? 6 : 4;
              const still = requests.some(
                (each) => each.vip === before.vip && each.pool === before.pool && each.family === family,
              );
              if (still && !taken.includes(before.address)) expect(allocations).toContainEqual(before);
            }
            previous = allocations;
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
