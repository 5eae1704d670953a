import { describeError } from '../core/index.js';
import type { NativeAddon } from '../internal/native/addon.js';
import {
  AF_INET,
  AF_INET6,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  IP_BIND_ADDRESS_NO_PORT,
  IP_TRANSPARENT,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SO_MARK,
  SO_REUSEADDR,
  SO_REUSEPORT,
} from '../internal/native/constants.js';
import { isSystemError } from '../internal/native/errors.js';
import { encodeSockaddr } from '../internal/native/sockaddr.js';
import { TproxyError } from './errors.js';

export interface BoundSocketOptions {
  readonly family: 4 | 6;
  readonly transparent: boolean;
  /** SO_MARK; connections that a listener accepts inherit it. */
  readonly mark?: number | undefined;
  readonly bind?: { readonly ip: string; readonly port: number } | undefined;
  readonly reusePort?: boolean | undefined;
}

/**
 * A TCP descriptor with the options that node:net has no words for, ready for `net.Server.listen({ fd })` or
 * `new net.Socket({ fd })`. Throws `TPROXY_CAPABILITY_MISSING`, or the `SystemError` of the call.
 */
export function openTcpSocket(addon: NativeAddon, options: BoundSocketOptions): number {
  const fd = addon.socket(options.family === 6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  try {
    if (options.transparent) {
      needCapability('a transparent socket (IP_TRANSPARENT)', () =>
        options.family === 6
          ? addon.setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, 1)
          : addon.setsockopt(fd, SOL_IP, IP_TRANSPARENT, 1),
      );
    }
    const { mark, bind } = options;
    if (mark !== undefined) {
      needCapability('marking its packets (SO_MARK)', () => addon.setsockopt(fd, SOL_SOCKET, SO_MARK, mark | 0));
    }
    if (bind !== undefined) {
      addon.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      if (options.reusePort === true) addon.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
      if (options.family === 6) addon.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, bind.ip === '::' ? 0 : 1);
      // A port is only chosen at connect, when the destination is known: else 28,000 connections in all would be the end.
      if (bind.port === 0) addon.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
      addon.bind(fd, encodeSockaddr(bind.ip, bind.port, options.family));
    }
    return fd;
  } catch (error) {
    addon.close(fd);
    throw error;
  }
}

function needCapability(what: string, set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!isSystemError(error, 'EPERM', 'EACCES')) throw error;
    throw new TproxyError(
      'TPROXY_CAPABILITY_MISSING',
      `${what} needs CAP_NET_ADMIN or CAP_NET_RAW, which this process lacks: ${describeError(error)}`,
      { cause: error, fields: { capability: 'CAP_NET_ADMIN' } },
    );
  }
}
