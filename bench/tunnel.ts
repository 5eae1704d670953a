/**
 * The tunnel beside bare TCP and bare TLS 1.3: bytes, streams, sessions; and the relay beside `stream.pipeline`. Both ends
 * share this process and its CPU, so the figures compare ways of doing the same thing and say nothing about a network.
 */
import { once } from 'node:events';
import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as tls from 'node:tls';
import { authorizeAgent } from 'meshwright/spiffe';
import { TestCa } from 'meshwright/testing';
import { Http2MtlsTunnel } from 'meshwright/tunnel';
import { splice } from '../src/internal/splice.js';
import { compare } from './support.js';

const MiB = 1 << 20;
const uploadMiB = 256;
const chunk = Buffer.alloc(64 * 1024, 'x');
const agents = { a: 'spiffe://cluster.local/agent/a', b: 'spiffe://cluster.local/agent/b' };

/** Reads everything, then ends. */
function swallow(stream: Duplex): void {
  stream.on('error', () => undefined);
  stream.resume();
  stream.once('end', () => stream.end());
}

async function listen(server: net.Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as net.AddressInfo).port;
}

const tcp = (onSocket: (socket: net.Socket) => void): net.Server =>
  net.createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
const dial = (port: number): net.Socket => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });

/** Uploads through `stream`, to a far end that ends when it has read everything. */
async function upload(stream: Duplex, mebibytes: number): Promise<void> {
  const ended = once(stream, 'end');
  stream.resume();
  for (let sent = 0; sent < mebibytes * MiB; sent += chunk.length)
    if (!stream.write(chunk)) await once(stream, 'drain');
  stream.end();
  await ended;
  stream.destroy();
}

const uploads = (name: string, open: () => Duplex | Promise<Duplex>, atOnce = 1) => ({
  name,
  run: async () => {
    await Promise.all(Array.from({ length: atOnce }, async () => upload(await open(), uploadMiB / atOnce)));
    return { units: uploadMiB };
  },
});

const ca = TestCa.create();
const identity = { a: ca.svid(agents.a), b: ca.svid(agents.b) };
const sink = tcp(swallow);
const sinkPort = await listen(sink);
const tlsOptions: tls.SecureContextOptions = {
  minVersion: 'TLSv1.3',
  ca: [...ca.bundle.x509AuthoritiesPem],
};
const tlsSink = tls.createServer(
  { ...tlsOptions, cert: identity.b.chainPem, key: identity.b.privateKeyPem, requestCert: true, allowHalfOpen: true },
  swallow,
);
const tlsPort = await listen(tlsSink);
const dialTls = async (): Promise<tls.TLSSocket> => {
  const socket = tls.connect({
    ...tlsOptions,
    cert: identity.a.chainPem,
    key: identity.a.privateKeyPem,
    // A socket of our own, because a client has no allowHalfOpen.
    socket: dial(tlsPort),
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  return socket;
};
const server = await Http2MtlsTunnel.listen({
  host: '127.0.0.1',
  port: 0,
  svid: identity.b,
  bundle: ca.bundle,
  authorizePeer: authorizeAgent(),
  onConnect: (request) => swallow(request.accept()),
});
const newClient = () => Http2MtlsTunnel.client({ svid: identity.a, bundle: ca.bundle });
const client = newClient();
/** As long as a workload token. */
const headers = { 'x-meshwright-workload-token': 'x'.repeat(520) };
const connect = async (by = client): Promise<Duplex> =>
  (await by.connect({ address: server.address, authority: '10.0.0.7:80', peer: agents.b, headers })).stream;

await compare({
  title: 'bytes one way',
  unit: 'MiB',
  contenders: [
    uploads('TCP', () => dial(sinkPort)),
    uploads('TLS 1.3', dialTls),
    uploads('tunnel, 1 stream', () => connect()),
    uploads('tunnel, 16 streams of one session', () => connect(), 16),
  ],
});

const relay = async (name: string, pass: (a: Duplex, b: Duplex) => void) => {
  const port = await listen(tcp((socket) => pass(socket, dial(sinkPort))).unref());
  return uploads(name, () => dial(port));
};
await compare({
  title: 'relay between two sockets',
  unit: 'MiB',
  contenders: [
    await relay('stream.pipeline, both ways', (a, b) => {
      void Promise.all([pipeline(a, b), pipeline(b, a)]).catch(() => undefined);
    }),
    await relay('splice', (a, b) => void splice(a, b)),
  ],
});

const opened = (name: string, count: number, atOnce: number, one: () => Promise<Duplex>) => ({
  name,
  run: async () => {
    const each = async (): Promise<void> => {
      for (let index = 0; index < count / atOnce; index += 1) {
        const stream = await one();
        const ended = once(stream, 'end');
        stream.resume();
        stream.end();
        await ended;
        stream.destroy();
      }
    };
    await Promise.all(Array.from({ length: atOnce }, each));
    return { units: count };
  },
});
await compare({
  title: 'opened and closed',
  unit: 'connection',
  contenders: [
    opened('TLS 1.3 connections, mutual', 160, 8, dialTls),
    opened('tunnel streams on one session', 2_000, 8, () => connect()),
    opened('tunnel sessions, both ends verified', 160, 8, async () => {
      const own = newClient();
      const stream = await connect(own);
      stream.once('close', () => own.destroy());
      return stream;
    }),
  ],
});

await client.close();
await server.close();
sink.close();
tlsSink.close();
