import { once } from 'node:events';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import * as tls from 'node:tls';
import type { Rig } from './support.js';

export interface RawIdentity {
  readonly chainPem: string;
  readonly privateKeyPem: string;
}

/** TLS as any client could speak it: `options` over what a good one would send. Rejects when the handshake fails here. */
export async function rawTls(
  rig: Rig,
  identity: RawIdentity | undefined,
  options: tls.ConnectionOptions = {},
): Promise<tls.TLSSocket> {
  const { ip, port } = rig.server.address;
  const socket = tls.connect({
    host: ip,
    port,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
    ...(identity === undefined ? {} : { cert: identity.chainPem, key: identity.privateKeyPem }),
    ...options,
  });
  await once(socket, 'secureConnect');
  socket.on('error', () => undefined);
  return socket;
}

/** An HTTP/2 client that checks nothing and limits nothing. */
export async function rawHttp2(rig: Rig, options: http2.ClientSessionOptions = {}): Promise<http2.ClientHttp2Session> {
  const socket = await rawTls(rig, rig.clientSvid.current);
  const session = http2.connect('https://tunnel', { ...options, createConnection: () => socket });
  session.on('error', () => undefined);
  await once(session, 'remoteSettings');
  return session;
}

export interface RawAnswer {
  readonly status: number | undefined;
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly rstCode: number;
}

/** One request to its very end. */
export async function rawRequest(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  options: http2.ClientSessionRequestOptions = { endStream: true },
): Promise<RawAnswer> {
  const stream = session.request(headers, options);
  const chunks: Buffer[] = [];
  let received: http2.IncomingHttpHeaders = {};
  stream.on('error', () => undefined);
  stream.on('response', (block) => (received = block));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => stream.once('close', resolve));
  return {
    status: received[':status'] as number | undefined,
    headers: received,
    body: Buffer.concat(chunks),
    rstCode: stream.rstCode,
  };
}

/** A TCP connection to the tunnel port. */
export async function rawTcp(rig: Rig): Promise<net.Socket> {
  const { ip, port } = rig.server.address;
  const socket = net.connect(port, ip);
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  return socket;
}

/** Resolves when the other side has closed. */
export async function closed(socket: net.Socket): Promise<void> {
  socket.resume();
  if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
}

/** One HTTP/2 frame (RFC 9113 section 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** What a client begins with: the preface and empty SETTINGS. */
export const clientPreface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0)]);

/** HEADERS of a CONNECT. */
export function connect(stream: number): Buffer {
  const literal = (index: number, value: string): Buffer =>
    Buffer.concat([Buffer.from([index, value.length]), Buffer.from(value)]);
  const block = Buffer.concat([literal(2, 'CONNECT'), literal(1, '10.0.0.7:80')]);
  return frame(1, 4, stream, block);
}

/** HEADERS of a CONNECT, and RST_STREAM(CANCEL) behind it. */
export function connectAndReset(stream: number): Buffer {
  return Buffer.concat([connect(stream), frame(3, 0, stream, Buffer.from([0, 0, 0, 8]))]);
}
