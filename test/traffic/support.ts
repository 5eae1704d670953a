import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { RequestListener, Server as HttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { proxyHttp1 } from '../../src/traffic/index.js';
import type {
  Http1Limits,
  Http1ProxyResult,
  HttpRequestEvent,
  HttpRequestFacts,
  HttpVerdict,
} from '../../src/traffic/index.js';
import type { Clock } from '../../src/core/index.js';

const cleanups: (() => Promise<void> | void)[] = [];

/** To be called in `afterEach`: everything a test made is gone when it ends. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** A TCP server on loopback that hands out its connections. */
export async function tcpServer(onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** A real HTTP application on loopback. */
export async function httpApp(listener: RequestListener, prepare?: (server: HttpServer) => void): Promise<number> {
  const server = createHttpServer({ keepAliveTimeout: 60_000 }, listener);
  prepare?.(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

export async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  cleanups.push(() => void socket.destroy());
  return socket;
}

export interface ProxySetup {
  readonly upstreamPort?: number;
  readonly connectUpstream?: () => Promise<Duplex>;
  readonly authorize?: (request: HttpRequestFacts) => HttpVerdict;
  readonly limits?: Http1Limits;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}

export interface RunningProxy {
  readonly port: number;
  readonly facts: HttpRequestFacts[];
  readonly events: HttpRequestEvent[];
  readonly results: Promise<Http1ProxyResult>[];
  /** Connections made to the application. */
  upstreamConnections: number;
}

/** A proxy in front of a port, one `proxyHttp1` per connection. */
export async function startProxy(setup: ProxySetup): Promise<RunningProxy> {
  const running = { facts: [], events: [], results: [], upstreamConnections: 0 } as unknown as RunningProxy;
  const port = await tcpServer((socket) => {
    running.results.push(
      proxyHttp1({
        downstream: socket,
        connectUpstream: async () => {
          running.upstreamConnections += 1;
          return setup.connectUpstream?.() ?? (await dial(setup.upstreamPort ?? 0));
        },
        authorize: (request) => {
          running.facts.push(request);
          return setup.authorize === undefined ? { allowed: true } : setup.authorize(request);
        },
        limits: { lingerMs: 50, ...setup.limits },
        clock: setup.clock,
        observer: (event) => running.events.push(event),
        signal: setup.signal,
      }),
    );
  });
  return Object.assign(running, { port });
}

/** Everything a socket sends until it ends, as Latin-1 text, and whether it ended by a reset. */
export async function readAll(socket: Socket, timeoutMs = 15_000): Promise<{ text: string; reset: boolean }> {
  const chunks: Buffer[] = [];
  let reset = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => (reset = true));
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no end in time; got ${Buffer.concat(chunks).toString('latin1')}`)),
      timeoutMs,
    );
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    socket.once('end', done);
    socket.once('close', done);
  });
  return { text: Buffer.concat(chunks).toString('latin1'), reset };
}

/** Writes, ends, and returns everything that came back. */
export async function exchange(port: number, bytes: string | Buffer): Promise<{ text: string; reset: boolean }> {
  const socket = await dial(port);
  socket.end(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  const result = await readAll(socket);
  socket.destroy();
  return result;
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error('condition not met in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Reads from a socket until `condition` holds for the text so far. */
export async function readUntil(socket: Socket, condition: (text: string) => boolean): Promise<string> {
  let text = '';
  const onData = (chunk: Buffer): void => {
    text += chunk.toString('latin1');
  };
  socket.on('data', onData);
  await until(() => condition(text));
  socket.off('data', onData);
  return text;
}
