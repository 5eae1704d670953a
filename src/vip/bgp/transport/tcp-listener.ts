import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { describeError, formatSocketAddress, ipFamily, parseIp } from '../../../core/index.js';
import type { Clock } from '../../../core/index.js';
import { nativeAddon } from '../../../internal/native/addon.js';
import {
  AF_INET,
  AF_INET6,
  IPV6_V6ONLY,
  SOCK_STREAM,
  SOL_IPV6,
  SOL_SOCKET,
  SO_REUSEADDR,
} from '../../../internal/native/constants.js';
import { isSystemError } from '../../../internal/native/errors.js';
import { decodeSockaddr, encodeSockaddr } from '../../../internal/native/sockaddr.js';
import { VipError } from '../../errors.js';
import { applyPassword, applyTtl } from './socket-options.js';
import { TcpConnection } from './tcp-connection.js';
import type { BgpListener, BgpListenOptions } from './transport.js';

interface BoundSocket {
  readonly fd: number;
  readonly family: 4 | 6;
  readonly host: string;
  readonly port: number;
}

interface Bound extends BoundSocket {
  readonly server: Server;
}

/** One listening socket per host, shared by all peers. */
export class TcpListener implements BgpListener {
  readonly #bound: readonly Bound[];

  private constructor(bound: readonly Bound[]) {
    this.#bound = bound;
  }

  /** Throws `VIP_BGP_LISTEN_FAILED`, `VIP_CAPABILITY_MISSING`. All sockets are bound before it returns its promise. */
  static async open(options: BgpListenOptions, clock: Clock): Promise<TcpListener> {
    const sockets: BoundSocket[] = [];
    try {
      for (const host of options.hosts) {
        try {
          // With port 0 all hosts share the one that the first was given.
          sockets.push(bindTo(parseIp(host), sockets[0]?.port ?? options.port));
        } catch (error) {
          if (!(options.skipMissingFamilies && sockets.length > 0 && isFamilyMissing(error))) throw error;
        }
      }
    } catch (error) {
      for (const { fd } of sockets) nativeAddon('listening for BGP').close(fd);
      throw error;
    }
    const started = await Promise.allSettled(sockets.map((socket) => listenOn(socket, options, clock)));
    const bound = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const failed = started.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return new TcpListener(bound);
    for (const { server } of bound) server.close();
    throw failed.reason;
  }

  get port(): number {
    return this.#bound[0]?.port ?? 0;
  }

  setPassword(address: string, password: string | undefined): void {
    const family = ipFamily(address);
    for (const { fd, family: own, server } of this.#bound) {
      if (own === family && server.listening) applyPassword(nativeAddon('a BGP password'), fd, address, password);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#bound.map(({ server }) => new Promise((resolve) => void server.close(resolve))));
  }
}

function bindTo(host: string, port: number): BoundSocket {
  const addon = nativeAddon('listening for BGP');
  const family = ipFamily(host);
  const fd = addon.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  try {
    addon.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family === 6) addon.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    // A peer with TTL security drops a SYN-ACK with anything less; whose connection it is is known only later.
    applyTtl(addon, fd, family, { ttl: 255 });
    addon.bind(fd, encodeSockaddr(host, port, family));
    return { fd, family, host, port: decodeSockaddr(addon.getsockname(fd))?.port ?? port };
  } catch (error) {
    addon.close(fd);
    throw listenFailed(host, port, error);
  }
}

async function listenOn(socket: BoundSocket, options: BgpListenOptions, clock: Clock): Promise<Bound> {
  const server = createServer((accepted: Socket) => {
    if (accepted.remoteAddress === undefined || accepted.localAddress === undefined) accepted.destroy();
    else options.onConnection(new TcpConnection(accepted, clock));
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd: socket.fd, exclusive: true }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    throw listenFailed(socket.host, socket.port, error);
  }
  // An accept that fails (no descriptors left) must not end the process; the next one may succeed.
  server.on('error', () => undefined);
  return { ...socket, server };
}

/** IPv6 is not built in (EAFNOSUPPORT) or switched off (EADDRNOTAVAIL). */
function isFamilyMissing(error: unknown): boolean {
  return error instanceof VipError && isSystemError(error.cause, 'EAFNOSUPPORT', 'EADDRNOTAVAIL');
}

function listenFailed(host: string, port: number, cause: unknown): VipError {
  const where = formatSocketAddress({ ip: host, port });
  if (isSystemError(cause, 'EACCES', 'EPERM')) {
    return new VipError(
      'VIP_CAPABILITY_MISSING',
      `listening for BGP on ${where} needs CAP_NET_BIND_SERVICE, which this process lacks: ${describeError(cause)}`,
      { cause, fields: { capability: 'CAP_NET_BIND_SERVICE' } },
    );
  }
  const hint = isSystemError(cause, 'EADDRINUSE') ? '; another BGP speaker listens there' : '';
  return new VipError('VIP_BGP_LISTEN_FAILED', `cannot listen for BGP on ${where}: ${describeError(cause)}${hint}`, {
    cause,
    fields: { host, port },
  });
}
