/**
 * What the tunnel costs on this machine: `npx tsx --conditions=meshwright-source bench/tunnel.ts`.
 *
 * Everything runs in one process on loopback, client and server sharing the CPU, so the numbers compare ways of doing the
 * same thing with each other and say nothing about a network.
 */
import { once } from 'node:events';
import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { splice } from '../src/internal/splice.js';
import { authorizeAgent } from '../src/spiffe/index.js';
import { TestCa } from '../src/testing/test-ca.js';
import { Http2MtlsTunnel } from '../src/tunnel/index.js';

const MiB = 1 << 20;
const chunk = Buffer.alloc(64 * 1024, 'x');

async function listen(onSocket: (socket: net.Socket) => void): Promise<{ port: number; close: () => void }> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { port: (server.address() as net.AddressInfo).port, close: () => server.close() };
}

const dial = (port: number): net.Socket => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });

/** MiB/s that one upload gets through `stream`, to a far end that ends when it has read everything. */
async function upload(stream: Duplex, bytes: number): Promise<number> {
  const begin = performance.now();
  const ended = once(stream, 'end');
  stream.resume();
  for (let sent = 0; sent < bytes; sent += chunk.length) if (!stream.write(chunk)) await once(stream, 'drain');
  stream.end();
  await ended;
  return bytes / MiB / ((performance.now() - begin) / 1000);
}

async function best(times: number, run: () => Promise<number>): Promise<number> {
  let most = 0;
  for (let index = 0; index < times; index += 1) most = Math.max(most, await run());
  return most;
}

const say = (what: string, value: number, unit: string): void => {
  process.stdout.write(`${what.padEnd(58)} ${value.toFixed(value < 100 ? 2 : 0).padStart(8)} ${unit}\n`);
};

const sink = await listen((socket) => {
  socket.resume();
  socket.on('end', () => socket.end());
});
const size = 512 * MiB;

say('raw TCP, one upload', await best(3, () => upload(dial(sink.port), size)), 'MiB/s');

const relays = {
  'relay by stream.pipeline, both ways': (a: Duplex, b: Duplex) =>
    void Promise.all([pipeline(a, b, { end: true }), pipeline(b, a, { end: true })]).catch(() => undefined),
  'relay by splice': (a: Duplex, b: Duplex) => void splice(a, b),
};
// In turns, so that what else the machine does falls on both alike.
const fastest = new Map<string, number>();
for (let round = 0; round < 4; round += 1) {
  for (const [name, relay] of Object.entries(relays)) {
    const middle = await listen((socket) => relay(socket, dial(sink.port)));
    fastest.set(name, Math.max(fastest.get(name) ?? 0, await upload(dial(middle.port), size)));
    middle.close();
  }
}
for (const [name, value] of fastest) say(name, value, 'MiB/s');

const ca = TestCa.create();
const server = await Http2MtlsTunnel.listen({
  host: '127.0.0.1',
  port: 0,
  svid: ca.svid('spiffe://cluster.local/agent/b'),
  bundle: ca.bundle,
  authorizePeer: authorizeAgent(),
  onConnect: (request) => {
    const stream = request.accept();
    stream.resume();
    stream.on('end', () => stream.end());
  },
});
const client = Http2MtlsTunnel.client({ svid: ca.svid('spiffe://cluster.local/agent/a'), bundle: ca.bundle });
const token = 'x'.repeat(520);
const connect = async (): Promise<Duplex> => {
  const { stream } = await client.connect({
    address: server.address,
    authority: '10.0.0.7:80',
    peer: 'spiffe://cluster.local/agent/b',
    headers: { 'x-meshwright-workload-token': token },
  });
  return stream;
};

say('tunnel, one upload', await best(3, async () => upload(await connect(), size)), 'MiB/s');
const parallel = async (): Promise<number> => {
  const begin = performance.now();
  await Promise.all(Array.from({ length: 16 }, async () => upload(await connect(), size / 16)));
  return size / MiB / ((performance.now() - begin) / 1000);
};
say('tunnel, 16 uploads at once', await best(3, parallel), 'MiB/s');

const connects = async (): Promise<number> => {
  const begin = performance.now();
  const each = async (): Promise<void> => {
    for (let index = 0; index < 250; index += 1) {
      const stream = await connect();
      const ended = once(stream, 'end');
      stream.resume();
      stream.end();
      await ended;
    }
  };
  await Promise.all(Array.from({ length: 8 }, each));
  return 2_000 / ((performance.now() - begin) / 1000);
};
say('streams opened and closed, 8 at once', await best(3, connects), '/s');

await client.close();
await server.close();

const handshakes = async (): Promise<number> => {
  const begin = performance.now();
  const again = await Http2MtlsTunnel.listen({
    host: '127.0.0.1',
    port: 0,
    svid: ca.svid('spiffe://cluster.local/agent/b'),
    bundle: ca.bundle,
    authorizePeer: authorizeAgent(),
    onConnect: (request) => void request.accept().end(),
  });
  for (let index = 0; index < 100; index += 1) {
    const one = Http2MtlsTunnel.client({ svid: ca.svid('spiffe://cluster.local/agent/a'), bundle: ca.bundle });
    const { stream } = await one.connect({
      address: again.address,
      authority: 'x:1',
      peer: 'spiffe://cluster.local/agent/b',
    });
    stream.destroy();
    one.destroy();
  }
  again.destroy();
  return 100 / ((performance.now() - begin) / 1000);
};
say('new sessions (full handshake, both ends verified)', await best(2, handshakes), '/s');
sink.close();
