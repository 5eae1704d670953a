import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { describeError } from '../../src/core/index.js';
import type { Lease, LeaseAcquisition, LeaseStore } from '../../src/core/index.js';
import { EtcdLeaseStore } from '../../src/etcd/index.js';
import type { EtcdLeaseStoreOptions } from '../../src/etcd/index.js';
import { leaseStoreContract } from '../../src/testing/index.js';
import { describeRequiring } from '../support/requirements.js';
import { CutProxy } from './cut-proxy.js';
import { EtcdServer } from './etcd-server.js';

const run = promisify(execFile);
const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
// Long enough that a busy machine does not end leases early.
const ttlMs = 1_000;
let prefixes = 0;
const freshPrefix = (): string => `/test-${String((prefixes += 1))}/`;

function taken(result: LeaseAcquisition): Lease {
  if (!result.acquired) throw new Error('expected the lease to be free');
  return result.lease;
}

/** When `store` gets the lease, in ms from now. */
async function acquiredAfterMs(store: LeaseStore, name: string, withinMs: number): Promise<number> {
  const startMs = performance.now();
  while (performance.now() - startMs < withinMs) {
    try {
      if ((await store.acquire(name, { holder: 'late', ttlMs })).acquired) return performance.now() - startMs;
    } catch {
      // The store is away.
    }
    await pass(10);
  }
  throw new Error(`not acquired within ${String(withinMs)} ms`);
}

describeRequiring({ commands: ['etcd', 'etcdctl', 'openssl'] }, 'EtcdLeaseStore', () => {
  let server: EtcdServer;
  const opened: EtcdLeaseStore[] = [];
  const open = (options: Partial<EtcdLeaseStoreOptions> = {}): EtcdLeaseStore => {
    const store = new EtcdLeaseStore({ endpoints: [server.url], ...options });
    opened.push(store);
    return store;
  };

  beforeAll(async () => {
    server = await EtcdServer.start();
  });
  afterAll(async () => {
    for (const store of opened) store.destroy();
    await server[Symbol.asyncDispose]();
  });

  for (const { name, run: check } of leaseStoreContract) {
    it(name, async () => {
      const prefix = freshPrefix();
      await check({ client: () => open({ prefix }), pass, ttlMs });
    });
  }

  const etcdctl = async (...args: readonly string[]): Promise<string> => {
    const env = { ...process.env, ETCDCTL_API: '3' };
    return (await run('etcdctl', ['--endpoints', server.url, ...args], { env })).stdout;
  };
  const keysUnder = async (prefix: string): Promise<readonly string[]> =>
    (await etcdctl('get', prefix, '--prefix', '--keys-only')).split('\n').filter((line) => line !== '');
  const revisionNow = async (): Promise<number> =>
    (JSON.parse(await etcdctl('get', '/none', '-w', 'json')) as { header: { revision: number } }).header.revision;

  it('writes a first lease and its session at once, in one transaction, whoever else wants one meanwhile', async () => {
    const prefix = freshPrefix();
    const store = open({ prefix });
    const before = await revisionNow();
    const [first, second] = await Promise.all(['n', 'm'].map((name) => store.acquire(name, { holder: 'a', ttlMs })));
    if (first === undefined || second === undefined) throw new Error('not two');
    expect((await revisionNow()) - before).toBe(2);
    expect(await Promise.all([taken(first), taken(second)].map((lease) => store.renew(lease)))).toEqual([true, true]);
    // And one that is refused leaves the session to be made by the next.
    const other = open({ prefix });
    expect(await other.acquire('n', { holder: 'b', ttlMs })).toMatchObject({ acquired: false, holder: 'a' });
    const [lease, again] = await Promise.all(['o', 'p'].map((name) => other.acquire(name, { holder: 'b', ttlMs })));
    if (lease === undefined || again === undefined) throw new Error('not two');
    expect(await Promise.all([taken(lease), taken(again)].map((each) => other.renew(each)))).toEqual([true, true]);
  });

  it('leaves nothing of a handover but the lease', async () => {
    const prefix = freshPrefix();
    const [a, b] = [open({ prefix }), open({ prefix })];
    const { signal } = new AbortController();
    const lease = taken(await a.acquire('n', { holder: 'a', ttlMs: 5_000 }));
    const handed = b.standBy('n', { holder: 'b', ttlMs: 5_000, signal });
    expect(await a.offer(lease, { signal })).toBe(true);
    const before = await revisionNow();
    await a.release(lease);
    expect(await handed).toMatchObject({ holder: 'b', fencingToken: BigInt(before + 1) });
    expect((await keysUnder(prefix)).map((key) => key.slice(prefix.length).replace(/[0-9a-f]{24}/, 'ID'))).toEqual([
      'leases/n',
      'sessions/ID',
      'sessions/ID',
    ]);
  });

  it('releases to nobody where the answer to its offer makes no sense, or is an old one', async () => {
    const prefix = freshPrefix();
    const [a, b] = [open({ prefix }), open({ prefix })];
    await etcdctl('put', `${prefix}successors/n`, '{"holder":"old","session":"x","ttlMs":600,"nonce":"y"}');
    await etcdctl('put', `${prefix}offers/n`, '{"fencingToken":"1"}');
    const standing = new AbortController();
    const standby = b.standBy('n', { holder: 'b', ttlMs, signal: standing.signal });
    const lease = taken(await a.acquire('n', { holder: 'a', ttlMs: 5_000 }));
    standing.abort(new Error('enough'));
    await expect(standby).rejects.toThrow('enough');
    const tired = new AbortController();
    const offering = a.offer(lease, { signal: tired.signal });
    await vi.waitFor(async () => expect(await keysUnder(prefix)).not.toContain(`${prefix}successors/n`), 5_000);
    await etcdctl('put', `${prefix}successors/n`, 'mine');
    setTimeout(() => tired.abort(new Error('enough')), 200);
    await expect(offering).rejects.toThrow('enough');
    await a.release(lease);
    expect(await keysUnder(`${prefix}leases/`)).toEqual([]);
    expect(await keysUnder(`${prefix}successors/`)).toEqual([]);
    expect(await b.acquire('n', { holder: 'b', ttlMs })).toMatchObject({ acquired: true });
  });

  it('lets a lease end that was handed to one who had gone meanwhile', async () => {
    const prefix = freshPrefix();
    const [a, b, c] = [open({ prefix }), open({ prefix }), open({ prefix })];
    const standing = new AbortController();
    const lease = taken(await a.acquire('n', { holder: 'a', ttlMs }));
    const standby = b.standBy('n', { holder: 'b', ttlMs, signal: standing.signal });
    expect(await a.offer(lease, { signal: new AbortController().signal })).toBe(true);
    standing.abort(new Error('gone'));
    await expect(standby).rejects.toThrow('gone');
    await a.release(lease);
    expect(await acquiredAfterMs(c, 'n', 5 * ttlMs)).toBeGreaterThan(ttlMs / 4);
  });

  it('writes one key for the renewal of many leases', async () => {
    const prefix = freshPrefix();
    const store = open({ prefix });
    const names = Array.from({ length: 50 }, (_, index) => `vip/${String(index)}`);
    const leases = await Promise.all(
      names.map(async (name) => taken(await store.acquire(name, { holder: 'a', ttlMs: 5_000 }))),
    );
    const before = await revisionNow();
    for (let round = 0; round < 3; round += 1) {
      expect(await Promise.all(leases.map((lease) => store.renew(lease)))).toEqual(leases.map(() => true));
    }
    expect((await revisionNow()) - before).toBe(3);
  });

  it('gives back what it holds when it closes, and refuses work after that', async () => {
    const prefix = freshPrefix();
    const store = open({ prefix });
    await store.acquire('n', { holder: 'a', ttlMs: 60_000 });
    await store.close();
    await expect(store.acquire('n', { holder: 'a', ttlMs })).rejects.toMatchObject({ code: 'ETCD_CLOSED' });
    expect(await open({ prefix }).acquire('n', { holder: 'b', ttlMs })).toMatchObject({ acquired: true });
  });

  it('tells a watcher in another process of a release within milliseconds', async () => {
    const prefix = freshPrefix();
    const [a, b] = [open({ prefix }), open({ prefix })];
    const lease = taken(await a.acquire('n', { holder: 'a', ttlMs: 5_000 }));
    const stop = new AbortController();
    const watch = b.watch('n', { signal: stop.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ holder: 'a' });
    const startMs = performance.now();
    await a.release(lease);
    expect((await watch.next()).value).toBeUndefined();
    expect(performance.now() - startMs).toBeLessThan(1_000);
    stop.abort();
  });

  it('does not take over a lease whose key somebody else wrote', async () => {
    const prefix = freshPrefix();
    await etcdctl('put', `${prefix}leases/n`, 'mine');
    await expect(open({ prefix }).acquire('n', { holder: 'a', ttlMs })).rejects.toMatchObject({
      code: 'ETCD_RECORD_MALFORMED',
    });
  });

  it('loses a lease whose key was deleted by hand', async () => {
    const prefix = freshPrefix();
    const store = open({ prefix });
    const lease = taken(await store.acquire('n', { holder: 'a', ttlMs: 5_000 }));
    const stop = new AbortController();
    const watch = store.watch('n', { signal: stop.signal })[Symbol.asyncIterator]();
    await watch.next();
    const next = watch.next();
    await etcdctl('del', `${prefix}leases/n`);
    expect((await next).value).toBeUndefined();
    expect(await store.renew(lease)).toBe(false);
    stop.abort();
  });

  it('refuses malformed options, and shows no password', () => {
    const wrong = (options: EtcdLeaseStoreOptions): unknown => {
      try {
        return new EtcdLeaseStore(options);
      } catch (error) {
        expect(String(error)).not.toContain('secret');
        return (error as { code: unknown }).code;
      }
    };
    const endpoints = ['https://127.0.0.1:2379'];
    expect(wrong({ endpoints: [] })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints: ['127.0.0.1:2379'] })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints: ['http://root:secret@127.0.0.1:2379'] })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints: [...endpoints, ...endpoints] })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints: ['http://127.0.0.1:1'], tls: { ca: '' } })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints, tls: { cert: 'x' } })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints, auth: { username: 'root', password: '' } })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints, prefix: 'a b' })).toBe('ETCD_CONFIGURATION_INVALID');
    expect(wrong({ endpoints, requestTimeoutMs: 0 })).toBe('ETCD_CONFIGURATION_INVALID');
  });

  it('waits no longer than it said while the network swallows everything, and recovers by itself', async () => {
    const prefix = freshPrefix();
    await using proxy = await CutProxy.to(server.port);
    const cut = open({ prefix, endpoints: [proxy.url], requestTimeoutMs: 500 });
    const other = open({ prefix });
    const lease = taken(await cut.acquire('n', { holder: 'cut', ttlMs: 3_000 }));
    const stop = new AbortController();
    const watch = cut.watch('n', { signal: stop.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ holder: 'cut' });
    proxy.delayMs = Infinity;
    const startMs = performance.now();
    await expect(cut.renew(lease)).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(performance.now() - startMs).toBeLessThan(2_000);
    // Nobody else gets it before its time, and then somebody does.
    expect(await acquiredAfterMs(other, 'n', 8_000)).toBeGreaterThan(100);
    proxy.delayMs = 0;
    // Connections that lost bytes are no good any more; the store finds out and makes new ones.
    let renewed: boolean | undefined;
    for (let attempt = 0; attempt < 20 && renewed === undefined; attempt += 1) {
      renewed = await cut.renew(lease).catch(() => undefined);
    }
    expect(renewed).toBe(false);
    let seen = await watch.next();
    while ((seen.value as { holder: string } | undefined)?.holder !== 'late') seen = await watch.next();
    stop.abort();
  });

  it('takes nothing over from an owner that it merely sees late', async () => {
    const prefix = freshPrefix();
    await using proxy = await CutProxy.to(server.port);
    const owner = open({ prefix });
    const slow = open({ prefix, endpoints: [proxy.url], requestTimeoutMs: 5_000 });
    const lease = taken(await owner.acquire('n', { holder: 'owner', ttlMs }));
    proxy.delayMs = 250;
    const until = performance.now() + 3_000;
    const renewing = (async () => {
      while (performance.now() < until) {
        expect(await owner.renew(lease)).toBe(true);
        await pass(ttlMs / 4);
      }
    })();
    const acquiring = (async () => {
      while (performance.now() < until) {
        expect(await slow.acquire('n', { holder: 'slow', ttlMs })).toMatchObject({ acquired: false });
      }
    })();
    await Promise.all([renewing, acquiring]);
  });

  it('gives back what it got by a request whose answer was lost', async () => {
    const prefix = freshPrefix();
    await using proxy = await CutProxy.to(server.port);
    const store = open({ prefix, endpoints: [proxy.url], requestTimeoutMs: 500 });
    const other = open({ prefix });
    const kept = taken(await store.acquire('kept', { holder: 'a', ttlMs: 20_000 }));
    proxy.delayMs = 350;
    await expect(store.acquire('n', { holder: 'a', ttlMs: 20_000 })).rejects.toMatchObject({
      code: 'ETCD_UNAVAILABLE',
    });
    proxy.delayMs = 0;
    await pass(1_000);
    expect(await store.renew(kept)).toBe(true);
    // Long before its time.
    expect(await acquiredAfterMs(other, 'n', 8_000)).toBeLessThan(8_000);
  });

  it('survives a restart of etcd, and fails with words while it is down', async () => {
    await using own = await EtcdServer.start();
    const store = open({ endpoints: [own.url], requestTimeoutMs: 2_000 });
    const watcher = open({ endpoints: [own.url], requestTimeoutMs: 2_000 });
    const lease = taken(await store.acquire('n', { holder: 'a', ttlMs: 20_000 }));
    const stop = new AbortController();
    const watch = watcher.watch('n', { signal: stop.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ holder: 'a' });
    await own.kill();
    await expect(store.renew(lease)).rejects.toThrow(/no etcd endpoint answered.*127\.0\.0\.1/);
    await own.start();
    expect(await store.renew(lease)).toBe(true);
    expect(await watcher.acquire('n', { holder: 'b', ttlMs })).toMatchObject({ acquired: false, holder: 'a' });
    await store.release(lease);
    let seen = await watch.next();
    while (seen.value !== undefined) seen = await watch.next();
    const next = taken(await watcher.acquire('n', { holder: 'b', ttlMs }));
    expect(next.fencingToken).toBeGreaterThan(lease.fencingToken);
    stop.abort();
  });

  it('goes on with another endpoint when a member of the cluster is killed or hangs', async () => {
    const members = await EtcdServer.cluster(3);
    try {
      const endpoints = members.map(({ url }) => url);
      const store = open({ endpoints, requestTimeoutMs: 1_000 });
      const lease = taken(await store.acquire('n', { holder: 'a', ttlMs: 60_000 }));
      for (const hurt of ['kill', 'stop'] as const) {
        const [victim] = hurt === 'kill' ? members : members.slice(1);
        if (hurt === 'kill') {
          await victim?.kill();
        } else {
          await members[0]?.start();
          victim?.signal('SIGSTOP');
        }
        let renewed = false;
        // A leader may have to be elected first, which takes a second or two.
        for (let attempt = 0; attempt < 20 && !renewed; attempt += 1) {
          renewed = await store.renew(lease).catch(() => false);
          if (!renewed) await pass(200);
        }
        expect(renewed, hurt).toBe(true);
      }
    } finally {
      await Promise.all(members.map((member) => member[Symbol.asyncDispose]()));
    }
  });

  it('speaks TLS with certificates at both ends, and authenticates with a password', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mw-etcd-tls-'));
    const file = (name: string): string => join(directory, name);
    const certificate = async (name: string): Promise<void> => {
      const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
      const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
      await run('openssl', [...request, ...names, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)]);
    };
    await Promise.all(['server', 'client', 'stranger'].map(certificate));
    const read = (name: string): string => readFileSync(file(name), 'utf8');
    const servers = { certFile: file('server.crt'), keyFile: file('server.key'), clientCaFile: file('client.crt') };
    try {
      await using secure = await EtcdServer.start({ tls: servers });
      const tls = { ca: read('server.crt'), cert: read('client.crt'), key: read('client.key') };
      const files = ['--cacert', file('server.crt'), '--cert', file('client.crt'), '--key', file('client.key')];
      const etcdctl = async (...args: readonly string[]): Promise<void> => {
        await run('etcdctl', ['--endpoints', secure.url, ...files, ...args], {
          env: { ...process.env, ETCDCTL_API: '3' },
        });
      };
      const attempt = async (options: Partial<EtcdLeaseStoreOptions>): Promise<unknown> => {
        const store = open({ endpoints: [secure.url], prefix: '/app/', requestTimeoutMs: 3_000, ...options });
        try {
          const { acquired } = await store.acquire('n', { holder: 'a', ttlMs: 60_000 });
          const watch = store.watch('n', { signal: AbortSignal.timeout(5_000) })[Symbol.asyncIterator]();
          expect((await watch.next()).value).toMatchObject({ holder: 'a' });
          return acquired;
        } catch (error) {
          expect(describeError(error)).not.toContain('correct horse');
          return (error as { code: unknown }).code;
        } finally {
          await store.close();
        }
      };
      expect(await attempt({ tls })).toBe(true);
      expect(await attempt({ tls: { ca: tls.ca } })).toBe('ETCD_UNAVAILABLE');
      expect(await attempt({ tls: { ...tls, ca: read('stranger.crt') } })).toBe('ETCD_UNAVAILABLE');
      expect(await attempt({ tls: { ...tls, cert: read('stranger.crt'), key: read('stranger.key') } })).toBe(
        'ETCD_UNAVAILABLE',
      );

      await etcdctl('user', 'add', 'root:correct horse root');
      await etcdctl('user', 'add', 'mesh:correct horse mesh');
      await etcdctl('role', 'add', 'leases');
      await etcdctl('role', 'grant-permission', 'leases', '--prefix=true', 'readwrite', '/app/');
      await etcdctl('user', 'grant-role', 'mesh', 'leases');
      await etcdctl('user', 'grant-role', 'root', 'root');
      await etcdctl('auth', 'enable');
      const auth = { username: 'mesh', password: 'correct horse mesh' };
      expect(await attempt({ tls, auth })).toBe(true);
      expect(await attempt({ tls, auth, prefix: '/other/' })).toBe('ETCD_REFUSED');
      expect(await attempt({ tls, auth: { ...auth, password: 'correct horse' } })).toBe('ETCD_REFUSED');
      // The certificate's common name is a user of etcd's too, and there is no such user.
      expect(await attempt({ tls })).toBe('ETCD_REFUSED');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
