/** Addresses out of pools: no address twice, and one that was given stays where it is. Pure. */
import { ipBytes, ipFamily, parseIp } from '../core/index.js';
import type { IpFamily, Cidr } from '../core/index.js';

/** A pool's addresses, in the order in which they are given out: single ones first, then those of the blocks. */
export interface IpPool {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly blocks: readonly Cidr[];
  /** False: what is given stays, nothing new is given out. */
  readonly autoAssign: boolean;
}

export interface PoolRequest {
  readonly vip: string;
  readonly pool: string;
  readonly family: IpFamily;
}

/** That `vip` has `address`, out of `pool`. */
export interface PoolAllocation {
  readonly vip: string;
  readonly pool: string;
  readonly address: string;
}

export interface PoolsInput {
  readonly pools: ReadonlyMap<string, IpPool>;
  readonly requests: readonly PoolRequest[];
  /** Addresses that belong to something else, such as a VIP that names its own. */
  readonly taken: ReadonlySet<string>;
  /** What was given before; of two with one address the first counts. */
  readonly previous: readonly PoolAllocation[];
}

export interface PoolsOutput {
  readonly allocations: readonly PoolAllocation[];
  readonly failures: readonly { readonly request: PoolRequest; readonly reason: 'no-pool' | 'exhausted' | 'manual' }[];
}

/**
 * Answers every request that can be: first those that have an address of their pool already, then the others by name,
 * each with the first free address of its family. Of a block, the network's and the broadcast address are left out
 * (IPv6: the subnet-router anycast address), unless it has but one or two addresses.
 */
export function allocateFromPools({ pools, requests, taken, previous }: PoolsInput): PoolsOutput {
  const used = new Set(taken);
  const given = new Map<PoolRequest, PoolAllocation>();
  for (const allocation of previous) {
    const family = ipFamily(allocation.address);
    const request = requests.find(
      (each) => each.vip === allocation.vip && each.pool === allocation.pool && each.family === family,
    );
    const pool = pools.get(allocation.pool);
    if (request === undefined || pool === undefined || given.has(request)) continue;
    if (used.has(allocation.address) || !poolHas(pool, allocation.address)) continue;
    used.add(allocation.address);
    given.set(request, allocation);
  }
  const failures: PoolsOutput['failures'][number][] = [];
  const waiting = requests.filter((request) => !given.has(request));
  for (const request of waiting.toSorted((a, b) => (a.vip < b.vip ? -1 : a.vip > b.vip ? 1 : 0))) {
    const pool = pools.get(request.pool);
    if (pool === undefined) failures.push({ request, reason: 'no-pool' });
    else if (!pool.autoAssign) failures.push({ request, reason: 'manual' });
    else {
      const address = firstFree(pool, request.family, used);
      if (address === undefined) failures.push({ request, reason: 'exhausted' });
      else {
        used.add(address);
        given.set(request, { vip: request.vip, pool: request.pool, address });
      }
    }
  }
  const allocations = requests.flatMap((request) => given.get(request) ?? []);
  return { allocations, failures };
}

/** Whether `address` is one that the pool gives out. */
export function poolHas(pool: IpPool, address: string): boolean {
  return (
    pool.addresses.includes(address) || pool.blocks.some((block) => block.contains(address) && isUsable(block, address))
  );
}

function firstFree(pool: IpPool, family: IpFamily, used: ReadonlySet<string>): string | undefined {
  const single = pool.addresses.find((address) => ipFamily(address) === family && !used.has(address));
  if (single !== undefined) return single;
  for (const block of pool.blocks) {
    if (block.family !== family) continue;
    // As many steps as there are used addresses at most, however large the block is.
    for (const address of addressesOf(block)) if (!used.has(address)) return address;
  }
  return undefined;
}

function* addressesOf(block: Cidr): Generator<string> {
  const { first, last } = usableRange(block);
  for (let number = first; number <= last; number += 1n) yield formatNumber(number, block.family);
}

function isUsable(block: Cidr, address: string): boolean {
  const { first, last } = usableRange(block);
  const number = numberOf(address);
  return number >= first && number <= last;
}

function usableRange(block: Cidr): { readonly first: bigint; readonly last: bigint } {
  const hostBits = BigInt((block.family === 4 ? 32 : 128) - block.prefixLength);
  const start = numberOf(block.address);
  const end = start + (1n << hostBits) - 1n;
  if (hostBits < 2n) return { first: start, last: end };
  return { first: start + 1n, last: block.family === 4 ? end - 1n : end };
}

function numberOf(address: string): bigint {
  return BigInt(`0x${Buffer.from(ipBytes(address)).toString('hex')}`);
}

function formatNumber(number: bigint, family: IpFamily): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((number >> shift) & 0xffn)).join('.');
  const hex = number.toString(16).padStart(32, '0');
  return parseIp((hex.match(/.{4}/g) ?? []).join(':'));
}
