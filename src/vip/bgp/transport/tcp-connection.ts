import type { Socket } from 'node:net';
import { ipFamily, parseIp } from '../../../core/index.js';
import type { Clock, Timer } from '../../../core/index.js';
import { nativeAddon } from '../../../internal/native/addon.js';
import { socketFd } from '../../../internal/native/socket-fd.js';
import { applyTtl } from './socket-options.js';
import type { BgpConnection, BgpConnectionHandlers, BgpTtl } from './transport.js';

/** How long an ended connection may take to send its last message. */
const lingerMs = 2000;

/** A connected `net.Socket`, dialled or accepted. */
export class TcpConnection implements BgpConnection {
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #closed: Promise<void>;
  #handlers: BgpConnectionHandlers | undefined;
  #linger: Timer | undefined;

  /** The addresses are read at once: a socket that is closed has none. */
  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.localAddress = parseIp(socket.localAddress ?? '');
    this.remoteAddress = parseIp(socket.remoteAddress ?? '');
    this.remotePort = socket.remotePort ?? 0;
    socket.setNoDelay(true);
    let failure: Error | undefined;
    socket.on('error', (error) => {
      failure ??= error;
    });
    this.#closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#linger?.cancel();
        resolve();
        this.#release()?.closed(failure);
      });
    });
  }

  start(handlers: BgpConnectionHandlers): void {
    this.#handlers = handlers;
    this.#socket.on('data', (chunk) => this.#handlers?.data(chunk));
    this.#socket.on('drain', () => this.#handlers?.drained());
  }

  write(bytes: Uint8Array): boolean {
    return this.#socket.destroyed || this.#socket.write(bytes);
  }

  end(): Promise<void> {
    if (this.#socket.destroyed || this.#linger !== undefined) return this.#closed;
    this.#release();
    // Read on and thrown away: closing over unread bytes would reset the connection and lose the last message.
    this.#socket.resume();
    this.#socket.end();
    this.#linger = this.#clock.timer(lingerMs, () => this.#socket.destroy(), { keepAlive: true });
    return this.#closed;
  }

  destroy(): void {
    this.#release();
    this.#socket.destroy();
  }

  applyTtl(ttl: BgpTtl): void {
    const fd = socketFd(this.#socket);
    if (fd !== undefined) applyTtl(nativeAddon('the TTL of a BGP session'), fd, ipFamily(this.remoteAddress), ttl);
  }

  #release(): BgpConnectionHandlers | undefined {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    return handlers;
  }
}
