import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ByteStream } from './byte-stream.js';
import { TrafficError } from './errors.js';
import type { TrafficErrorCode } from './errors.js';
import type { HttpRequestEvent } from './events.js';
import type { ResolvedHttp1Limits } from './http1-limits.js';
import { respond } from './http1-refusal.js';
import { groupFields, listOf } from './http1-request.js';
import type { CheckedRequest } from './http1-request.js';
import { checkResponse, encodeHead } from './http1-response.js';
import { trailerPairs } from './http1-trailers.js';
import type { Http1Upstream, UpstreamLease } from './http1-upstream.js';

/** Methods whose repetition does no harm (RFC 9110 section 9.2.2). */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);

export interface ExchangeEnd {
  readonly outcome: HttpRequestEvent['outcome'];
  readonly status?: number | undefined;
  readonly problem?: string | undefined;
  readonly error?: Error | undefined;
  /** After a 101: both ends, for whatever comes next. */
  readonly upgraded?: { readonly downstream: Duplex; readonly upstream: ByteStream } | undefined;
}

/** One allowed request on its way: to the application, and the response back. */
export class Http1Exchange {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #checked: CheckedRequest;
  readonly #down: ByteStream;
  readonly #upstream: Http1Upstream;
  readonly #limits: ResolvedHttp1Limits;
  #broken: Failure | undefined;
  #fail: (failure: Failure) => void = () => undefined;

  constructor(
    client: { readonly req: IncomingMessage; readonly res: ServerResponse; readonly checked: CheckedRequest },
    context: { readonly down: ByteStream; readonly upstream: Http1Upstream; readonly limits: ResolvedHttp1Limits },
  ) {
    this.#req = client.req;
    this.#res = client.res;
    this.#checked = client.checked;
    this.#down = context.down;
    this.#upstream = context.upstream;
    this.#limits = context.limits;
  }

  /** The rest of the request's body cannot be had: it is malformed, or stopped coming. */
  breakOff(status: number, problem: string, code: TrafficErrorCode): void {
    // Kept, since the connection to the application may not be there yet.
    this.#broken = { status, problem, error: new TrafficError(code, problem), outcome: 'malformed' };
    this.#fail(this.#broken);
  }

  /** Never rejects. */
  async run(): Promise<ExchangeEnd> {
    for (let attempt = 0; ; attempt += 1) {
      let lease: UpstreamLease | undefined;
      try {
        lease = await this.#whileConnected(this.#upstream.acquire(attempt > 0));
      } catch (cause) {
        const problem = 'the application could not be reached';
        const error = new TrafficError('TRAFFIC_UPSTREAM_UNREACHABLE', problem, { cause });
        await respond(this.#req, this.#res, 503, { close: this.#bodyIsPending() });
        return { outcome: 'upstream-failed', status: 503, problem, error };
      }
      if (lease === undefined) return { outcome: 'aborted', problem: 'the client went away' };
      if (this.#broken !== undefined) {
        this.#upstream.discard(lease);
        await respond(this.#req, this.#res, this.#broken.status, { close: true });
        return this.#broken;
      }
      const end = await this.#attempt(lease);
      if (end !== 'again') return end;
    }
  }

  #attempt(lease: UpstreamLease): Promise<ExchangeEnd | 'again'> {
    return new Promise((resolve) => {
      const { facts, forwardHeaders, hasBody } = this.#checked;
      const req = this.#req;
      const res = this.#res;
      let settled = false;
      let leaseIsOver = false;
      let responseIsSent = false;
      let request: ClientRequest | undefined;

      const settle = (end: ExchangeEnd | 'again'): void => {
        settled = true;
        this.#down.off('close', onDownClosed);
        lease.stream.off('free', onFree);
        lease.stream.off('close', onLeaseClosed);
        resolve(end);
      };
      const fail = (failure: Failure): void => {
        if (settled) return;
        request?.destroy();
        this.#upstream.discard(lease, failure.error);
        const mayRepeat =
          lease.reused && !hasBody && repeatable.has(facts.method) && failure.outcome === 'upstream-failed';
        if (res.headersSent) {
          // What the client has so far must not pass for a whole response.
          this.#down.reset(failure.error);
          settle({ ...failure, status: res.statusCode });
        } else if (mayRepeat && failure.repeatable === true) settle('again');
        else {
          const close = failure.outcome === 'malformed' || this.#bodyIsPending();
          settled = true;
          void respond(req, res, failure.status, { close }).then(() => settle(failure));
        }
      };
      this.#fail = fail;
      const upstreamFailed = (problem: string, cause?: unknown, mayRepeat = false): void =>
        fail({
          status: 502,
          problem,
          error: new TrafficError('TRAFFIC_UPSTREAM_ABORTED', problem, { cause }),
          outcome: 'upstream-failed',
          repeatable: mayRepeat,
        });
      const onDownClosed = (): void => {
        if (settled) return;
        const problem = 'the client went away';
        const error = new TrafficError('TRAFFIC_DOWNSTREAM_ABORTED', problem);
        request?.destroy();
        this.#upstream.discard(lease, error);
        settle({ outcome: 'aborted', status: res.headersSent ? res.statusCode : undefined, problem, error });
      };
      const finishIfDone = (): void => {
        if (settled || !leaseIsOver || !responseIsSent) return;
        // The application answered without reading everything, and is gone: the rest of the body has no reader.
        if (this.#bodyIsPending()) this.#down.destroySoon();
        settle({ outcome: 'complete', status: res.statusCode });
      };
      const onFree = (): void => {
        leaseIsOver = true;
        if (!settled) this.#upstream.release(lease);
        finishIfDone();
      };
      const onLeaseClosed = (): void => {
        leaseIsOver = true;
        if (!settled) this.#upstream.discard(lease);
        finishIfDone();
      };

      this.#down.on('close', onDownClosed);
      lease.stream.on('free', onFree);
      lease.stream.on('close', onLeaseClosed);
      res.once('finish', () => {
        responseIsSent = true;
        finishIfDone();
      });

      try {
        request = httpRequest({
          agent: lease.agent,
          method: facts.method,
          path: facts.rawTarget,
          headers: forwardHeaders,
          setHost: false,
          maxHeaderSize: this.#limits.maxHeaderBytes,
          insecureHTTPParser: false,
        });
      } catch (cause) {
        const problem = 'the request cannot be passed on';
        fail({
          status: 400,
          problem,
          error: new TrafficError('TRAFFIC_DOWNSTREAM_ABORTED', problem, { cause }),
          outcome: 'malformed',
        });
        return;
      }
      // 0 is "no cut": too many fields are counted and refused instead.
      request.maxHeadersCount = 0;
      const receivedBefore = lease.stream.receivedBytes;
      request.on('error', (cause) => {
        // Once a byte of an answer has come, the request was read, whatever became of it.
        const unanswered = lease.stream.receivedBytes === receivedBefore;
        upstreamFailed('the application closed the connection, or its answer does not parse', cause, unanswered);
      });
      request.on('information', ({ statusCode, statusMessage, rawHeaders }) => {
        const unasked = statusCode === 100 && groupFields(req.rawHeaders).get('expect') === undefined;
        if (settled || unasked || res.headersSent || req.httpVersion !== '1.1') return;
        this.#down.write(encodeHead(statusCode, statusMessage, rawHeaders));
      });
      request.on('response', (response) => {
        this.#relay(response, upstreamFailed);
      });
      request.on('upgrade', (response, _socket, head) => {
        const [protocol, ...more] = listOf(groupFields(response.rawHeaders).get('upgrade'));
        if (this.#checked.upgrade === undefined || protocol !== this.#checked.upgrade || more.length > 0) {
          upstreamFailed('the application switched to a protocol that was not asked for');
          return;
        }
        if (settled) return;
        if (head.length > 0) lease.stream.unshift(head);
        this.#down.off('close', onDownClosed);
        lease.stream.off('close', onLeaseClosed);
        this.#upstream.handOver(lease);
        this.#down.write(encodeHead(101, response.statusMessage ?? '', response.rawHeaders), () => {
          settle({
            outcome: 'upgraded',
            status: 101,
            upgraded: { downstream: this.#down.release(), upstream: lease.stream },
          });
        });
      });
      this.#sendBody(request, fail);
    });
  }

  /** The client's body, with backpressure; its end counts only when the parser saw it. */
  #sendBody(request: ClientRequest, fail: (failure: Failure) => void): void {
    const req = this.#req;
    if (!this.#checked.hasBody) {
      req.resume();
      request.end();
      return;
    }
    req.pipe(request, { end: false });
    const onEnd = (): void => {
      const trailers = trailerPairs(req.rawTrailers);
      if (trailers === undefined || !req.complete) {
        const problem = req.complete ? 'a trailer field is not allowed in trailers' : 'the request body is cut short';
        fail({
          status: 400,
          problem,
          error: new TrafficError('TRAFFIC_DOWNSTREAM_ABORTED', problem),
          outcome: 'malformed',
        });
        return;
      }
      if (trailers.length > 0) request.addTrailers(trailers);
      request.end();
    };
    req.once('end', onEnd);
    flushSoon(request);
  }

  #relay(response: IncomingMessage, upstreamFailed: (problem: string, cause?: unknown) => void): void {
    const res = this.#res;
    const { statusCode = 0, rawHeaders } = response;
    const checked = checkResponse({ statusCode, rawHeaders }, this.#req, this.#limits.maxHeaders);
    response.on('error', (cause) => upstreamFailed('the response is cut short', cause));
    if (typeof checked === 'string') {
      upstreamFailed(`the application's response is not valid: ${checked}`);
      return;
    }
    try {
      // The application's own fields are all there is: no Date, no Connection of ours.
      res.sendDate = false;
      res.removeHeader('connection');
      res.writeHead(statusCode, response.statusMessage ?? '', [...checked.headers]);
    } catch (cause) {
      upstreamFailed("the application's response cannot be passed on", cause);
      return;
    }
    response.pipe(res, { end: false });
    response.once('end', () => {
      const trailers = trailerPairs(response.rawTrailers);
      if (!response.complete || trailers === undefined) {
        upstreamFailed(response.complete ? 'a trailer field is not allowed in trailers' : 'the response is cut short');
        return;
      }
      if (res.destroyed) return;
      if (trailers.length > 0) res.addTrailers(trailers);
      res.end();
    });
    flushSoon(res);
  }

  /** Undefined when the client went away first; what comes of the promise then is the upstream's to drop. */
  async #whileConnected<T>(promise: Promise<T>): Promise<T | undefined> {
    let onClose = (): void => undefined;
    const gone = new Promise<undefined>((resolve) => {
      onClose = () => resolve(undefined);
      if (this.#down.destroyed) onClose();
      else this.#down.once('close', onClose);
    });
    try {
      return await Promise.race([promise, gone]);
    } finally {
      this.#down.off('close', onClose);
      promise.catch(() => undefined);
    }
  }

  #bodyIsPending(): boolean {
    return this.#checked.hasBody && !this.#req.complete;
  }
}

interface Failure {
  readonly outcome: 'malformed' | 'upstream-failed';
  readonly status: number;
  readonly problem: string;
  readonly error: Error;
  /** No byte of an answer came, on a connection that had served before. */
  readonly repeatable?: boolean;
}

/** Sends a head whose body is late, without splitting off the head of one that is already here. */
function flushSoon(message: ClientRequest | ServerResponse): void {
  setImmediate(() => {
    if (!message.destroyed && !message.writableEnded) message.flushHeaders();
  });
}
