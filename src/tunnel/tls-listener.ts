import * as net from 'node:net';
import * as tls from 'node:tls';
import { describeError, socketAddress } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import { Admission } from './admission.js';
import { TunnelError } from './errors.js';
import type { TunnelLimits } from './limits.js';
import { remoteOf } from './peer.js';
import { alpnProtocols } from './tls.js';

export interface TlsListenerHandlers {
  /** A handshake has finished; nothing about the peer is checked yet. Call `proven` once it is. */
  readonly onSecure: (socket: tls.TLSSocket, proven: () => void) => void;
  /** A connection was refused before that. */
  readonly onRefused: (remote: string, error: TunnelError) => void;
}

interface Connection {
  readonly socket: net.Socket;
  readonly release: () => void;
  proven: boolean;
}

/** TCP and TLS of the tunnel port: takes connections within bounds and hands on those whose handshake has finished. */
export class TlsListener {
  readonly #handlers: TlsListenerHandlers;
  readonly #net: net.Server;
  readonly #tls: tls.Server;
  readonly #admission: Admission;
  /** By remote address and port, which is how a TLS socket finds the TCP connection below it. */
  readonly #connections = new Map<string, Connection>();

  constructor(limits: TunnelLimits, context: tls.SecureContextOptions, handlers: TlsListenerHandlers) {
    this.#handlers = handlers;
    this.#admission = new Admission(limits);
    this.#tls = tls.createServer({
      ...context,
      ALPNProtocols: alpnProtocols,
      requestCert: true,
      // The check is ours, in `verifyPeer`, before HTTP/2 exists on the socket.
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeTimeoutMs,
    });
    this.#tls.on('secureConnection', (socket) => this.#secured(socket));
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const code = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'TUNNEL_HANDSHAKE_TIMEOUT' : 'TUNNEL_TLS_FAILED';
      handlers.onRefused(
        remoteOf(socket),
        new TunnelError(code, `the TLS handshake failed: ${error.message}`, { cause: error }),
      );
      socket.destroy();
    });
    this.#net = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 180_000 });
    this.#net.maxConnections = limits.maxConnections;
    this.#net.on('connection', (socket) => this.#connected(socket));
    this.#net.on('drop', (dropped) =>
      handlers.onRefused(
        dropped === undefined ? 'unknown' : remoteOf(dropped),
        new TunnelError('TUNNEL_LIMIT', `${String(limits.maxConnections)} connections are open (maxConnections)`),
      ),
    );
  }

  /** Binds. Throws `TUNNEL_LISTEN_FAILED`. */
  async bind(host: string, port: number): Promise<SocketAddress> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#net.once('error', reject);
        this.#net.listen({ host, port }, () => {
          this.#net.off('error', reject);
          resolve();
        });
      });
    } catch (error) {
      const where = `${host} port ${String(port)}`;
      throw new TunnelError('TUNNEL_LISTEN_FAILED', `cannot listen on ${where}: ${describeError(error)}`, {
        cause: error,
      });
    }
    // Errors of a bound listener (out of file descriptors) come and go; the connection concerned is lost, nothing else.
    this.#net.on('error', (error) =>
      this.#handlers.onRefused('unknown', new TunnelError('TUNNEL_LISTEN_FAILED', `accept failed: ${error.message}`)),
    );
    const bound = this.#net.address() as net.AddressInfo;
    return socketAddress(bound.address, bound.port);
  }

  /** New handshakes use `context`; those that have finished are not touched. */
  setSecureContext(context: tls.SecureContextOptions): void {
    this.#tls.setSecureContext(context);
  }

  /** Stops listening and drops connections that have not proven who they are; resolves when the last one is gone. */
  stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      this.#net.close(() => resolve());
    });
    for (const connection of this.#connections.values()) if (!connection.proven) connection.socket.destroy();
    return stopped;
  }

  #connected(socket: net.Socket): void {
    const { remoteAddress: address, remotePort: port } = socket;
    socket.on('error', () => undefined);
    if (address === undefined || port === undefined) {
      socket.destroy();
      return;
    }
    const release = this.#admission.admit(address);
    if (typeof release === 'string') {
      this.#handlers.onRefused(remoteOf(socket), new TunnelError('TUNNEL_LIMIT', release));
      socket.destroy();
      return;
    }
    const key = `${address} ${String(port)}`;
    this.#connections.set(key, { socket, release, proven: false });
    socket.once('close', () => {
      release();
      this.#connections.delete(key);
    });
    this.#tls.emit('connection', socket);
  }

  #secured(socket: tls.TLSSocket): void {
    socket.on('error', () => undefined);
    const connection = this.#connections.get(`${String(socket.remoteAddress)} ${String(socket.remotePort)}`);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    this.#handlers.onSecure(socket, () => {
      connection.proven = true;
      connection.release();
    });
  }
}
