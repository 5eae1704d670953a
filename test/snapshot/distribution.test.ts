import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ServerHttp2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SpiffeId } from '../../src/spiffe/index.js';
import { freePort } from '../support/free-port.js';
import {
  SnapshotFileCache,
  SnapshotPublisher,
  SnapshotStore,
  SnapshotSubscriber,
  snapshotRoutes,
} from '../../src/snapshot/index.js';
import type { SnapshotPeer, SnapshotRoutesOptions, SnapshotSubscriberOptions } from '../../src/snapshot/index.js';
import { SnapshotService, WatchRequestSchema } from '../../src/snapshot/gen/snapshot_pb.js';

interface State {
  readonly n: number;
  readonly filler?: string;
}

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Controller {
  readonly port: number;
  readonly publisher: SnapshotPublisher<State>;
  stop(): Promise<void>;
}

/** A controller over plain HTTP/2; who calls is what the header `peer` says, which stands for the certificate here. */
async function controller(
  options: Partial<SnapshotRoutesOptions<State>> & { port?: number } = {},
): Promise<Controller> {
  const { port: wanted = 0, ...parts } = options;
  const publisher = options.publisher ?? new SnapshotPublisher<State>();
  const peerOf: SnapshotRoutesOptions<State>['peerOf'] = ({ requestHeader }): SnapshotPeer | undefined => {
    const id = requestHeader.get('peer');
    return id === null ? undefined : { spiffeId: SpiffeId.parse(id), keyThumbprint: 'key' };
  };
  const routes = snapshotRoutes<State>({ peerOf, heartbeatMs: 100, ...parts, publisher });
  const server = createServer(connectNodeAdapter({ routes }));
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(wanted, '127.0.0.1', resolve));
  const stop = (): Promise<void> => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  cleanups.push(stop);
  return { port: (server.address() as AddressInfo).port, publisher, stop };
}

function transport(
  port: number,
  peer: string | undefined = 'spiffe://cluster.local/agent/node-a',
): ReturnType<typeof createGrpcTransport> {
  return createGrpcTransport({
    baseUrl: `http://127.0.0.1:${String(port)}`,
    interceptors: [
      (next) => (request) => {
        if (peer !== '') request.header.set('peer', peer);
        return next(request);
      },
    ],
  });
}

function newStore(): SnapshotStore<State, number> {
  return new SnapshotStore<State, number>({
    prepare: (next) => {
      if (next.n < 0) throw new Error('expected n of at least 0, got one below');
      return next.n;
    },
  });
}

async function subscribe(
  port: number,
  options: Partial<SnapshotSubscriberOptions<State>> & { peer?: string } = {},
): Promise<{ store: SnapshotStore<State, number>; subscriber: SnapshotSubscriber<State> }> {
  const store = (options.store as SnapshotStore<State, number> | undefined) ?? newStore();
  const subscriber = await SnapshotSubscriber.open<State>({
    transport: () => transport(port, options.peer),
    node: 'node-a',
    silenceTimeoutMs: 10_000,
    backoff: { firstMs: 10, maxMs: 50 },
    ...options,
    store,
  });
  cleanups.push(() => subscriber.close());
  return { store, subscriber };
}

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 });

describe('distribution', () => {
  it('brings the current snapshot to a late agent, then every newer one, and knows what became of them', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const { store } = await subscribe(port);
    await eventually(() => expect(store.current?.source).toEqual({ n: 1 }));
    const published = publisher.publish('node-a', { n: 2 });
    expect(published.sequence).toBe(2);
    await eventually(() => expect(store.current?.source).toEqual({ n: 2 }));
    await eventually(() =>
      expect(publisher.statusOf('node-a')).toMatchObject({
        connected: true,
        published: { sequence: 2 },
        applied: { sequence: 2, hash: published.hash },
        rejected: undefined,
      }),
    );
  });

  it('gives an agent its own node’s snapshot only', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    publisher.publish('node-b', { n: 2 });
    // The name it gives itself plays no part; the certificate's does.
    const { store } = await subscribe(port, { node: 'node-a', peer: 'spiffe://cluster.local/agent/node-b' });
    await eventually(() => expect(store.current?.source).toEqual({ n: 2 }));
    expect(publisher.statusOf('node-a')?.connected).toBe(false);
  });

  it.each([
    ['nobody', '', 'client certificate'],
    ['a workload', 'spiffe://cluster.local/ns/shop/sa/web', 'is not an agent'],
    ['a controller', 'spiffe://cluster.local/controller', 'is not an agent'],
    ['something like an agent', 'spiffe://cluster.local/agent/node-a/x', 'is not an agent'],
  ])('refuses %s', async (_who, peer, reason) => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const { store, subscriber } = await subscribe(port, { peer });
    await eventually(() => expect(subscriber.status.current.disconnected).toContain(reason));
    expect(store.current).toBeUndefined();
  });

  it('reports a refusal with its reason, keeps the last good one, and takes the next', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const { store, subscriber } = await subscribe(port);
    await eventually(() => expect(store.current?.source.n).toBe(1));
    const bad = publisher.publish('node-a', { n: -1 });
    await eventually(() =>
      expect(publisher.statusOf('node-a')).toMatchObject({
        rejected: { sequence: 2, hash: bad.hash, reason: 'expected n of at least 0, got one below' },
        applied: { sequence: 1 },
      }),
    );
    expect(store.current?.source.n).toBe(1);
    expect(subscriber.status.current).toMatchObject({ connected: true, refused: { hash: bad.hash } });
    publisher.publish('node-a', { n: 3 });
    await eventually(() => expect(store.current?.source.n).toBe(3));
    await eventually(() =>
      expect(publisher.statusOf('node-a')).toMatchObject({ rejected: undefined, applied: { sequence: 3 } }),
    );
    expect(subscriber.status.current.refused).toBeUndefined();
  });

  it('carries a reason of many lines whole', async () => {
    const reason = 'line\n'.repeat(5_000);
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const store = new SnapshotStore<State, number>({
      prepare: () => {
        throw new Error(reason);
      },
    });
    await subscribe(port, { store });
    await eventually(() => expect(publisher.statusOf('node-a')?.rejected?.reason).toBe(reason));
  });

  it('sends a snapshot of many chunks', async () => {
    const { port, publisher } = await controller();
    const filler = Array.from({ length: 120_000 }, (_, index) => ((index * 2654435761) >>> 0).toString(36)).join('');
    publisher.publish('node-a', { n: 1, filler });
    const { store } = await subscribe(port);
    await eventually(() => expect(store.current?.source.filler).toBe(filler));
  });

  it('refuses a snapshot beyond the agent’s limit without keeping it, and goes on', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1, filler: 'x'.repeat(100_000) });
    const { store } = await subscribe(port, { maxBytes: 10_000 });
    await eventually(() => expect(publisher.statusOf('node-a')?.rejected?.code).toBe('SNAPSHOT_TOO_LARGE'));
    publisher.publish('node-a', { n: 2 });
    await eventually(() => expect(store.current?.source.n).toBe(2));
  });

  it('does not publish beyond its own limit', () => {
    const publisher = new SnapshotPublisher<State>({ maxBytes: 100 });
    publisher.publish('node-a', { n: 1 });
    expect(() => publisher.publish('node-a', { n: 2, filler: 'x'.repeat(100) })).toThrow(
      expect.objectContaining({ code: 'SNAPSHOT_TOO_LARGE' }),
    );
    expect(publisher.statusOf('node-a')).toMatchObject({ published: { sequence: 1 } });
  });

  it('publishes for all nodes at once, withdraws the others, and lets one that fails stop nobody', () => {
    const publisher = new SnapshotPublisher<State>();
    publisher.publishAll([
      ['node-a', { n: 1 }],
      ['node-b', { n: 2 }],
    ]);
    expect(() =>
      publisher.publishAll([
        ['node-a', { n: NaN }],
        ['node-c', { n: 3 }],
      ]),
    ).toThrow(AggregateError);
    expect(publisher.statuses().map(({ node, published }) => [node, published?.sequence])).toEqual([
      ['node-a', 1],
      ['node-c', 1],
    ]);
  });

  it('connects again after the controller was away, and is not sent what it has', async () => {
    const first = await controller({ port: await freePort() });
    first.publisher.publish('node-a', { n: 1 });
    const prepare = vi.fn((next: State) => next.n);
    const store = new SnapshotStore<State, number>({ prepare });
    const { subscriber } = await subscribe(first.port, { store });
    await eventually(() => expect(store.current?.source.n).toBe(1));
    await first.stop();
    await eventually(() => expect(subscriber.status.current.connected).toBe(false));
    expect(store.current?.source.n).toBe(1);

    const answered: number[] = [];
    const publisher = new SnapshotPublisher<State>({
      observer: (event) => {
        if (event.type === 'snapshot-answered') answered.push(event.sequence);
      },
    });
    publisher.publish('node-a', { n: 1 });
    await controller({ port: first.port, publisher });
    await eventually(() => expect(publisher.statusOf('node-a')?.applied?.sequence).toBe(1));
    expect(prepare).toHaveBeenCalledTimes(1);
    publisher.publish('node-a', { n: 2 });
    await eventually(() => expect(answered).toContain(2));
    // The first was recognised by its hash: it was not offered, so it was not answered.
    expect(answered).toEqual([2]);
    expect(store.current?.source.n).toBe(2);
  });

  it('gives up a controller that says nothing any more', async () => {
    const { port, publisher } = await controller({ heartbeatMs: 60_000 });
    publisher.publish('node-a', { n: 1 });
    const { store, subscriber } = await subscribe(port, { silenceTimeoutMs: 300 });
    await eventually(() => expect(subscriber.status.current.disconnected).toContain('nothing'));
    await eventually(() => expect(store.current?.source.n).toBe(1));
  });

  it('keeps a quiet stream by heartbeats', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const { subscriber, store } = await subscribe(port, { silenceTimeoutMs: 1_000 });
    await eventually(() => expect(store.current).toBeDefined());
    let drops = 0;
    subscriber.status.subscribe(({ connected }) => void (drops += connected ? 0 : 1));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(drops).toBe(0);
  });

  it('ends a stream whose certificate ends', async () => {
    let notAfter: Date | undefined;
    const spiffeId = SpiffeId.parse('spiffe://cluster.local/agent/node-a');
    const { port, publisher } = await controller({
      // From the moment that it is shown, and the same when it is shown again.
      peerOf: () => ({ spiffeId, keyThumbprint: 'key', notAfter: (notAfter ??= new Date(Date.now() + 500)) }),
    });
    publisher.publish('node-a', { n: 1 });
    const { store, subscriber } = await subscribe(port);
    await eventually(() => expect(store.current?.source.n).toBe(1));
    await eventually(() => expect(subscriber.status.current.disconnected).toContain('expired'));
    publisher.publish('node-a', { n: 2 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(store.current?.source.n).toBe(1);
  });

  it('lets a newer stream of a node take over', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const older = await subscribe(port, { backoff: { firstMs: 60_000, maxMs: 60_000 } });
    await eventually(() => expect(older.store.current).toBeDefined());
    const newer = await subscribe(port);
    await eventually(() => expect(newer.store.current).toBeDefined());
    await eventually(() => expect(older.subscriber.status.current.disconnected).toContain('took over'));
    expect(publisher.statusOf('node-a')?.connected).toBe(true);
  });

  it('forgets a node that is withdrawn once its agent is gone', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const { store, subscriber } = await subscribe(port);
    await eventually(() => expect(store.current).toBeDefined());
    publisher.withdraw('node-a');
    expect(publisher.statusOf('node-a')).toMatchObject({ connected: true, published: undefined });
    await subscriber.close();
    await eventually(() => expect(publisher.statuses()).toEqual([]));
    expect(store.current?.source.n).toBe(1);
  });

  it('refuses a client that breaks the protocol', async () => {
    const { port, publisher } = await controller();
    publisher.publish('node-a', { n: 1 });
    const client = createClient(SnapshotService, transport(port));
    async function* forged(): AsyncGenerator<ReturnType<typeof create<typeof WatchRequestSchema>>> {
      yield create(WatchRequestSchema, { message: { case: 'ack', value: { sequence: 1n, hash: 'x' } } });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await expect(
      (async () => {
        for await (const _ of client.watch(forged())) void _;
      })(),
    ).rejects.toThrow('expected an answer to the snapshot that was offered');
    expect(publisher.statusOf('node-a')?.applied).toBeUndefined();
  });
});

describe('cache on disk', () => {
  it('serves from disk at once while the controller is down, and takes up the newest when it is back', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'meshwright-subscriber-'));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    const cache = new SnapshotFileCache<State>({ path: join(directory, 'snapshot'), label: 'node-a' });
    const first = await controller({ port: await freePort() });
    first.publisher.publish('node-a', { n: 1 });
    const before = await subscribe(first.port, { cache });
    await eventually(() => expect(before.store.current).toBeDefined());
    await before.subscriber.close();
    await first.stop();

    const { store, subscriber } = await subscribe(first.port, { cache });
    expect(store.current?.source).toEqual({ n: 1 });
    expect(subscriber.status.current.source).toBe('cache');
    const publisher = new SnapshotPublisher<State>();
    publisher.publish('node-a', { n: 2 });
    await controller({ port: first.port, publisher });
    await eventually(() => expect(store.current?.source.n).toBe(2));
    await vi.waitFor(async () => expect((await cache.read())?.value).toEqual({ n: 2 }), { timeout: 10_000 });
  });

  it('starts empty from a cached snapshot that is refused now', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'meshwright-subscriber-'));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    const cache = new SnapshotFileCache<State>({ path: join(directory, 'snapshot') });
    await cache.write({ n: -5 });
    const { port } = await controller();
    const { store, subscriber } = await subscribe(port, { cache });
    expect(store.current).toBeUndefined();
    expect(subscriber.status.current.refused?.reason).toContain('at least 0');
  });
});

describe('options', () => {
  it('are bounded', async () => {
    const publisher = new SnapshotPublisher<State>();
    const invalid = expect.objectContaining({ code: 'SNAPSHOT_OPTION_INVALID' });
    expect(() => snapshotRoutes({ publisher, peerOf: () => undefined, heartbeatMs: 1 })).toThrow(invalid);
    const opened = SnapshotSubscriber.open({
      transport: transport(1),
      node: 'n',
      store: newStore(),
      silenceTimeoutMs: 1,
    });
    await expect(opened).rejects.toThrow(invalid);
  });
});
