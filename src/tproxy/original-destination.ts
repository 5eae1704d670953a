import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Cidr, parseIp } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import type { NativeAddon } from '../internal/native/addon.js';
import { SOL_IP, SOL_IPV6, SO_ORIGINAL_DST } from '../internal/native/constants.js';
import { isSystemError } from '../internal/native/errors.js';
import { decodeSockaddr } from '../internal/native/sockaddr.js';
import { socketFd } from '../internal/native/socket-fd.js';

/**
 * Where an accepted connection was going.
 *
 * - TPROXY: the local address of the socket itself.
 * - REDIRECT: conntrack remembers it (SO_ORIGINAL_DST); the local address is the listener's own.
 *
 * Asking conntrack first serves both: for a connection that TPROXY delivered, it has the same address or no entry at all.
 * Undefined when the socket is already gone, or conntrack has nothing and `required` says that it must.
 */
export function originalDestination(socket: Socket, addon: NativeAddon, required: boolean): SocketAddress | undefined {
  const local = toSocketAddress(socket.localAddress, socket.localPort);
  const fd = socketFd(socket);
  if (local === undefined || fd === undefined) return undefined;
  try {
    const level = local.ip.includes(':') ? SOL_IPV6 : SOL_IP;
    const tracked = decodeSockaddr(addon.getsockopt(fd, level, SO_ORIGINAL_DST, 28));
    return toSocketAddress(tracked?.ip, tracked?.port);
  } catch (error) {
    // ENOENT: not tracked. ENOPROTOOPT: no connection tracking in this kernel or namespace.
    if (isSystemError(error, 'ENOENT', 'ENOPROTOOPT', 'EOPNOTSUPP') && !required) return local;
    return undefined;
  }
}

/** Where it came from; undefined when the socket is already gone. */
export function connectionSource(socket: Socket): SocketAddress | undefined {
  return toSocketAddress(socket.remoteAddress, socket.remotePort);
}

const loopbackBlocks = [Cidr.parse('127.0.0.0/8'), Cidr.parse('::1')];

/** Whether `ip` is an address of this host, now. */
export function isLocalAddress(ip: string): boolean {
  if (loopbackBlocks.some((block) => block.contains(ip))) return true;
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => parseIp(withoutZone(address)) === ip),
  );
}

function toSocketAddress(ip: string | undefined, port: number | undefined): SocketAddress | undefined {
  if (ip === undefined || port === undefined || port === 0) return undefined;
  return Object.freeze({ ip: parseIp(withoutZone(ip)), port });
}

/** Link-local addresses come with a zone (`fe80::1%eth0`). */
function withoutZone(ip: string): string {
  return ip.split('%', 1)[0] ?? ip;
}
