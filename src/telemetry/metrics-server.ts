import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeError, formatSocketAddress, silentLogger, socketAddress } from '../core/index.js';
import type { Closable, Logger, SocketAddress } from '../core/index.js';
import { TelemetryError } from './errors.js';

export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface MetricsServerOptions {
  /** Default 127.0.0.1: metrics name services, so opening them to a network is a decision. */
  readonly host?: string | undefined;
  /** 0 to 65535; 0 lets the system choose. */
  readonly port: number;
  /** prom-client's `Registry`, or anything that renders the same. */
  readonly registry: MetricsSource;
  /** Asked at each `/healthz`; false, or a text that says why, answers 503. Default: always healthy. */
  readonly health?: (() => boolean | string) | undefined;
  readonly logger?: Logger | undefined;
}

export interface MetricsServer extends Closable {
  readonly address: SocketAddress;
}

const maxConnections = 32;

/**
 * Serves `/metrics` in Prometheus' text format and `/healthz`, over plain HTTP. GET and HEAD only; no other path, no
 * body. At most 32 connections at once, 8 KiB of headers, 5 s for a request, 5 s of idling.
 *
 * Throws `TELEMETRY_LISTEN_FAILED`.
 */
export async function metricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host = '127.0.0.1', port, registry, health = () => true, logger = silentLogger } = options;
  const scrape = sharedScrape(registry);
  const server = createServer({ maxHeaderSize: 8192, connectionsCheckingInterval: 1000 }, (req, res) => {
    answer(req, res, { scrape, contentType: registry.contentType, health }).catch((error: unknown) => {
      logger.error('answering a scrape failed', { error: describeError(error) });
      if (res.headersSent) res.destroy();
      else send(res, 500, 'text/plain', 'collecting metrics failed\n');
    });
  });
  server.maxConnections = maxConnections;
  server.headersTimeout = 5000;
  server.requestTimeout = 5000;
  server.keepAliveTimeout = 5000;
  // A connection that is stuck in reading or writing.
  server.timeout = 15_000;
  server.unref();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
  } catch (cause) {
    throw new TelemetryError('TELEMETRY_LISTEN_FAILED', `cannot serve metrics on ${host} port ${String(port)}`, {
      cause,
    });
  }
  const bound = server.address() as AddressInfo;
  const address = socketAddress(bound.address, bound.port);
  logger.debug('serving metrics', { address: formatSocketAddress(address) });
  return closable(server, address);
}

function closable(server: Server, address: SocketAddress): MetricsServer {
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= new Promise((resolve) => {
      // Scrapes under way end; idle connections go at once.
      server.close(() => resolve());
      server.closeIdleConnections();
    }));
  return {
    address,
    close,
    destroy: () => {
      void close();
      server.closeAllConnections();
    },
    [Symbol.asyncDispose]: close,
  };
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  source: { scrape: () => Promise<string>; contentType: string; health: () => boolean | string },
): Promise<void> {
  req.resume();
  const [path] = (req.url ?? '').split('?', 1);
  if (path !== '/metrics' && path !== '/healthz') return send(res, 404, 'text/plain', 'not found\n');
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    res.setHeader('allow', 'GET, HEAD');
    return send(res, 405, 'text/plain', 'method not allowed\n');
  }
  if (path === '/metrics') return send(res, 200, source.contentType, await source.scrape());
  const health = source.health();
  return health === true
    ? send(res, 200, 'text/plain', 'ok\n')
    : send(res, 503, 'text/plain', `${health === false ? 'not healthy' : health}\n`);
}

function send(res: ServerResponse, status: number, contentType: string, body: string): void {
  const bytes = Buffer.from(body);
  res.writeHead(status, { 'content-type': contentType, 'content-length': bytes.length, 'cache-control': 'no-store' });
  res.end(bytes);
}

/** Scrapes that come while one is being made get that one. */
function sharedScrape(registry: MetricsSource): () => Promise<string> {
  let running: Promise<string> | undefined;
  return () =>
    (running ??= registry.metrics().finally(() => {
      running = undefined;
    }));
}
