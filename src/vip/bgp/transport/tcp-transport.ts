import { Socket } from 'node:net';
import { ipFamily, systemClock } from '../../../core/index.js';
import type { Clock } from '../../../core/index.js';
import { nativeAddon } from '../../../internal/native/addon.js';
import { AF_INET, AF_INET6, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR } from '../../../internal/native/constants.js';
import { encodeSockaddr } from '../../../internal/native/sockaddr.js';
import { applyPassword, applyTtl } from './socket-options.js';
import { TcpConnection } from './tcp-connection.js';
import { readTcpHints } from './tcp-hints.js';
import { TcpListener } from './tcp-listener.js';
import type {
  BgpDialCallbacks,
  BgpDialOptions,
  BgpListener,
  BgpListenOptions,
  BgpTransport,
  TcpHints,
} from './transport.js';

/** Real TCP, of the network namespace that the thread is in. Needs the native addon. */
export class TcpTransport implements BgpTransport {
  readonly #clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  dial(options: BgpDialOptions, callbacks: BgpDialCallbacks): { cancel(): void } {
    let socket: Socket;
    try {
      // `manualStart`: the descriptor is not connected, so nothing may read from it yet. Missing from the types.
      const init = { fd: openDiallingSocket(options), readable: true, writable: true, manualStart: true };
      socket = new Socket(init);
      socket.connect({ host: options.address, port: options.port });
    } catch (error) {
      callbacks.failed(error instanceof Error ? error : new Error(String(error)));
      return { cancel: () => undefined };
    }
    let failure: Error | undefined;
    const onError = (error: Error): void => {
      failure ??= error;
    };
    const onClose = (): void => callbacks.failed(failure ?? new Error('closed before it was established'));
    const onConnect = (): void => {
      // The peer may be gone again already, and its address with it.
      if (socket.remoteAddress === undefined || socket.localAddress === undefined) return;
      const connection = new TcpConnection(socket, this.#clock);
      socket.off('close', onClose);
      socket.off('error', onError);
      callbacks.connected(connection);
    };
    socket.on('error', onError).once('close', onClose).once('connect', onConnect);
    return {
      cancel: () => {
        socket.off('close', onClose).off('connect', onConnect);
        socket.destroy();
      },
    };
  }

  listen(options: BgpListenOptions): Promise<BgpListener> {
    return TcpListener.open(options, this.#clock);
  }

  hints(): TcpHints | undefined {
    return readTcpHints();
  }
}

function openDiallingSocket(options: BgpDialOptions): number {
  const addon = nativeAddon('BGP');
  const family = ipFamily(options.address);
  const fd = addon.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  try {
    applyTtl(addon, fd, family, options);
    if (options.password !== undefined) applyPassword(addon, fd, options.address, options.password);
    if (options.localAddress !== undefined) {
      addon.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      addon.bind(fd, encodeSockaddr(options.localAddress, 0, family));
    }
    return fd;
  } catch (error) {
    addon.close(fd);
    throw error;
  }
}
