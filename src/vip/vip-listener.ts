import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { describeError, formatSocketAddress, ipFamily, parseIp, silentLogger, socketAddress } from '../core/index.js';
import type { Closable, Logger, SocketAddress } from '../core/index.js';
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
  SO_REUSEADDR,
} from '../internal/native/constants.js';
import { encodeSockaddr } from '../internal/native/sockaddr.js';
import { resetSocket } from '../internal/reset-socket.js';
import { VipError } from './errors.js';

const IP_FREEBIND = 15;
const IPV6_FREEBIND = 78;

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
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #closing: Promise<void> | undefined;

  private constructor(options: VipListenerOptions, server: Server) {
    const logger = options.logger ?? silentLogger;
    this.address = options.address;
    this.#server = server;
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
    } catch (cause) {
      const at = formatSocketAddress(options.address);
      throw new VipError('VIP_LISTEN_FAILED', `cannot listen on ${at}: ${describeError(cause)}`, {
        cause,
        fields: { address: at },
      });
    }
    return new VipListener(options, server);
  }

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

  destroy(): void {
    void this.close();
    for (const socket of this.#sockets) resetSocket(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
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
