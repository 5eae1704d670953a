import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import {
  describeError,
  formatSocketAddress,
  ipFamily,
  parseIp,
  silentLogger,
  sleep,
  socketAddress,
  systemClock,
} from '../core/index.js';
import type { Clock, Closable, Logger, SocketAddress } from '../core/index.js';
import { nativeAddon } from '../internal/native/addon.js';
import type { NativeAddon } from '../internal/native/addon.js';
import {
  AF_INET,
  AF_INET6,
  IPV6_V6ONLY,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SO_DETACH_FILTER,
  SO_REUSEADDR,
} from '../internal/native/constants.js';
import { encodeSockaddr } from '../internal/native/sockaddr.js';
import { resetSocket } from '../internal/reset-socket.js';
import { ConnectionTable } from './connection-table.js';
import { VipError } from './errors.js';
import { dropOpeningFilter } from './opening-filter.js';

const IP_FREEBIND = 15;
const IPV6_FREEBIND = 78;

/** How often `quiesce` looks whether connections are left. */
const lookEveryMs = 5;
/** Without the kernel's own count: long enough for a handshake under way to be completed by a client that is not far. */
const blindSettleMs = 100;

export interface VipConnection {
  /** Paused, half-open allowed, without Nagle's delay. Errors are already listened to. */
  readonly socket: Socket;
  /** The virtual IP and port it came to. */
  readonly destination: SocketAddress;
  readonly source: SocketAddress;
}

export interface VipListenerOptions {
  readonly address: SocketAddress;
  /** Called for each connection. What it throws ends that connection and is logged. */
  readonly onConnection: (connection: VipConnection) => void;
  /** Connections at once; more are closed as they come. Default 65,536. */
  readonly maxConnections?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * A TCP listener on a virtual IP that may not be here yet (IP_FREEBIND): bound at once, it serves from the moment the
 * address comes, and through every move of it, without a gap. Ports below 1024 need CAP_NET_BIND_SERVICE.
 *
 * @example
 * await VipListener.listen({ address: socketAddress('203.0.113.10', 443), onConnection: ({ socket }) => serve(socket) });
 */
export class VipListener implements Closable {
  readonly address: SocketAddress;
  readonly #addon: NativeAddon;
  /** Of the listening socket, which `#server` owns: not to be used once that is closed. */
  readonly #fd: number;
  readonly #server: Server;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #sockets = new Set<Socket>();
  #holds = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: VipListenerOptions, addon: NativeAddon, fd: number, server: Server) {
    const logger = options.logger ?? silentLogger;
    this.address = options.address;
    this.#addon = addon;
    this.#fd = fd;
    this.#server = server;
    this.#clock = options.clock ?? systemClock;
    this.#logger = logger;
    server.on('error', (error) => logger.warn('listener of a virtual IP', { error: describeError(error) }));
    server.on('connection', (socket: Socket) => {
      // For its whole life: an error without a listener would end the process.
      socket.on('error', () => undefined);
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      const { remoteAddress, remotePort } = socket;
      if (remoteAddress === undefined || remotePort === undefined) {
        socket.destroy();
        return;
      }
      try {
        const source = socketAddress(parseIp(remoteAddress), remotePort);
        options.onConnection({ socket, destination: this.address, source });
      } catch (error) {
        logger.error('serving a connection to a virtual IP failed', { error: describeError(error) });
        resetSocket(socket);
      }
    });
  }

  /** Binds at once. Throws `VIP_LISTEN_FAILED`, `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`. */
  static async listen(options: VipListenerOptions): Promise<VipListener> {
    const addon = nativeAddon('listening on a virtual IP');
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    server.maxConnections = options.maxConnections ?? 65_536;
    try {
      const fd = bind(addon, options.address);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ fd, backlog: 4_096 }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      return new VipListener(options, addon, fd, server);
    } catch (cause) {
      const at = formatSocketAddress(options.address);
      throw new VipError('VIP_LISTEN_FAILED', `cannot listen on ${at}: ${describeError(cause)}`, {
        cause,
        fields: { address: at },
      });
    }
  }

  /** Taken and not yet ended. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Whether new connections have to wait. */
  get held(): boolean {
    return this.#holds > 0;
  }

  /**
   * From now on until it is disposed of, new connections are neither taken nor refused: the kernel drops the SYN, and the
   * client sends it again (after about 1 s, then 2 s more). By then the listener is open again, or the client's
   * packets lead to another node. What is open goes on, and handshakes under way are completed. Of several holds the last
   * counts. Throws what the kernel refuses with.
   */
  hold(): Disposable {
    // Connections accepted meanwhile inherit the filter, which has nothing to drop there.
    if (this.#holds === 0 && this.#isOpen) this.#addon.attachFilter(this.#fd, dropOpeningFilter());
    this.#holds += 1;
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        this.#holds -= 1;
        if (this.#holds === 0 && this.#isOpen) this.#addon.setsockopt(this.#fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
      },
    };
  }

  /**
   * Holds new connections until `signal` aborts, and resolves when those under way have ended: accepted or not, to the last
   * byte that the client has to confirm. Give it to a `VipManager` as `quiesce`. Resolves when `signal` aborts, too.
   *
   * Connections that clients keep open without a request do not end by this; end them from where they are served.
   */
  async quiesce({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (signal.aborted) return;
    const hold = this.hold();
    signal.addEventListener('abort', () => hold[Symbol.dispose](), { once: true });
    using table = this.#openTable();
    let quietSinceMs: number | undefined;
    while (this.#isOpen) {
      await sleep(this.#clock, lookEveryMs, { signal, keepAlive: true }).catch(() => undefined);
      if (signal.aborted) return;
      const nowMs = this.#clock.monotonicMs();
      // The kernel is asked only once nothing is open here: it answers with a line for each connection.
      const left = this.#sockets.size > 0 ? this.#sockets.size : await this.#unfinished(table);
      if (left === 0) return;
      if (left !== undefined) quietSinceMs = undefined;
      else if (nowMs - (quietSinceMs ??= nowMs) >= blindSettleMs) return;
    }
  }

  /** Takes no more connections; resolves when those that are open have ended. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
    return this.#closing;
  }

  destroy(): void {
    void this.close();
    for (const socket of this.#sockets) resetSocket(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #isOpen(): boolean {
    return this.#closing === undefined;
  }

  #openTable(): ConnectionTable | undefined {
    try {
      return new ConnectionTable();
    } catch (error) {
      this.#logger.debug('the kernel’s connections cannot be counted', { error: describeError(error) });
      return undefined;
    }
  }

  /** Connections in the kernel that have not ended; undefined where it does not say. */
  async #unfinished(table: ConnectionTable | undefined): Promise<number | undefined> {
    try {
      return await table?.unfinishedAt(this.address);
    } catch (error) {
      this.#logger.debug('the kernel’s connections cannot be counted', { error: describeError(error) });
      return undefined;
    }
  }
}

function bind(addon: NativeAddon, { ip, port }: SocketAddress): number {
  const family = ipFamily(ip);
  const fd = addon.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  try {
    addon.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family === 6) {
      addon.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, 1);
      addon.setsockopt(fd, SOL_IPV6, IPV6_FREEBIND, 1);
    } else addon.setsockopt(fd, SOL_IP, IP_FREEBIND, 1);
    addon.bind(fd, encodeSockaddr(ip, port, family));
    return fd;
  } catch (error) {
    addon.close(fd);
    throw error;
  }
}
