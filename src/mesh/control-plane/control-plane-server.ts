import * as http2 from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { ConnectRouter } from '@connectrpc/connect';
import { joinMethodPath, watchBundleMethodPath } from '../../ca/index.js';
import { describeError, noObserver, notify, silentLogger, systemClock } from '../../core/index.js';
import type { Clock, Closable, Logger, Observer, SocketAddress } from '../../core/index.js';
import { peerCertificates, toBundleSource, toSvidSource, verifyDeniableX509Svid } from '../../spiffe/index.js';
import type { BundleSource, SvidSource, TrustBundle, X509Svid } from '../../spiffe/index.js';
import { ControlPlaneError } from './errors.js';
import type { ControlPlaneEvent } from './events.js';
import { resolveLimits } from './limits.js';
import type { ControlPlaneLimits } from './limits.js';
import { ControlPlaneListener } from './listener.js';
import type { ControlPlanePeer } from './peer.js';
import { RequestDispatch } from './request-dispatch.js';
import { ServerConnection, deniedError } from './server-connection.js';
import { requireFreshHttp2, serverContext } from './tls-context.js';

export interface ControlPlaneServerOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string | undefined;
  /** 0 for any free one. */
  readonly port: number;
  /** The controller's own SVID; a live source rotates it for new connections. */
  readonly svid: X509Svid | SvidSource;
  /** What clients are verified against; a live source re-verifies those that are connected. */
  readonly bundle: TrustBundle | BundleSource;
  /** gRPC services, such as `caRoutes` and `snapshotRoutes`. */
  readonly routes: readonly ((router: ConnectRouter) => void)[];
  /** Paths that need no client certificate. Default: the CA's `Join`. */
  readonly openMethods?: readonly string[] | undefined;
  /** Paths that a client on the deny list may still call. Default: the CA's `WatchBundle`, by which it learns of its denial. */
  readonly deniedMethods?: readonly string[] | undefined;
  readonly limits?: Partial<ControlPlaneLimits> | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<ControlPlaneEvent> | undefined;
}

/**
 * The controller's one port: gRPC over HTTP/2 over TLS 1.3. Client certificates are verified from their DER against the
 * current bundle before any HTTP/2 is read; one that does not verify ends the connection. A connection without one may
 * call the open methods only. An authenticated connection ends with its certificate, or when the bundle stops
 * vouching for it. A client that the deny list names may watch the bundle, so that it learns of its denial and of its end, and
 * nothing else; it is none of `peers`.
 *
 * @example
 * const server = await ControlPlaneServer.listen({ port: 15010, svid, bundle: ca.bundle, routes: [caRoutes({ ca, tokens, joinTokens, peerOf })] });
 */
export class ControlPlaneServer implements Closable {
  readonly #bundle: BundleSource;
  readonly #limits: ControlPlaneLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observer: Observer<ControlPlaneEvent>;
  readonly #listener: ControlPlaneListener;
  readonly #http: { readonly authenticated: http2.Http2Server; readonly open: http2.Http2Server };
  readonly #connections = new Map<http2.Http2Session, ServerConnection>();
  readonly #subscriptions: readonly Disposable[];
  #address: SocketAddress | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: ControlPlaneServerOptions) {
    const svid = toSvidSource(options.svid);
    this.#bundle = toBundleSource(options.bundle);
    this.#limits = resolveLimits(options.limits);
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
    const dispatch = new RequestDispatch({
      routes: options.routes,
      openMethods: options.openMethods ?? [joinMethodPath],
      deniedMethods: options.deniedMethods ?? [watchBundleMethodPath],
      limits: this.#limits,
      clock: this.#clock,
      logger: this.#logger,
    });
    this.#http = {
      authenticated: this.#httpServer(dispatch, this.#limits.maxConcurrentRequests),
      open: this.#httpServer(dispatch, 4),
    };
    this.#listener = new ControlPlaneListener(this.#limits, serverContext(svid.current, this.#bundle.current), {
      onSecure: (socket, remote, proven) => this.#secured(socket, remote, proven),
      onRefused: (remote, error) => this.#refused(remote, error),
    });
    const rotate = (): void => this.#listener.setSecureContext(serverContext(svid.current, this.#bundle.current));
    this.#subscriptions = [
      svid.subscribe(rotate),
      this.#bundle.subscribe(() => {
        rotate();
        for (const connection of this.#connections.values()) connection.verifyAgain();
      }),
    ];
  }

  /** Binds at once. Throws `MESH_CONTROL_PLANE_LISTEN`, `RangeError` for a limit out of bounds. */
  static async listen(options: ControlPlaneServerOptions): Promise<ControlPlaneServer> {
    const server = new ControlPlaneServer(options);
    try {
      server.#address = await server.#listener.bind(options.host ?? '127.0.0.1', options.port);
    } catch (error) {
      for (const subscription of server.#subscriptions) subscription[Symbol.dispose]();
      throw error;
    }
    return server;
  }

  /** Where it listens. */
  get address(): SocketAddress {
    if (this.#address === undefined)
      throw new ControlPlaneError('MESH_CONTROL_PLANE_CLOSED', 'the server is not bound');
    return this.#address;
  }

  /** The authenticated peers connected now. */
  get peers(): readonly ControlPlanePeer[] {
    return [...this.#connections.values()].flatMap(({ peer, denied }) =>
      peer === undefined || denied !== undefined ? [] : [peer],
    );
  }

  /** Stops accepting, lets calls under way finish within `drainTimeoutMs`, then ends what is left (watches among them). */
  close(): Promise<void> {
    this.#closed ??= this.#drain();
    return this.#closed;
  }

  destroy(_reason?: Error): void {
    for (const connection of this.#connections.values()) connection.destroy();
    this.#closed ??= this.#stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #drain(): Promise<void> {
    const stopped = this.#stop();
    for (const connection of this.#connections.values()) connection.drain();
    const destroyAll = (): void => {
      for (const connection of this.#connections.values()) connection.destroy();
    };
    const timer = this.#clock.timer(this.#limits.drainTimeoutMs, destroyAll, { keepAlive: true });
    await stopped;
    timer.cancel();
  }

  #stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    return this.#listener.stop();
  }

  #httpServer(dispatch: RequestDispatch, maxConcurrentStreams: number): http2.Http2Server {
    const server = http2.createServer({
      settings: { maxConcurrentStreams, maxHeaderListSize: 16 * 1024, enablePush: false },
      maxHeaderListPairs: 64,
      maxOutstandingPings: 10,
      maxSessionInvalidFrames: 10,
    });
    server.on('request', (request, response) => {
      const { session } = request.stream;
      const connection = session === undefined ? undefined : this.#connections.get(session);
      if (connection === undefined || !connection.stillValid()) {
        request.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
        return;
      }
      dispatch.handle(request, response, connection);
    });
    return server;
  }

  #secured(socket: TLSSocket, remote: string, proven: () => void): void {
    try {
      requireFreshHttp2(socket);
      const certificates = peerCertificates(socket);
      const { peer, denied } = this.#verify(certificates, remote);
      if (denied !== undefined) this.#refused(remote, deniedError(denied));
      else if (peer !== undefined) {
        this.#requireRoomFor(peer);
        proven();
      }
      this.#serve(socket, { peer, denied, certificates });
    } catch (error) {
      const refusal =
        error instanceof ControlPlaneError
          ? error
          : new ControlPlaneError('MESH_CONTROL_PLANE_UNTRUSTED', describeError(error), { cause: error });
      this.#refused(remote, refusal);
      socket.destroy();
    }
  }

  #serve(socket: TLSSocket, client: Client & { readonly certificates: readonly Uint8Array[] }): void {
    const { peer, denied, certificates } = client;
    const server = peer === undefined || denied !== undefined ? this.#http.open : this.#http.authenticated;
    server.once('session', (session) => {
      const connection = new ServerConnection({
        session,
        peer,
        denied,
        limits: this.#limits,
        clock: this.#clock,
        verify: () => this.#verify(certificates, peer?.remote ?? 'unauthenticated').denied,
        onRefused: (error) => this.#refused(peer?.remote ?? 'unauthenticated', error),
      });
      this.#connections.set(session, connection);
      session.once('close', () => {
        connection.ended();
        this.#connections.delete(session);
      });
    });
    // Emits `session` before it returns.
    server.emit('connection', socket);
  }

  #verify(certificates: readonly Uint8Array[], remote: string): Client {
    if (certificates.length === 0) return { peer: undefined, denied: undefined };
    const { spiffeId, keyThumbprint, serialNumber, notAfter, denied } = verifyDeniableX509Svid({
      certificates,
      bundle: this.#bundle.current,
      now: this.#clock.now(),
    });
    return { peer: Object.freeze({ spiffeId, keyThumbprint, serialNumber, notAfter, remote }), denied };
  }

  #requireRoomFor(peer: ControlPlanePeer): void {
    const count = this.peers.filter(({ spiffeId }) => spiffeId.equals(peer.spiffeId)).length;
    if (count < this.#limits.maxPerPeer) return;
    const message = `${peer.spiffeId.toString()} has ${String(count)} connections already`;
    throw new ControlPlaneError('MESH_CONTROL_PLANE_LIMIT', message);
  }

  #refused(remote: string, error: ControlPlaneError): void {
    const reason = describeError(error);
    this.#logger.warn('control-plane connection refused', { remote, code: error.code, reason });
    notify(this.#observer, { type: 'control-plane-refused', remote, code: error.code, reason });
  }
}

/** The other end of a connection: no peer without a client certificate. */
interface Client {
  readonly peer: ControlPlanePeer | undefined;
  readonly denied: string | undefined;
}
