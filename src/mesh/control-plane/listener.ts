import * as net from 'node:net';
import * as tls from 'node:tls';
import { describeError, socketAddress } from '../../core/index.js';
import type { SocketAddress } from '../../core/index.js';
import { ControlPlaneError } from './errors.js';
import type { ControlPlaneLimits } from './limits.js';
import { alpnProtocols } from './tls-context.js';

export interface ListenerHandlers {
  /** A handshake is done; the peer's certificate is still to be verified. Call `proven` once it is. */
  readonly onSecure: (socket: tls.TLSSocket, remote: string, proven: () => void) => void;
  readonly onRefused: (remote: string, error: ControlPlaneError) => void;
}

/** TCP and TLS of the control plane: takes connections within bounds and hands on those whose handshake is done. */
export class ControlPlaneListener {
  readonly #handlers: ListenerHandlers;
  readonly #limits: ControlPlaneLimits;
  readonly #net: net.Server;
  readonly #tls: tls.Server;
  /** Every TCP connection by `ip:port`, which is how a TLS socket finds its own; `true` once it is authenticated. */
  readonly #connections = new Map<string, { readonly socket: net.Socket; proven: boolean }>();

  constructor(limits: ControlPlaneLimits, context: tls.SecureContextOptions, handlers: ListenerHandlers) {
    this.#handlers = handlers;
    this.#limits = limits;
    this.#tls = tls.createServer({
      ...context,
      ALPNProtocols: [...alpnProtocols],
      // Asked for but not required: a node that joins has none yet. What is presented is verified by us, from the DER.
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeTimeoutMs,
    });
    this.#tls.on('secureConnection', (socket) => this.#secured(socket));
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const slow = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
      const code = slow ? 'MESH_CONTROL_PLANE_TIMEOUT' : 'MESH_CONTROL_PLANE_PROTOCOL';
      const message = `the TLS handshake failed: ${error.message}`;
      handlers.onRefused(remoteOf(socket), new ControlPlaneError(code, message, { cause: error }));
      socket.destroy();
    });
    this.#net = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
    this.#net.maxConnections = limits.maxConnections;
    this.#net.on('connection', (socket) => this.#connected(socket));
    this.#net.on('drop', () => handlers.onRefused('unknown', tooMany(limits.maxConnections, 'connections')));
  }

  /** Throws `MESH_CONTROL_PLANE_LISTEN`. */
  async bind(host: string, port: number): Promise<SocketAddress> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#net.once('error', reject);
        this.#net.listen({ host, port }, () => {
          this.#net.off('error', reject);
          resolve();
        });
      });
    } catch (cause) {
      const message = `cannot listen on ${host} port ${String(port)}: ${describeError(cause)}`;
      throw new ControlPlaneError('MESH_CONTROL_PLANE_LISTEN', message, { cause });
    }
    // Errors of a bound listener (out of file descriptors) come and go; the connection concerned is lost, nothing else.
    this.#net.on('error', (error) => {
      const message = `accept failed: ${error.message}`;
      this.#handlers.onRefused(
        'unknown',
        new ControlPlaneError('MESH_CONTROL_PLANE_LISTEN', message, { cause: error }),
      );
    });
    const { address, port: bound } = this.#net.address() as net.AddressInfo;
    return socketAddress(address, bound);
  }

  /** For handshakes from now on. */
  setSecureContext(context: tls.SecureContextOptions): void {
    this.#tls.setSecureContext(context);
  }

  /** Stops accepting and drops what is not authenticated; resolves when every connection is gone. */
  stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      this.#net.close(() => resolve());
    });
    for (const { socket, proven } of this.#connections.values()) if (!proven) socket.destroy();
    return stopped;
  }

  #connected(socket: net.Socket): void {
    socket.on('error', () => undefined);
    const remote = remoteOf(socket);
    if (remote === 'unknown') {
      socket.destroy();
      return;
    }
    let unproven = 0;
    for (const connection of this.#connections.values()) if (!connection.proven) unproven += 1;
    if (unproven >= this.#limits.maxUnauthenticated) {
      this.#handlers.onRefused(remote, tooMany(unproven, 'unauthenticated connections'));
      socket.destroy();
      return;
    }
    this.#connections.set(remote, { socket, proven: false });
    socket.once('close', () => this.#connections.delete(remote));
    this.#tls.emit('connection', socket);
  }

  #secured(socket: tls.TLSSocket): void {
    socket.on('error', () => undefined);
    const remote = remoteOf(socket);
    const connection = this.#connections.get(remote);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    this.#handlers.onSecure(socket, remote, () => {
      connection.proven = true;
    });
  }
}

function remoteOf(socket: net.Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return 'unknown';
  return remoteAddress.includes(':')
    ? `[${remoteAddress}]:${String(remotePort)}`
    : `${remoteAddress}:${String(remotePort)}`;
}

const tooMany = (count: number, what: string): ControlPlaneError =>
  new ControlPlaneError('MESH_CONTROL_PLANE_LIMIT', `there are ${String(count)} ${what} already`);
