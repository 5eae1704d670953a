import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { CoreError, describeError, noObserver, notify, parseIp, silentLogger } from '../core/index.js';
import type { Closable, Logger, Observer, SocketAddress } from '../core/index.js';
import { nativeAddon } from '../internal/native/addon.js';
import type { NativeAddon } from '../internal/native/addon.js';
import { isSystemError } from '../internal/native/errors.js';
import { resetSocket } from '../internal/reset-socket.js';
import { TproxyError } from './errors.js';
import type { TproxyEvent } from './events.js';
import { defaultMarks } from './marks.js';
import { connectionSource, isLocalAddress, originalDestination } from './original-destination.js';
import { openTcpSocket } from './transparent-socket.js';

/** A connection taken from the kernel. */
export interface InterceptedConnection {
  /** Paused (call `resume()`, pipe or read it), half-open allowed, without Nagle's delay. Errors are already listened to. */
  readonly socket: Socket;
  /** Where the client meant to connect; canonical. */
  readonly originalDestination: SocketAddress;
  /** The client; canonical. */
  readonly source: SocketAddress;
}

/** How connections arrive: by TPROXY, by REDIRECT, or by either (`auto`, which needs the same capability as `tproxy`). */
export type ListenerMode = 'auto' | 'tproxy' | 'redirect';

export interface TproxyListenerOptions {
  /** 1 to 65535, or 0 for any free one. */
  readonly port: number;
  /** Address to bind. Default all, IPv4 and IPv6 on one socket (IPv4 only where the kernel has no IPv6). */
  readonly host?: string | undefined;
  /** Default `auto`. */
  readonly mode?: ListenerMode | undefined;
  /** Called for each connection. What it throws, or rejects with, ends that connection and is logged. */
  readonly onConnection: (connection: InterceptedConnection) => void | Promise<void>;
  /** Connections at once; more are closed as they come. Default 65,536. */
  readonly maxConnections?: number | undefined;
  /** Connections waiting to be accepted, bounded by net.core.somaxconn. Default 4,096. */
  readonly backlog?: number | undefined;
  /**
   * Packet mark of accepted connections: `marks.upstream` of the interception, so that its rules for the host's own
   * traffic know them. Default 0x2000; 0 sets none.
   */
  readonly mark?: number | undefined;
  /** Share the port with another process of this user (SO_REUSEPORT), for a hand-over without a gap. Default false. */
  readonly reusePort?: boolean | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<TproxyEvent> | undefined;
}

/**
 * Accepts the connections that `Interception` (or rules of your own) steers to a local port, and says where each was
 * really going.
 *
 * ```ts
 * const listener = await TproxyListener.listen({
 *   port: 15001,
 *   onConnection({ socket, originalDestination, source }) { … },
 * });
 * ```
 *
 * A connection that was addressed to this listener itself (nobody redirected it) is closed and observed as `loop`: to dial
 * its "original destination" would be to dial oneself, for ever.
 *
 * Needs Linux, the native addon, and CAP_NET_ADMIN or CAP_NET_RAW (`redirect` with `mark: 0` needs no capability).
 */
export class TproxyListener implements Closable {
  /** The bound address; `::` or `0.0.0.0` when it is all. */
  readonly address: SocketAddress;
  readonly mode: ListenerMode;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #addon: NativeAddon;
  readonly #logger: Logger;
  readonly #observer: Observer<TproxyEvent>;
  readonly #onConnection: TproxyListenerOptions['onConnection'];
  #closing: Promise<void> | undefined;

  private constructor(options: TproxyListenerOptions, addon: NativeAddon, server: Server, address: SocketAddress) {
    this.address = address;
    this.mode = options.mode ?? 'auto';
    this.#server = server;
    this.#addon = addon;
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
    this.#onConnection = options.onConnection;
    server.on('connection', (socket: Socket) => this.#accept(socket));
    server.on('drop', () => notify(this.#observer, { type: 'tproxy.connection-refused', reason: 'limit' }));
    // Such as EMFILE on accept: that connection is lost, the listener stays.
    server.on('error', (error) => this.#logger.warn('interception listener', { error: describeError(error) }));
  }

  /**
   * Binds at once. Throws `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`, `TPROXY_CAPABILITY_MISSING`,
   * `TPROXY_LISTEN_FAILED`, `CORE_OPTION_INVALID`, `CORE_ADDRESS_MALFORMED`.
   */
  static async listen(options: TproxyListenerOptions): Promise<TproxyListener> {
    checkOptions(options);
    const addon = nativeAddon('a transparent listener');
    const bound = bindListener(addon, options);
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    server.maxConnections = options.maxConnections ?? 65_536;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ fd: bound.fd, backlog: options.backlog ?? 4096 }, () => {
          server.off('error', reject);
          resolve();
        });
      });
    } catch (cause) {
      throw listenFailed(options, cause);
    }
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : options.port;
    return new TproxyListener(options, addon, server, Object.freeze({ ip: bound.ip, port }));
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Takes no more connections; resolves when those that are open have ended. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
    return this.#closing;
  }

  /** Ends everything now; each open connection is reset. */
  destroy(): void {
    void this.close();
    for (const socket of this.#sockets) resetSocket(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(socket: Socket): void {
    // For its whole life: an error without a listener would end the process.
    socket.on('error', (error) => this.#logger.debug('intercepted connection', { error: describeError(error) }));
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));

    const source = connectionSource(socket);
    const destination = originalDestination(socket, this.#addon, this.mode === 'redirect');
    if (source === undefined || destination === undefined) {
      this.#refuse(socket, 'no-original-destination', destination, source);
      return;
    }
    // The port is compared first: to list the host's addresses for every connection would cost too much.
    if (destination.port === this.address.port && isLocalAddress(destination.ip)) {
      this.#refuse(socket, 'loop', destination, source);
      return;
    }
    notify(this.#observer, { type: 'tproxy.connection', originalDestination: destination, source });
    void this.#hand({ socket, originalDestination: destination, source });
  }

  async #hand(connection: InterceptedConnection): Promise<void> {
    try {
      await this.#onConnection(connection);
    } catch (error) {
      this.#logger.error('the handler of an intercepted connection failed', { error: describeError(error) });
      this.#refuse(connection.socket, 'handler-failed', connection.originalDestination, connection.source);
    }
  }

  #refuse(
    socket: Socket,
    reason: Extract<TproxyEvent, { type: 'tproxy.connection-refused' }>['reason'],
    destination: SocketAddress | undefined,
    source: SocketAddress | undefined,
  ): void {
    notify(this.#observer, { type: 'tproxy.connection-refused', reason, originalDestination: destination, source });
    this.#logger.debug('intercepted connection refused', { reason, originalDestination: destination, source });
    resetSocket(socket);
  }
}

function checkOptions(options: TproxyListenerOptions): void {
  const bounds: readonly (readonly [string, number, number, number])[] = [
    ['port', options.port, 0, 65_535],
    ['maxConnections', options.maxConnections ?? 1, 1, 10_000_000],
    ['backlog', options.backlog ?? 1, 1, 1_000_000],
    ['mark', options.mark ?? 0, 0, 0xffffffff],
  ];
  for (const [name, value, least, most] of bounds) {
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new CoreError(
        'CORE_OPTION_INVALID',
        `${name}: expected an integer from ${String(least)} to ${String(most)}, got ${String(value)}`,
      );
    }
  }
}

function bindListener(
  addon: NativeAddon,
  options: TproxyListenerOptions,
): { readonly fd: number; readonly ip: string } {
  const transparent = (options.mode ?? 'auto') !== 'redirect';
  const mark = options.mark ?? defaultMarks.upstream.mark;
  const open = (ip: string): { readonly fd: number; readonly ip: string } => ({
    ip,
    fd: openTcpSocket(addon, {
      family: ip.includes(':') ? 6 : 4,
      transparent,
      mark: mark === 0 ? undefined : mark,
      bind: { ip, port: options.port },
      reusePort: options.reusePort,
    }),
  });
  try {
    if (options.host !== undefined) return open(parseIp(options.host));
    try {
      return open('::');
    } catch (error) {
      // A kernel without IPv6, or with it disabled.
      if (isSystemError(error, 'EAFNOSUPPORT', 'EADDRNOTAVAIL')) return open('0.0.0.0');
      throw error;
    }
  } catch (error) {
    if (isSystemError(error)) throw listenFailed(options, error);
    throw error;
  }
}

function listenFailed(options: TproxyListenerOptions, cause: unknown): TproxyError {
  return new TproxyError(
    'TPROXY_LISTEN_FAILED',
    `cannot listen on port ${String(options.port)}${options.host === undefined ? '' : ` of ${options.host}`}: ${describeError(cause)}`,
    { cause },
  );
}
