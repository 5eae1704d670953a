import * as http2 from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { describeError, noObserver, notify, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Closable, Logger, Observer, SocketAddress } from '../core/index.js';
import { toBundleSource, toSvidSource } from '../spiffe/index.js';
import type { BundleSource, PeerAuthorizer, SvidSource, TrustBundle, X509Svid } from '../spiffe/index.js';
import { RateLimit } from './admission.js';
import { TunnelError } from './errors.js';
import type { TunnelEvent } from './events.js';
import { http2SessionOptions, raiseConnectionWindow } from './http2-settings.js';
import { resolveLimits, serverLimitDefaults } from './limits.js';
import type { TunnelLimits } from './limits.js';
import { authorizePeer, remoteOf, verifyPeer } from './peer.js';
import type { VerifiedPeer } from './peer.js';
import { serveRequest } from './server-request.js';
import type { ServerHandlers } from './server-request.js';
import { SessionCore } from './session.js';
import type { SessionContext, TunnelSessionInfo } from './session-info.js';
import { assertOwnSvidValid, presents, secureContextOptions } from './tls.js';
import { TlsListener } from './tls-listener.js';

export interface TunnelListenOptions extends ServerHandlers {
  /** IP address to bind. Default `0.0.0.0`. */
  readonly host?: string | undefined;
  /** 0 to 65535; 0 takes a free one. The mesh uses 15002; Istio's peers expect 15008. */
  readonly port: number;
  readonly svid: X509Svid | SvidSource;
  readonly bundle: TrustBundle | BundleSource;
  /** Who may open sessions: only exactly `true` accepts. It says nothing about what a session may reach. */
  readonly authorizePeer: PeerAuthorizer;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<TunnelEvent> | undefined;
  readonly limits?: Partial<TunnelLimits> | undefined;
}

/** The listening end. `close()` says GOAWAY, lets streams finish for `drainTimeoutMs`, then resets them. */
export interface TunnelServer extends Closable {
  readonly address: SocketAddress;
  /** A row for each session, oldest first. */
  readonly sessions: readonly TunnelSessionInfo[];
  /** Asks the authorizer again about every live peer and ends the sessions of those it no longer accepts. */
  reauthorize(): void;
}

/** See `Http2MtlsTunnel.listen`. */
export async function listen(options: TunnelListenOptions): Promise<TunnelServer> {
  const server = new Server(options);
  await server.bind();
  return server;
}

class Server implements TunnelServer {
  readonly #options: TunnelListenOptions;
  readonly #svid: SvidSource;
  readonly #bundle: BundleSource;
  readonly #context: SessionContext;
  readonly #listener: TlsListener;
  readonly #sessions = new Set<SessionCore>();
  #subscriptions: readonly Disposable[] = [];
  #address: SocketAddress | undefined;
  #stopped: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: TunnelListenOptions) {
    if (typeof options.onConnect !== 'function' || typeof options.authorizePeer !== 'function') {
      throw new TunnelError('TUNNEL_OPTION_INVALID', 'onConnect and authorizePeer must be functions');
    }
    this.#options = Object.freeze({ ...options });
    this.#svid = toSvidSource(options.svid);
    this.#bundle = toBundleSource(options.bundle);
    this.#context = Object.freeze({
      side: 'server' as const,
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
      observer: options.observer ?? noObserver,
      limits: resolveLimits(options.limits, serverLimitDefaults),
    });
    this.#listener = new TlsListener(
      this.#context.limits,
      secureContextOptions(this.#svid.current, this.#bundle.current),
      {
        onSecure: (socket, proven) => this.#secured(socket, proven),
        onRefused: (remote, error) => this.#handshakeRefused(remote, error),
      },
    );
  }

  async bind(): Promise<void> {
    this.#address = await this.#listener.bind(this.#options.host ?? '0.0.0.0', this.#options.port);
    this.#subscriptions = [
      this.#svid.subscribe(() => this.#svidChanged()),
      this.#bundle.subscribe((bundle) => this.#bundleChanged(bundle)),
    ];
  }

  get address(): SocketAddress {
    if (this.#address === undefined) throw new TunnelError('TUNNEL_CLOSED', 'the tunnel server is not listening');
    return this.#address;
  }

  get sessions(): readonly TunnelSessionInfo[] {
    return [...this.#sessions].map((session) => session.info());
  }

  reauthorize(): void {
    for (const session of [...this.#sessions]) {
      try {
        authorizePeer(session.peer.spiffeId, this.#options.authorizePeer);
      } catch (error) {
        session.destroy(error as TunnelError);
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  destroy(reason?: Error): void {
    void this.#stop();
    const closed = new TunnelError('TUNNEL_CLOSED', 'the tunnel server was destroyed', { cause: reason });
    for (const session of [...this.#sessions]) session.destroy(closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #drain(): Promise<void> {
    const stopped = this.#stop();
    const closing = new TunnelError('TUNNEL_CLOSED', 'the tunnel server is closing');
    const { drainTimeoutMs } = this.#context.limits;
    await Promise.all([...this.#sessions].map((session) => session.drain(closing, drainTimeoutMs)));
    await stopped;
  }

  #stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    this.#subscriptions = [];
    this.#stopped ??= this.#listener.stop();
    return this.#stopped;
  }

  #svidChanged(): void {
    this.#renewContext();
    const rotated = new TunnelError('TUNNEL_ROTATED', 'our SVID was renewed; new streams belong on a new session');
    for (const session of [...this.#sessions]) if (session.svid !== this.#svid.current) void session.drain(rotated);
  }

  #bundleChanged(bundle: TrustBundle): void {
    this.#renewContext();
    for (const session of [...this.#sessions]) session.reverify(bundle);
    this.reauthorize();
  }

  #renewContext(): void {
    this.#listener.setSecureContext(secureContextOptions(this.#svid.current, this.#bundle.current));
  }

  #secured(socket: TLSSocket, proven: () => void): void {
    // Read before anything can close the socket and take the address away.
    const remote = remoteOf(socket);
    const svid = this.#svid.current;
    const now = this.#context.clock.now();
    try {
      if (this.#stopped !== undefined) throw new TunnelError('TUNNEL_CLOSED', 'the tunnel server is closing');
      assertOwnSvidValid(svid, this.#bundle.current, now);
      const authorize = this.#options.authorizePeer;
      const verified = verifyPeer(socket, { bundle: this.#bundle.current, now, authorize });
      this.#assertFewSessions(verified);
      proven();
      this.#startSession(socket, verified, svid);
    } catch (error) {
      socket.destroy();
      this.#handshakeRefused(
        remote,
        error instanceof TunnelError
          ? error
          : new TunnelError('TUNNEL_TLS_FAILED', describeError(error), { cause: error }),
      );
    }
  }

  #assertFewSessions({ peer }: VerifiedPeer): void {
    const { maxSessionsPerPeer } = this.#context.limits;
    let count = 0;
    for (const session of this.#sessions) if (session.peer.spiffeId.equals(peer.spiffeId)) count += 1;
    if (count < maxSessionsPerPeer) return;
    throw new TunnelError(
      'TUNNEL_LIMIT',
      `${peer.spiffeId.toString()} has ${String(count)} sessions (maxSessionsPerPeer)`,
    );
  }

  #startSession(socket: TLSSocket, verified: VerifiedPeer, svid: X509Svid): void {
    const { clock, limits, observer } = this.#context;
    const session = http2.performServerHandshake(socket, http2SessionOptions(limits));
    raiseConnectionWindow(session, limits);
    const core = new SessionCore(this.#context, { http2: session, socket, verified, svid });
    this.#sessions.add(core);
    const preface = clock.timer(limits.handshakeTimeoutMs, () =>
      core.destroy(new TunnelError('TUNNEL_HANDSHAKE_TIMEOUT', 'the peer did not send its HTTP/2 preface in time')),
    );
    session.once('remoteSettings', () => preface.cancel());
    void core.ended.then(() => {
      preface.cancel();
      this.#sessions.delete(core);
    });
    const resets = new RateLimit(limits.resetBurst, limits.resetsPerSecond, clock.monotonicMs());
    const onReset = (): void => {
      if (core.closed.aborted || resets.take(clock.monotonicMs())) return;
      core.destroy(new TunnelError('TUNNEL_ABUSE', 'the peer resets streams faster than resetsPerSecond allows'));
    };
    session.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      if (stream.closed || stream.destroyed) {
        // Reset by the peer in the same breath: there is nobody left to answer.
        onReset();
        return;
      }
      stream.once('aborted', onReset);
      serveRequest(this.#context, core, stream, headers, this.#options);
    });
    const peer = verified.peer.spiffeId.toString();
    notify(observer, { type: 'handshake', side: 'server', ok: true, remoteAddress: remoteOf(socket), peer });
    // The SVID may have changed while this handshake was under way: then the peer saw the old one.
    if (!presents(socket, svid))
      void core.drain(new TunnelError('TUNNEL_ROTATED', 'our SVID was renewed during the handshake'));
  }

  #handshakeRefused(remoteAddress: string, error: TunnelError): void {
    const peer = typeof error.fields.peer === 'string' ? error.fields.peer : undefined;
    notify(this.#context.observer, {
      type: 'handshake',
      side: 'server',
      ok: false,
      reason: error.code,
      remoteAddress,
      peer,
    });
    this.#context.logger.warn('tunnel connection refused', {
      remote: remoteAddress,
      peer,
      code: error.code,
      reason: error.message,
    });
  }
}
