import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { formatSocketAddress } from '../../../src/core/index.js';
import { VipIngress, parseMeshState, prepareMeshView, viewsOf } from '../../../src/mesh/index.js';
import type {
  CapturedConnection,
  MeshState,
  MeshStateInput,
  MeshView,
  VipIngressOptions,
} from '../../../src/mesh/index.js';
import { SnapshotStore } from '../../../src/snapshot/index.js';
import { FakeClock } from '../../../src/testing/index.js';
import { freePort } from '../../support/free-port.js';
import { describeRequiring } from '../../support/requirements.js';
import { meshStateInput } from '../fixtures.js';
import { transcript, until } from '../support.js';

const vipAddress = '127.0.9.10';

async function server(
  onConnection: (socket: Socket) => void,
  host: string,
): Promise<{ port: number; close: () => void }> {
  const listening: Server = createServer(onConnection);
  await new Promise<void>((resolve) => void listening.listen(0, host, resolve));
  onTestFinished(() => void listening.close());
  return { port: (listening.address() as AddressInfo).port, close: () => void listening.close() };
}

interface World {
  readonly vipPort: number;
  readonly podPort: number;
  readonly ready?: boolean;
  readonly enrolled?: boolean;
  readonly node?: string;
}

function state({ vipPort, podPort, ready = true, enrolled = false, node = 'node-a' }: World): MeshState {
  const input: MeshStateInput = meshStateInput();
  return parseMeshState({
    ...input,
    workloads: [
      ...input.workloads,
      { namespace: 'edge', name: 'gateway', node, serviceAccount: 'gateway', addresses: ['127.0.9.20'], enrolled },
    ],
    services: [
      {
        namespace: 'edge',
        name: 'gateway',
        clusterIps: [],
        enrolled: false,
        ports: [
          {
            port: vipPort,
            endpoints: [{ address: '127.0.9.20', port: podPort, workload: 'edge/gateway', node, ready }],
          },
        ],
      },
    ],
    vips: [
      {
        name: 'edge',
        addresses: [vipAddress],
        mode: 'l2',
        nodes: ['node-a'],
        ports: [vipPort],
        targets: [{ port: vipPort, service: 'edge/gateway', servicePort: vipPort }],
      },
    ],
  });
}

async function ingress(first: MeshState, options: Partial<VipIngressOptions> = {}) {
  const store = new SnapshotStore<MeshState, MeshView>({ prepare: prepareMeshView('node-a') });
  await store.swap(first);
  const captured: CapturedConnection[] = [];
  const dialled: string[] = [];
  const made = new VipIngress({
    views: viewsOf(store),
    plaintext: {
      onConnection: (connection) => {
        captured.push(connection);
        connection.socket.destroy();
        return Promise.resolve();
      },
    },
    dial: async ({ destination, sourceIp }) => {
      dialled.push(`${sourceIp ?? '?'} -> ${formatSocketAddress(destination)}`);
      const socket = connect({ host: destination.ip, port: destination.port, allowHalfOpen: true });
      await once(socket, 'connect');
      return socket;
    },
    ...options,
  });
  onTestFinished(() => made.destroy());
  return { made, store, captured, dialled, names: () => made.serving.current.map(({ name }) => name) };
}

function ask(port: number, text: string): Promise<{ readonly text: string; readonly reset: boolean }> {
  const socket = connect({ host: vipAddress, port, allowHalfOpen: true });
  const said = transcript(socket);
  socket.end(text);
  return said;
}

describeRequiring({ native: true }, 'VipIngress', () => {
  it('leads a port of a virtual IP to a ready pod of this node, both ways and to the last byte', async () => {
    const pod = await server((socket) => socket.pipe(socket), '127.0.9.20');
    const vipPort = await freePort();
    const { names, dialled } = await ingress(state({ vipPort, podPort: pod.port }));
    await until(() => names().includes('edge'));
    expect(await ask(vipPort, 'x'.repeat(100_000))).toEqual({ text: 'x'.repeat(100_000), reset: false });
    expect(dialled).toEqual([`127.0.0.1 -> 127.0.9.20:${String(pod.port)}`]);
  });

  it('hands an enrolled pod to the plaintext path, which judges it', async () => {
    const pod = await server((socket) => socket.pipe(socket), '127.0.9.20');
    const vipPort = await freePort();
    const { names, captured, dialled } = await ingress(state({ vipPort, podPort: pod.port, enrolled: true }));
    await until(() => names().includes('edge'));
    await ask(vipPort, 'x');
    expect(captured.map(({ originalDestination }) => originalDestination)).toEqual([
      { ip: '127.0.9.20', port: pod.port },
    ]);
    expect(captured[0]?.source.ip).toBe('127.0.0.1');
    expect(dialled).toEqual([]);
  });

  it.each([
    ['whose pod is not ready', { ready: false }],
    ['whose pod is on another node', { node: 'node-b' }],
  ])('does not serve a virtual IP %s', async (_, world) => {
    const vipPort = await freePort();
    const { names } = await ingress(state({ vipPort, podPort: 1, ...world }));
    await new Promise((done) => setTimeout(done, 100));
    expect(names()).toEqual([]);
    expect(await ask(vipPort, 'x')).toEqual({ text: '', reset: true });
  });

  it('does not serve a virtual IP whose port is taken, until it is free', async () => {
    const vipPort = await freePort();
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(vipPort, '0.0.0.0', resolve));
    const { names, store } = await ingress(state({ vipPort, podPort: 1 }));
    await new Promise((done) => setTimeout(done, 100));
    expect(names()).toEqual([]);
    await new Promise((done) => void other.close(done));
    await store.swap(state({ vipPort, podPort: 2 }));
    await until(() => names().includes('edge'));
  });

  it('follows snapshots: readiness, and the end of a virtual IP', async () => {
    const vipPort = await freePort();
    const clock = new FakeClock();
    const { names, store } = await ingress(state({ vipPort, podPort: 1 }), { clock });
    await until(() => names().includes('edge'));
    await store.swap(state({ vipPort, podPort: 1, ready: false }));
    expect(names()).toEqual([]);
    await store.swap(parseMeshState(meshStateInput()));
    const listening = (): Promise<boolean> =>
      new Promise((resolve) => {
        const probe = createServer().listen(vipPort, vipAddress);
        probe.once('error', () => resolve(true));
        probe.once('listening', () => probe.close(() => resolve(false)));
      });
    expect(await listening()).toBe(true);
    clock.advance(5_000);
    for (let attempt = 0; attempt < 100 && (await listening()); attempt += 1) {
      await new Promise((done) => setTimeout(done, 5));
    }
    expect(await listening()).toBe(false);
  });

  it('holds a virtual IP that is gone, and serves it at once when it is back', async () => {
    const pod = await server((socket) => socket.pipe(socket), '127.0.9.20');
    const vipPort = await freePort();
    const clock = new FakeClock();
    const { names, store } = await ingress(state({ vipPort, podPort: pod.port }), { clock });
    await until(() => names().includes('edge'));
    const before = connect({ host: vipAddress, port: vipPort });
    await once(before, 'connect');
    await store.swap(parseMeshState(meshStateInput()));
    before.write('still there');
    expect(String(await once(before, 'data'))).toBe('still there');
    before.destroy();
    let answered = false;
    const asked = ask(vipPort, 'x').finally(() => (answered = true));
    await new Promise((done) => setTimeout(done, 200));
    expect(answered).toBe(false);
    await store.swap(state({ vipPort, podPort: pod.port }));
    expect(names()).toEqual(['edge']);
    // The SYN that was dropped is sent again.
    expect(await asked).toEqual({ text: 'x', reset: false });
    clock.advance(5_000);
    expect(await ask(vipPort, 'y')).toEqual({ text: 'y', reset: false });
    expect(clock.pendingTimers).toBe(0);
  });

  it('closes at once a port that alone is gone', async () => {
    const pod = await server((socket) => socket.pipe(socket), '127.0.9.20');
    const [vipPort, other] = [await freePort(), await freePort()];
    const { names, store } = await ingress(state({ vipPort, podPort: pod.port }));
    await until(() => names().includes('edge'));
    await store.swap(state({ vipPort: other, podPort: pod.port }));
    await until(() => names().includes('edge'));
    expect(await ask(vipPort, 'x')).toEqual({ text: '', reset: true });
  });

  it('quiesces all ports of an address: those that are open end, new ones wait, and its pods that are not ready serve what was under way', async () => {
    const pod = await server((socket) => socket.pipe(socket), '127.0.9.20');
    const vipPort = await freePort();
    const { made, names, store } = await ingress(state({ vipPort, podPort: pod.port }));
    await until(() => names().includes('edge'));
    const open = connect({ host: vipAddress, port: vipPort });
    await once(open, 'connect');
    const stop = new AbortController();
    let quiet = false;
    await store.swap(state({ vipPort, podPort: pod.port, ready: false }));
    const quiesced = made.quiesce(vipAddress, { signal: stop.signal }).then(() => (quiet = true));
    // Perhaps not even accepted by then.
    open.end('last words');
    expect(String(await once(open, 'data'))).toBe('last words');
    let answered = false;
    const asked = ask(vipPort, 'x').finally(() => (answered = true));
    await quiesced;
    expect([quiet, answered]).toEqual([true, false]);
    await store.swap(state({ vipPort, podPort: pod.port }));
    stop.abort();
    expect(await asked).toEqual({ text: 'x', reset: false });
    // An address that is not served has nothing to wait for.
    await made.quiesce('127.0.9.99', { signal: new AbortController().signal });
  });

  it('resets what one client has open beyond its share, and takes more once some have ended', async () => {
    const pod = await server((socket) => socket.pipe(socket), '127.0.9.20');
    const vipPort = await freePort();
    const { names } = await ingress(state({ vipPort, podPort: pod.port }), { maxConnections: 4 });
    await until(() => names().includes('edge'));
    const held = await Promise.all(
      [1, 2].map(async () => {
        const socket = connect({ host: vipAddress, port: vipPort });
        socket.write('x');
        await once(socket, 'data');
        return socket;
      }),
    );
    expect(await ask(vipPort, 'x')).toEqual({ text: '', reset: true });
    for (const socket of held) socket.destroy();
    for (let attempt = 0; attempt < 100 && (await ask(vipPort, 'y')).text !== 'y'; attempt += 1) {
      await new Promise((done) => setTimeout(done, 5));
    }
    expect(await ask(vipPort, 'z')).toEqual({ text: 'z', reset: false });
  });

  it('refuses a connection that no pod takes, by a reset', async () => {
    const vipPort = await freePort();
    const { names } = await ingress(state({ vipPort, podPort: await freePort() }));
    await until(() => names().includes('edge'));
    expect(await ask(vipPort, 'x')).toEqual({ text: '', reset: true });
  });
});
