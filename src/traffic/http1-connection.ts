import { Server } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { describeError, notify } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import { splice } from '../internal/splice.js';
import { ByteStream } from './byte-stream.js';
import { TrafficError } from './errors.js';
import { methodClass } from './events.js';
import type { HttpRequestEvent, HttpVerdict, TrafficEvent } from './events.js';
import { ConnectionTimer } from './connection-timer.js';
import type { TimedPhase } from './connection-timer.js';
import { Http1Exchange } from './http1-exchange.js';
import type { ExchangeEnd } from './http1-exchange.js';
import type { ResolvedHttp1Limits } from './http1-limits.js';
import { checkRequest, groupFields } from './http1-request.js';
import type { CheckedRequest, HttpRequestFacts, RequestProblem } from './http1-request.js';
import { httpAnswer, respond } from './http1-refusal.js';
import type { Http1ProxyResult } from './http1-result.js';
import { Http1Upstream } from './http1-upstream.js';

export interface Http1ConnectionOptions {
  readonly downstream: Duplex;
  readonly connectUpstream: () => Promise<Duplex>;
  readonly authorize: (request: HttpRequestFacts) => HttpVerdict;
  readonly limits: ResolvedHttp1Limits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: Observer<TrafficEvent>;
}

interface QueuedRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly checked: CheckedRequest | RequestProblem;
  readonly arrivedMs: number;
}

/** One client connection: the parser at its front, its requests one after the other, and its end. */
export class Http1Connection {
  readonly #options: Http1ConnectionOptions;
  readonly #down: ByteStream;
  readonly #upstream: Http1Upstream;
  readonly #queue: QueuedRequest[] = [];
  readonly #counts = { requests: 0, allowed: 0, refused: 0, malformed: 0 };
  #current: { readonly item: QueuedRequest; readonly exchange?: Http1Exchange } | undefined;
  #serving = false;
  #served: Promise<void> = Promise.resolve();
  /** What the parser could not read, answered once everything before it has been. */
  #unreadable: RequestProblem | undefined;
  #closing = false;
  #upgraded: Promise<Http1ProxyResult> | undefined;
  #signal: AbortSignal | undefined;
  readonly #timer: ConnectionTimer;
  #failure: Error | undefined;
  #aborted = false;

  constructor(options: Http1ConnectionOptions) {
    this.#options = options;
    const { clock, limits } = options;
    const streamOptions = { clock, lingerMs: limits.lingerMs };
    this.#down = new ByteStream(options.downstream, { ...streamOptions, onReceived: () => this.#onReceived() });
    this.#upstream = new Http1Upstream(options.connectUpstream, streamOptions);
    this.#timer = new ConnectionTimer(clock, limits, (phase) => this.#onTimer(phase));
  }

  async run(signal?: AbortSignal): Promise<Http1ProxyResult> {
    const down = this.#down;
    this.#signal = signal;
    let downError: Error | undefined;
    down.on('error', (error) => (downError = error));
    const closed = new Promise<void>((resolve) => down.once('close', resolve));
    const onAbort = (): void => {
      const reason = abortReason(signal);
      this.#aborted = true;
      this.#failure ??= reason;
      down.reset(reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    else {
      this.#makeServer().emit('connection', down);
      this.#timer.start('idle');
    }

    await closed;
    this.#timer.stop();
    this.#closing = true;
    this.#upstream.destroy(downError ?? new Error('the connection has ended'));
    signal?.removeEventListener('abort', onAbort);
    // Its last report comes before the result.
    await this.#served;
    if (this.#upgraded !== undefined) return await this.#upgraded;
    const failure = this.#failure ?? (downError instanceof TrafficError ? downError : undefined);
    let outcome: Http1ProxyResult['outcome'] = 'eof';
    if (this.#aborted) outcome = 'aborted';
    else if (failure !== undefined) outcome = 'error';
    else if (downError !== undefined) outcome = 'reset';
    return this.#result({ outcome, error: failure ?? downError });
  }

  /** One per connection, never listening: it only lends its parser and its rules of framing and order. */
  #makeServer(): Server {
    const { limits } = this.#options;
    const server = new Server({
      maxHeaderSize: limits.maxHeaderBytes,
      insecureHTTPParser: false,
      // Ours to refuse, with everything else that is wrong with a request.
      requireHostHeader: false,
      // Node's own timers run only in a server that listens; ours are on the injected clock.
      headersTimeout: 0,
      requestTimeout: 0,
      keepAliveTimeout: 0,
    });
    server.timeout = 0;
    // 0 is "no cut": too many fields are counted and refused instead.
    server.maxHeadersCount = 0;
    // A client may end its side after its last request and still wait for the answer.
    (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
    const onRequest = (req: IncomingMessage, res: ServerResponse): void => this.#enqueue(req, res);
    server.on('request', onRequest);
    server.on('checkContinue', onRequest);
    server.on('checkExpectation', onRequest);
    server.on('connect', () => this.#onUnreadable({ status: 400, problem: 'CONNECT is not served here' }));
    server.on('clientError', (error: NodeJS.ErrnoException) => this.#onUnreadable(parserProblem(error)));
    return server;
  }

  #enqueue(req: IncomingMessage, res: ServerResponse): void {
    if (this.#closing || this.#unreadable !== undefined) return;
    this.#timer.stop();
    this.#counts.requests += 1;
    const { limits, clock } = this.#options;
    const { method = '', url = '', httpVersion, rawHeaders } = req;
    let checked = checkRequest({ method, target: url, httpVersion, rawHeaders }, limits);
    if (!('problem' in checked) && !checked.hasBody && groupFields(rawHeaders).has('upgrade')) {
      // Node's parser stops here and drops the rest of what it was given, so there must be no rest.
      if (!this.#down.endsWithEmptyLine) checked = { status: 400, problem: 'bytes follow a request with Upgrade' };
      else if (checked.upgrade !== undefined) this.#down.hold();
    }
    // A body that is never read must not fail for want of a listener; its end is judged by `complete`.
    req.on('error', () => undefined);
    this.#queue.push({ req, res, checked, arrivedMs: clock.monotonicMs() });
    if (this.#queue.length >= limits.maxPipelined) this.#down.hold();
    if (!this.#serving) this.#served = this.#serve();
  }

  async #serve(): Promise<void> {
    this.#serving = true;
    // The parser is in the middle of a chunk: let it finish, so that `complete` tells whether a body is already here.
    await Promise.resolve();
    for (let item = this.#queue.shift(); item !== undefined && !this.#closing; item = this.#queue.shift()) {
      try {
        await this.#serveOne(item);
      } catch (error) {
        // Nothing in serving is expected to throw; if it does, the connection must not go on in an unknown state.
        this.#failure ??= error as Error;
        this.#options.logger.error('http connection failed', { error: describeError(error) });
        this.#down.reset(error as Error);
      }
      this.#current = undefined;
      if (!this.#closing && this.#unreadable === undefined && this.#queue.length < this.#options.limits.maxPipelined)
        this.#down.resumeFeeding();
    }
    this.#serving = false;
    if (this.#closing || this.#down.destroyed) return;
    if (this.#unreadable !== undefined) this.#answerUnreadable(this.#unreadable);
    else if (this.#down.readableEnded) this.#down.destroySoon();
    else this.#timer.start('idle');
  }

  async #serveOne(item: QueuedRequest): Promise<void> {
    const { req, res } = item;
    this.#current = { item };
    // The rest of this request is what could not be read.
    const cutShort = this.#unreadable !== undefined && !req.complete ? this.#unreadable : undefined;
    const checked = cutShort ?? item.checked;
    if ('problem' in checked) {
      this.#counts.malformed += 1;
      this.#closing = true;
      await respond(req, res, checked.status, { close: true });
      this.#report(item, { outcome: 'malformed', status: checked.status, problem: checked.problem });
      return;
    }
    const verdict = this.#judge(checked.facts);
    if (verdict.allowed !== true) {
      this.#counts.refused += 1;
      const status = refusalStatus(verdict.status);
      const close = checked.hasBody && !req.complete;
      if (close) this.#closing = true;
      await respond(req, res, status, { close });
      this.#report(item, { outcome: 'refused', status }, verdict);
      return;
    }
    this.#counts.allowed += 1;
    const { limits } = this.#options;
    const exchange = new Http1Exchange({ req, res, checked }, { down: this.#down, upstream: this.#upstream, limits });
    this.#current = { item, exchange };
    if (checked.hasBody) this.#timer.start('body');
    const end = await exchange.run();
    this.#timer.stop();
    if (end.outcome === 'malformed') {
      this.#counts.malformed += 1;
      this.#closing = true;
    }
    if (end.error !== undefined && this.#down.destroyed && end.outcome !== 'aborted') this.#failure ??= end.error;
    this.#report(item, end, verdict);
    if (end.upgraded !== undefined) this.#becomeUpgraded(end.upgraded);
  }

  /** Only a verdict that says exactly `allowed: true` allows. */
  #judge(facts: HttpRequestFacts): HttpVerdict {
    try {
      const verdict = this.#options.authorize(facts) as HttpVerdict | undefined;
      return verdict ?? { allowed: false };
    } catch (error) {
      this.#options.logger.error('judging an http request failed; it is refused', { error: describeError(error) });
      return { allowed: false };
    }
  }

  #onUnreadable(problem: RequestProblem): void {
    if (this.#closing || this.#unreadable !== undefined || this.#down.destroyed) return;
    this.#unreadable = problem;
    this.#down.hold();
    const { item, exchange } = this.#current ?? {};
    // Either the body of the request being served, or something behind it.
    if (exchange !== undefined && item !== undefined && !item.req.complete) {
      exchange.breakOff(problem.status, problem.problem, 'TRAFFIC_DOWNSTREAM_ABORTED');
      return;
    }
    if (!this.#serving) this.#answerUnreadable(problem);
  }

  #answerUnreadable({ status, problem }: RequestProblem): void {
    this.#closing = true;
    this.#timer.stop();
    this.#counts.malformed += 1;
    // After an answer that had to be the last (Node closes behind a parse error) the end alone must do.
    const mayAnswer = !this.#down.writableEnded;
    if (mayAnswer) this.#down.write(httpAnswer(status));
    this.#down.destroySoon();
    notify(this.#options.observer, {
      type: 'http-request',
      method: 'other',
      allowed: false,
      status: mayAnswer ? status : undefined,
      outcome: 'malformed',
      problem,
      durationMs: 0,
    });
  }

  #becomeUpgraded({ downstream, upstream }: NonNullable<ExchangeEnd['upgraded']>): void {
    this.#closing = true;
    this.#upgraded = splice(downstream, upstream, { signal: this.#signal }).then(
      ({ outcome, error, aToBBytes, bToABytes }) =>
        this.#result({ outcome, error, upgraded: true, receivedBytes: aToBBytes, sentBytes: bToABytes }),
    );
    this.#down.destroy();
  }

  /** A byte came while no request was there: the beginning of one. */
  #onReceived(): void {
    if (this.#timer.phase === 'idle') this.#timer.start('head');
    else if (this.#timer.phase === 'body') this.#timer.start('body');
  }

  #onTimer(kind: TimedPhase): void {
    if (this.#closing) return;
    if (kind === 'idle') {
      this.#closing = true;
      this.#down.destroySoon();
    } else if (kind === 'head') {
      this.#answerUnreadable({ status: 408, problem: 'the head of a request did not arrive in time' });
    } else {
      const { item, exchange } = this.#current ?? {};
      if (item === undefined || item.req.complete) return;
      // Unread bytes mean that the application is slow, not the client.
      if (item.req.readableLength > 0) this.#timer.start('body');
      else exchange?.breakOff(408, 'the request body stopped arriving', 'TRAFFIC_REQUEST_STALLED');
    }
  }

  #report({ req, checked, arrivedMs }: QueuedRequest, end: ExchangeEnd, verdict?: HttpVerdict): void {
    const event: HttpRequestEvent = {
      type: 'http-request',
      method: methodClass(req.method ?? ''),
      facts: 'facts' in checked ? checked.facts : undefined,
      verdict,
      allowed: verdict?.allowed === true,
      status: end.status,
      outcome: end.outcome,
      problem: end.problem,
      durationMs: this.#options.clock.monotonicMs() - arrivedMs,
    };
    notify(this.#options.observer, event);
    if (end.error !== undefined && end.outcome === 'upstream-failed') {
      this.#options.logger.warn('http upstream failed', { status: end.status, error: describeError(end.error) });
    }
  }

  #result(end: {
    readonly outcome: Http1ProxyResult['outcome'];
    readonly error?: Error | undefined;
    readonly upgraded?: boolean;
    readonly sentBytes?: number;
    readonly receivedBytes?: number;
  }): Http1ProxyResult {
    return {
      outcome: end.outcome,
      error: end.error,
      ...this.#counts,
      upgraded: end.upgraded ?? false,
      receivedBytes: this.#down.receivedBytes + (end.receivedBytes ?? 0),
      sentBytes: this.#down.sentBytes + (end.sentBytes ?? 0),
    };
  }
}

function parserProblem(error: NodeJS.ErrnoException): RequestProblem {
  if (error.code === 'HPE_HEADER_OVERFLOW') return { status: 431, problem: 'the header section is too large' };
  if (error.code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return { status: 413, problem: 'chunk extensions are too large' };
  return { status: 400, problem: `not valid HTTP/1.1 (${error.code ?? 'unknown'})` };
}

/** A verdict cannot turn a refusal into a success. */
function refusalStatus(status: number | undefined): number {
  return status !== undefined && Number.isInteger(status) && status >= 400 && status <= 599 ? status : 403;
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('the connection was ended from outside');
}
