import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { describeError } from '../core/index.js';
import { refuseRequest } from './answer.js';
import type { Refusal } from './answer.js';
import { parseAuthority } from './authority.js';
import type { TunnelTarget } from './authority.js';
import { TunnelError } from './errors.js';
import { announceMethod, announcePath } from './announce.js';
import { checkedHeaders, receivedHeaders } from './headers.js';
import type { TunnelHeaders } from './headers.js';
import type { TunnelPeer } from './peer.js';
import type { SessionCore } from './session.js';
import { serveAnnouncement } from './server-announce.js';
import type { AnnounceHandler } from './server-announce.js';
import type { SessionContext, TunnelSession } from './session-info.js';
import { cancelStream } from './tunnel-stream.js';

/** A CONNECT waiting for its answer. Everything here but `headers` is verified or parsed; headers are only claims. */
export interface TunnelRequest {
  /** Canonical `IP:port` or `name:port`; `target` is the same in parts. */
  readonly authority: string;
  readonly target: TunnelTarget;
  readonly headers: TunnelHeaders;
  readonly peer: TunnelPeer;
  readonly session: TunnelSession;
  /** Aborts when the peer gives up, the session ends, or the time to answer is over. */
  readonly signal: AbortSignal;
  /** Answers 200 and gives the stream. Throws `TUNNEL_ANSWER_INVALID` when answered already or when the peer has gone. */
  accept(headers?: Readonly<Record<string, string>>): Duplex;
  /** Answers `status` (400 to 599) with no reason. Does nothing when the peer has gone. */
  refuse(status: number): void;
}

export interface ServerHandlers {
  readonly onConnect: (request: TunnelRequest) => void | Promise<void>;
  readonly onAnnounce?: AnnounceHandler | undefined;
}

/** Takes one request of a session: judges its form, hands it to the handler, and sees that it is answered in time. */
export function serveRequest(
  context: SessionContext,
  session: SessionCore,
  stream: ServerHttp2Stream,
  block: IncomingHttpHeaders,
  handlers: ServerHandlers,
): void {
  const refusal = (status: number, error: TunnelError): void =>
    refuseRequest(context, session, stream, block, status, error);
  const method = block[':method'];
  const isEvidence = method === announceMethod && block[':path'] === announcePath && handlers.onAnnounce !== undefined;
  if (method !== 'CONNECT' && !isEvidence) {
    refusal(
      405,
      new TunnelError('TUNNEL_METHOD_NOT_ALLOWED', `expected CONNECT, got ${JSON.stringify(method?.slice(0, 32))}`),
    );
    return;
  }
  if (session.peerExpired) {
    const notAfter = session.peer.notAfter.toISOString();
    refusal(
      401,
      new TunnelError('TUNNEL_PEER_EXPIRED', `the peer's certificate of this session expired at ${notAfter}`),
    );
    session.retire(new TunnelError('TUNNEL_PEER_EXPIRED', `the peer's certificate expired at ${notAfter}`));
    return;
  }
  if (isEvidence && handlers.onAnnounce !== undefined) {
    serveAnnouncement(context, session, stream, block, handlers.onAnnounce, refusal);
    return;
  }
  let target: TunnelTarget;
  try {
    target = parseAuthority(block[':authority'] ?? '');
  } catch (error) {
    refusal(400, error as TunnelError);
    return;
  }
  new ConnectRequest(context, session, stream, block, target, refusal).run(handlers.onConnect);
}

class ConnectRequest {
  readonly #context: SessionContext;
  readonly #session: SessionCore;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: TunnelHeaders;
  readonly #target: TunnelTarget;
  readonly #refusal: Refusal;
  readonly #abort = new AbortController();
  #answered = false;

  constructor(
    context: SessionContext,
    session: SessionCore,
    stream: ServerHttp2Stream,
    block: IncomingHttpHeaders,
    target: TunnelTarget,
    refusal: Refusal,
  ) {
    this.#context = context;
    this.#session = session;
    this.#stream = stream;
    this.#headers = receivedHeaders(block);
    this.#target = target;
    this.#refusal = refusal;
  }

  run(onConnect: ServerHandlers['onConnect']): void {
    const release = this.#session.reserve();
    const { answerTimeoutMs } = this.#context.limits;
    const deadline = this.#context.clock.timer(answerTimeoutMs, () =>
      this.#fail(
        new TunnelError('TUNNEL_HANDLER_FAILED', `onConnect did not answer within ${String(answerTimeoutMs)} ms`),
      ),
    );
    this.#stream.once('close', () => {
      deadline.cancel();
      release();
      this.#abort.abort(new TunnelError('TUNNEL_STREAM_RESET', 'the peer gave the stream up'));
    });
    const request: TunnelRequest = Object.freeze({
      authority: this.#target.authority,
      target: this.#target,
      headers: this.#headers,
      peer: this.#session.peer,
      session: this.#session,
      signal: this.#abort.signal,
      accept: (headers?: Readonly<Record<string, string>>) => {
        const stream = this.#accept(headers);
        deadline.cancel();
        release();
        return stream;
      },
      refuse: (status: number) => {
        this.#refuse(status);
        deadline.cancel();
      },
    });
    const failed = (error: unknown): void =>
      this.#fail(
        new TunnelError('TUNNEL_HANDLER_FAILED', `onConnect failed: ${describeError(error)}`, { cause: error }),
      );
    try {
      Promise.resolve(onConnect(request)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #accept(headers: Readonly<Record<string, string>> | undefined): Duplex {
    this.#takeAnswer();
    const checked = checkedHeaders(headers);
    if (this.#stream.destroyed || this.#stream.closed) {
      throw new TunnelError(
        'TUNNEL_ANSWER_INVALID',
        'the peer gave the stream up before it was accepted; watch `signal`',
      );
    }
    this.#stream.respond({ ':status': 200, ...checked });
    return this.#session.track(this.#stream, this.#target.authority);
  }

  #refuse(status: number): void {
    this.#takeAnswer();
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      this.#refusal(
        503,
        new TunnelError('TUNNEL_ANSWER_INVALID', `expected a status from 400 to 599, got ${String(status)}`),
      );
      return;
    }
    this.#refusal(status, new TunnelError('TUNNEL_REFUSED', `the handler refused with ${String(status)}`));
  }

  #fail(error: TunnelError): void {
    // After the answer the stream is the handler's own: it is cut, so that a failed handler leaves nothing half open.
    if (this.#answered) cancelStream(this.#stream);
    else this.#refusal(503, error);
    this.#answered = true;
    this.#context.logger.error('tunnel handler failed', {
      session: this.#session.id,
      authority: this.#target.authority,
      reason: error.message,
    });
    this.#abort.abort(error);
  }

  #takeAnswer(): void {
    if (this.#answered) throw new TunnelError('TUNNEL_ANSWER_INVALID', 'this CONNECT has been answered already');
    this.#answered = true;
  }
}
