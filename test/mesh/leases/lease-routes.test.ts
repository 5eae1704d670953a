import { setTimeout as wait } from 'node:timers/promises';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MemoryLeaseStore } from 'meshwright/core';
import type { LeaseAcquisition, LeaseOwner, LeaseStore } from 'meshwright/core';
import {
  ControllerLeaseStore,
  leaseRoutes,
  nextFencingFloor,
  parseMeshState,
  peerOf,
  vipLeases,
} from 'meshwright/mesh';
import type { LeaseRoutesOptions } from 'meshwright/mesh';
import { leaseStoreContract } from 'meshwright/testing';
import { codeOf } from '../../ca/support.js';
import { controlPlane } from '../control-plane/support.js';

async function leaseServer(options: Partial<LeaseRoutesOptions> = {}) {
  const leases = options.leases ?? new MemoryLeaseStore();
  const routes = [leaseRoutes({ leases, peerOf, mayHold: () => true, ...options })];
  const plane = await controlPlane({ routes });
  return {
    ...plane,
    leases,
    store: async (spiffeId: string) =>
      new ControllerLeaseStore({ transport: plane.transport(await plane.svid(spiffeId)), timeoutMs: 5_000 }),
  };
}

/** As the contract's cases name holders: without the node. */
function unprefixed(store: LeaseStore, node: string): LeaseStore {
  const bare = (holder: string): string => holder.slice(node.length + 1);
  return {
    async acquire(name, options): Promise<LeaseAcquisition> {
      const holder = options.holder === '' ? '' : `${node}/${options.holder}`;
      const result = await store.acquire(name, { ...options, holder });
      if (!result.acquired) return { ...result, holder: bare(result.holder) };
      return { acquired: true, lease: { ...result.lease, holder: bare(result.lease.holder) } };
    },
    renew: (lease, options) => store.renew(lease, options),
    release: (lease, options) => store.release(lease, options),
    async *watch(name, options): AsyncIterableIterator<LeaseOwner | undefined> {
      for await (const owner of store.watch(name, options)) {
        yield owner === undefined ? undefined : { ...owner, holder: bare(owner.holder) };
      }
    },
  };
}

const agent = (node: string): string => `spiffe://cluster.local/agent/${node}`;
// Long enough that a busy machine does not end leases early.
const ttlMs = 1_500;

describe('leases of the controller', () => {
  for (const { name, run } of leaseStoreContract) {
    it(`keep the contract: a lease store ${name}`, { timeout: 60_000 }, async () => {
      const { store } = await leaseServer();
      const client = async (): Promise<LeaseStore> => unprefixed(await store(agent('node-a')), 'node-a');
      await run({ client, ttlMs, pass: (ms) => wait(ms) });
    });
  }

  it('are for agents alone, each for what is assigned to it', async () => {
    const { store } = await leaseServer({ mayHold: (node, name) => name === `vip/${node}` });
    const workload = await store('spiffe://cluster.local/ns/shop/sa/web');
    expect(await codeOf(() => workload.acquire('vip/web', { holder: 'web', ttlMs }))).toBe('MESH_LEASE_FAILED');
    const a = await store(agent('node-a'));
    await expect(a.acquire('vip/node-b', { holder: 'node-a', ttlMs })).rejects.toThrow(/is not assigned "vip\/node-b"/);
    expect(await a.acquire('vip/node-a', { holder: 'node-a', ttlMs })).toMatchObject({ acquired: true });
  });

  it.each(['node-b', 'node-ab', 'node-a-x', 'node-b/node-a'])(
    'are not taken in the name of %s by node-a',
    async (holder) => {
      const { store } = await leaseServer();
      const a = await store(agent('node-a'));
      await expect(a.acquire('vip', { holder, ttlMs })).rejects.toThrow(/expected the holder to be node-a/);
    },
  );

  it('cannot be renewed or given back by another node that knows the token', async () => {
    const { store } = await leaseServer();
    const [a, b] = [await store(agent('node-a')), await store(agent('node-b'))];
    const taken = await a.acquire('vip', { holder: 'node-a', ttlMs: 20_000 });
    if (!taken.acquired) throw new Error('expected the lease to be free');
    const forged = { ...taken.lease, holder: 'node-b' };
    expect(await b.renew(forged)).toBe(false);
    await b.release(forged);
    expect(await b.acquire('vip', { holder: 'node-b', ttlMs })).toMatchObject({ acquired: false, holder: 'node-a' });
    expect(await a.renew(taken.lease)).toBe(true);
  });

  it('outlive the controller in a store that does: the holder goes on renewing', async () => {
    const leases = new MemoryLeaseStore();
    const first = await leaseServer({ leases });
    const taken = await (await first.store(agent('node-a'))).acquire('vip', { holder: 'node-a/1', ttlMs: 5_000 });
    if (!taken.acquired) throw new Error('expected the lease to be free');
    const second = await leaseServer({ leases });
    expect(await (await second.store(agent('node-a'))).renew(taken.lease)).toBe(true);
    expect(await (await second.store(agent('node-b'))).renew(taken.lease)).toBe(false);
  });

  it('say whether the last owner gave them back, or let them end', async () => {
    const { store } = await leaseServer();
    const [a, b] = [await store(agent('node-a')), await store(agent('node-b'))];
    const taken = await a.acquire('vip', { holder: 'node-a', ttlMs: 5_000 });
    if (!taken.acquired) throw new Error('expected the lease to be free');
    expect(taken.released).toBe(false);
    await a.release(taken.lease);
    expect(await b.acquire('vip', { holder: 'node-b', ttlMs: 200 })).toMatchObject({ released: true });
    await wait(300);
    expect(await a.acquire('vip', { holder: 'node-a', ttlMs })).toMatchObject({ acquired: true, released: false });
  });

  it('are not granted before those of an earlier start have ended', async () => {
    const { store } = await leaseServer({ graceMs: 2_000 });
    const ttlMs = 2_000;
    const a = await store(agent('node-a'));
    await expect(a.acquire('vip', { holder: 'node-a', ttlMs })).rejects.toThrow(/none is granted for \d+ ms/);
    await wait(2_050);
    expect(await a.acquire('vip', { holder: 'node-a', ttlMs })).toMatchObject({ acquired: true });
  });

  it('are of bounded length, whatever a client asks for', async () => {
    const { store } = await leaseServer();
    const a = await store(agent('node-a'));
    await expect(a.acquire('vip', { holder: 'node-a', ttlMs: 600_001 })).rejects.toThrow(/100 to 600000 ms/);
  });

  it('are never longer than what a restart waits for', async () => {
    const { store } = await leaseServer({ graceMs: 100 });
    await wait(150);
    const a = await store(agent('node-a'));
    await expect(a.acquire('vip', { holder: 'node-a', ttlMs: 101 })).rejects.toThrow(/100 to 100 ms/);
    const routes = { leases: new MemoryLeaseStore(), peerOf, mayHold: () => true };
    expect(() => leaseRoutes({ ...routes, graceMs: 1_000, maxTtlMs: 1_001 })).toThrow(RangeError);
  });

  it('fail in words when the controller is gone, within the time-out', async () => {
    const { store, server } = await leaseServer();
    const a = await store(agent('node-a'));
    server.destroy();
    await server.close();
    expect(await codeOf(() => a.acquire('vip', { holder: 'node-a', ttlMs }))).toBe('MESH_LEASE_FAILED');
  });
});

describe('vipLeases', () => {
  it('are those of the layer 2 addresses that the node may announce', () => {
    const vip = { name: 'edge', addresses: ['203.0.113.1', '2001:db8::1'], nodes: ['node-a'], ports: [80] };
    const state = parseMeshState({
      trustDomain: 'cluster.local',
      nodes: [],
      workloads: [],
      services: [],
      policies: [],
      vips: [
        { ...vip, mode: 'l2' },
        { ...vip, name: 'routed', addresses: ['203.0.113.2'], mode: 'bgp' },
      ],
    });
    const mayHold = vipLeases({ current: state });
    expect(['vip/203.0.113.1', 'vip/2001:db8::1'].map((name) => mayHold('node-a', name))).toEqual([true, true]);
    for (const name of ['vip/203.0.113.2', 'vip/203.0.113.9', 'vip/', '203.0.113.1', 'VIP/203.0.113.1', '']) {
      expect(mayHold('node-a', name)).toBe(false);
    }
    expect(mayHold('node-b', 'vip/203.0.113.1')).toBe(false);
  });
});

describe('nextFencingFloor', () => {
  it('grows with every start, and refuses a damaged file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'meshwright-leases-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const path = join(directory, 'made', 'leases');
    const floors = [await nextFencingFloor(path), await nextFencingFloor(path), await nextFencingFloor(path)];
    expect(floors).toEqual([2n ** 40n, 2n ** 41n, 3n * 2n ** 40n]);
    const leases = new MemoryLeaseStore({ fencingFloor: floors[1] });
    expect(await leases.acquire('n', { holder: 'h', ttlMs })).toMatchObject({
      lease: { fencingToken: 2n ** 41n + 1n },
    });
    expect(await readFile(path, 'utf8')).toBe('3\n');
    await writeFile(path, 'three');
    await expect(nextFencingFloor(path)).rejects.toThrow(/expected the number of the last start/);
  });
});
