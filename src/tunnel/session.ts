import type { Http2Session, Http2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { notify } from '../core/index.js';
import type { Timer } from '../core/index.js';
import type { TrustBundle, X509Svid } from '../spiffe/index.js';
import { TunnelError } from './errors.js';
import type { TunnelEvent } from './events.js';
import { announceGoaway, closeGracefully } from './goaway.js';
import { startKeepalive } from './keepalive.js';
import { verifyChain } from './peer.js';
import type { TunnelPeer, VerifiedPeer } from './peer.js';
import type { SessionContext, TunnelSession, TunnelSessionInfo } from './session-info.js';
import { assertOwnSvidAllowed } from './tls.js';
import { TunnelStream } from './tunnel-stream.js';

let sessionCount = 0;

/** What both ends have in common: streams and counters, keepalive, drain, end. */
export class SessionCore<Http2 extends Http2Session = Http2Session> implements TunnelSession {
  readonly id: string;
  readonly peer: TunnelPeer;
  /** Our own SVID that this session was opened with. */
  readonly svid: X509Svid;
  readonly http2: Http2;
  readonly #context: SessionContext;
  readonly #socket: TLSSocket;
  readonly #certificates: readonly Uint8Array[];
  readonly #closed = new AbortController();
  readonly #streams = new Set<TunnelStream>();
  readonly #openedAt: number;
  readonly #openedMonotonicMs: number;
  readonly #ended: Promise<void>;
  #draining: TunnelError | undefined;
  /** Of our own drain. */
  #drainReason: TunnelError | undefined;
  #reserved = 0;
  #total = 0;
  #receivedBytes = 0;
  #sentBytes = 0;
  #reason: TunnelError | undefined;
  #idleTimer: Timer | undefined;
  #drainTimer: Timer | undefined;
  #saidGoaway = false;
  #finished = false;

  constructor(
    context: SessionContext,
    parts: {
      readonly http2: Http2;
      readonly socket: TLSSocket;
      readonly verified: VerifiedPeer;
      readonly svid: X509Svid;
    },
  ) {
    sessionCount += 1;
    this.id = `${context.side}-${String(sessionCount)}`;
    this.#context = context;
    this.peer = parts.verified.peer;
    this.svid = parts.svid;
    this.http2 = parts.http2;
    this.#socket = parts.socket;
    this.#certificates = parts.verified.certificates;
    this.#openedAt = context.clock.now();
    this.#openedMonotonicMs = context.clock.monotonicMs();
    const keepalive = startKeepalive(this.http2, context.clock, context.limits, () =>
      this.destroy(
        new TunnelError(
          'TUNNEL_KEEPALIVE_TIMEOUT',
          `no answer to a PING within ${String(context.limits.keepaliveTimeoutMs)} ms`,
        ),
      ),
    );
    this.#ended = new Promise((resolve) => {
      this.http2.once('close', () => {
        keepalive.cancel();
        this.#finish();
        resolve();
      });
    });
    this.http2.on('error', (error) => {
      this.#reason ??= new TunnelError('TUNNEL_SESSION_FAILED', `the HTTP/2 session failed: ${error.message}`, {
        cause: error,
      });
    });
    this.http2.on('goaway', (code: number) => {
      const why = `the peer sent GOAWAY (code ${String(code)})`;
      this.#draining ??= new TunnelError('TUNNEL_SESSION_FAILED', why);
      if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM) this.#reason ??= new TunnelError('TUNNEL_ABUSE', why);
    });
    this.#armIdleTimer();
    this.#notify({ type: 'session-opened' });
    context.logger.info('tunnel session opened', this.#fields());
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Resolves when the socket is gone. Never rejects. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  get draining(): boolean {
    return this.#draining !== undefined || this.http2.closed || this.http2.destroyed;
  }

  /** Streams open or promised. */
  get streams(): number {
    return this.#streams.size + this.#reserved;
  }

  get peerExpired(): boolean {
    return this.#context.clock.now() >= this.peer.notAfter.getTime();
  }

  /** Keeps a place for a stream that is about to be opened; the result gives it back, once. */
  reserve(): () => void {
    this.#reserved += 1;
    this.#idleTimer?.cancel();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#reserved -= 1;
      this.#maybeIdle();
    };
  }

  /** Wraps an HTTP/2 stream that has been accepted, and counts it until it ends. */
  track(stream: Http2Stream, authority: string): TunnelStream {
    const openedMs = this.#context.clock.monotonicMs();
    const tunnelStream = new TunnelStream(stream, (outcome) => {
      const { receivedBytes, sentBytes } = tunnelStream;
      this.#streams.delete(tunnelStream);
      this.#receivedBytes += receivedBytes;
      this.#sentBytes += sentBytes;
      const durationMs = this.#context.clock.monotonicMs() - openedMs;
      this.#notify({ type: 'stream-closed', authority, outcome, receivedBytes, sentBytes, durationMs });
      this.#maybeIdle();
    });
    this.#streams.add(tunnelStream);
    this.#total += 1;
    this.#idleTimer?.cancel();
    this.#notify({ type: 'stream-opened', authority });
    return tunnelStream;
  }

  /**
   * Whether the peer's chain still leads to a root of `bundle`, and neither its end nor ours is denied. The end of its validity
   * is left out on purpose: open streams of an expired session may live on by newer evidence. Destroys the session when not.
   */
  reverify(bundle: TrustBundle): void {
    try {
      assertOwnSvidAllowed(this.svid, bundle);
      verifyChain(this.#certificates, bundle, Math.min(this.#context.clock.now(), this.peer.notAfter.getTime() - 1));
    } catch (error) {
      this.destroy(error as TunnelError);
    }
  }

  /** Takes no new streams; ends (with GOAWAY) when the last open one has ended. */
  retire(reason: TunnelError): void {
    this.#draining ??= reason;
    this.#maybeIdle();
  }

  /** Says GOAWAY now, lets open streams run for `timeoutMs` (or to their end), then resets them. */
  drain(reason: TunnelError, timeoutMs?: number): Promise<void> {
    this.#draining ??= reason;
    this.#drainReason ??= reason;
    if (this.streams === 0 || this.#context.side === 'client') closeGracefully(this.http2);
    else if (!this.#saidGoaway) announceGoaway(this.http2);
    this.#saidGoaway = true;
    // An idle session has nothing to wait for but the peer's own close, which must not be waited for without end.
    const waitMs = timeoutMs ?? (this.streams === 0 ? this.#context.limits.drainTimeoutMs : undefined);
    if (waitMs !== undefined && !this.#finished) {
      this.#drainTimer?.cancel();
      this.#drainTimer = this.#context.clock.timer(waitMs, () => this.destroy(reason), { keepAlive: true });
    }
    return this.#ended;
  }

  destroy(reason?: Error): void {
    this.#reason ??=
      reason instanceof TunnelError
        ? reason
        : new TunnelError('TUNNEL_CLOSED', 'the session was destroyed', { cause: reason });
    const code =
      this.#reason.code === 'TUNNEL_ABUSE' ? constants.NGHTTP2_ENHANCE_YOUR_CALM : constants.NGHTTP2_NO_ERROR;
    // The reason is given out now: those who wait on `closed` must not depend on the socket's own end.
    this.#closed.abort(this.#reason);
    const reset = this.#reason;
    for (const stream of [...this.#streams]) {
      stream.destroy(
        new TunnelError('TUNNEL_STREAM_RESET', `the tunnel session ended: ${reset.message}`, { cause: reset }),
      );
    }
    if (!this.http2.destroyed) this.http2.destroy(undefined, code);
    // After a GOAWAY of its own, Node would wait for the peer to close.
    setImmediate(() => this.#socket.destroy());
  }

  info(): TunnelSessionInfo {
    const now = this.#context.clock.monotonicMs();
    const open = [...this.#streams];
    return Object.freeze({
      id: this.id,
      side: this.#context.side,
      peer: this.peer.spiffeId.toString(),
      remoteAddress: this.peer.remoteAddress,
      state: this.draining ? 'draining' : 'open',
      openedAt: new Date(this.#openedAt),
      ageMs: now - this.#openedMonotonicMs,
      streams: open.length,
      streamsTotal: this.#total,
      receivedBytes: open.reduce((sum, stream) => sum + stream.receivedBytes, this.#receivedBytes),
      sentBytes: open.reduce((sum, stream) => sum + stream.sentBytes, this.#sentBytes),
      peerNotAfter: this.peer.notAfter,
    });
  }

  #maybeIdle(): void {
    if (this.streams > 0 || this.http2.destroyed) return;
    if (this.#draining === undefined) this.#armIdleTimer();
    else void this.drain(this.#draining);
  }

  #armIdleTimer(): void {
    this.#idleTimer?.cancel();
    const { clock, limits } = this.#context;
    this.#idleTimer = clock.timer(limits.idleTimeoutMs, () =>
      this.retire(new TunnelError('TUNNEL_IDLE', `no stream for ${String(limits.idleTimeoutMs)} ms`)),
    );
  }

  #finish(): void {
    this.#finished = true;
    this.#idleTimer?.cancel();
    this.#drainTimer?.cancel();
    const reason =
      this.#reason ??
      this.#drainReason ??
      this.#draining ??
      new TunnelError('TUNNEL_SESSION_FAILED', 'the peer closed the connection');
    this.#closed.abort(reason);
    const durationMs = this.#context.clock.monotonicMs() - this.#openedMonotonicMs;
    this.#notify({ type: 'session-closed', reason: reason.code, durationMs });
    this.#context.logger.info('tunnel session closed', {
      ...this.#fields(),
      reason: reason.message,
      code: reason.code,
      durationMs,
    });
  }

  #fields(): Readonly<Record<string, unknown>> {
    const { ip, port } = this.peer.remoteAddress;
    return {
      session: this.id,
      side: this.#context.side,
      peer: this.peer.spiffeId.toString(),
      remote: `${ip}:${String(port)}`,
      not_after: this.peer.notAfter.toISOString(),
    };
  }

  #notify(event: SessionEvent): void {
    const identity = { side: this.#context.side, session: this.id, peer: this.peer.spiffeId.toString() };
    notify(this.#context.observer, { ...identity, ...event });
  }
}

type WithoutIdentity<Event> = Event extends unknown ? Omit<Event, 'side' | 'session' | 'peer'> : never;
type SessionEvent = WithoutIdentity<Extract<TunnelEvent, { readonly session: string }>>;
