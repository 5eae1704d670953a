import type { Duplex } from 'node:stream';
import { noObserver, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import type { HttpVerdict, TrafficEvent } from './events.js';
import { Http1Connection } from './http1-connection.js';
import { resolveHttp1Limits } from './http1-limits.js';
import type { Http1Limits } from './http1-limits.js';
import type { HttpRequestFacts } from './http1-request.js';
import type { Http1ProxyResult } from './http1-result.js';

export interface Http1ProxyOptions {
  /** The client's side, its bytes unread (give back what was peeked). Owned by the proxy from here on. */
  readonly downstream: Duplex;
  /** Called when the first allowed request needs the application, and again when it has closed since. */
  readonly connectUpstream: () => Promise<Duplex>;
  /** Judges one request; called in order, when its turn comes, for every request of the connection. One that throws refuses. */
  readonly authorize: (request: HttpRequestFacts) => HttpVerdict;
  readonly limits?: Http1Limits | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<TrafficEvent> | undefined;
  /** Ends the connection at once, with a reset. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Carries HTTP/1.1 between a client and an application, and asks `authorize` about every single request, with
 * keep-alive and pipelining. Settles when the connection has ended; never rejects for what peers do.
 *
 * Refused by policy: 403 (or the verdict's status), the application never hears of it; the connection stays, unless a
 * body is still to come. Refused whatever policy says, with the connection closed: what two parsers might read
 * differently (RFC 9112 section 11), among it a repeated or missing Host, targets other than a path, CONNECT,
 * Transfer-Encoding other than `chunked` or beside Content-Length, fragments, control or non-ASCII bytes, backslashes,
 * malformed percent-encoding and encoded NUL in the path, connection options that name Host or framing.
 *
 * Forwarded: the same target, the fields in their order and case with repeats, bodies as streams, trailers, 1xx; not
 * the fields that concern one connection (RFC 9110 section 7.6.1). An offered upgrade to h2c is ignored; others need
 * `limits.upgrades`. A connection to the application that fails gives 503, an invalid response 502, and a response
 * that was cut short is cut short for the client too, with a reset.
 *
 * Not guaranteed: path normalisation (judge with an engine that normalises or refuses), bounds on a response's time or
 * size, and methods that Node's parser does not know (400). `Via` is not added.
 *
 * Throws `TRAFFIC_OPTION_INVALID` for a limit out of bounds.
 *
 * @example
 * const result = await proxyHttp1({
 *   downstream: tunnelStream,
 *   connectUpstream: () => dialUpstream({ destination, timeoutMs: 1000 }),
 *   authorize: ({ method, path }) => ({ allowed: method === 'GET' && path === '/healthz' }),
 * });
 */
export async function proxyHttp1(options: Http1ProxyOptions): Promise<Http1ProxyResult> {
  const connection = new Http1Connection({
    downstream: options.downstream,
    connectUpstream: options.connectUpstream,
    authorize: options.authorize,
    limits: resolveHttp1Limits(options.limits),
    clock: options.clock ?? systemClock,
    logger: options.logger ?? silentLogger,
    observer: options.observer ?? noObserver,
  });
  return await connection.run(options.signal);
}
