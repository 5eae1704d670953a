import type * as net from 'node:net';
import * as tls from 'node:tls';
import { describeError } from '../../core/index.js';
import { SpiffeError } from '../errors.js';
import { handshakeDefect } from '../handshake-defect.js';
import { MtlsIdentity } from './identity.js';
import type { MtlsOptions } from './options.js';

export interface MtlsTarget {
  /** A name or an address; it says where to connect and nothing of who is there. Default `localhost`. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  /** A Unix socket, instead of host and port. */
  readonly path?: string | undefined;
  /** A connection that is open already, instead of all these. */
  readonly socket?: net.Socket | undefined;
  /** Offered in this order. When given, the server must choose one of them. */
  readonly alpnProtocols?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects and verifies the server; resolves with a socket on which nothing has been sent or read yet. `mtlsPeer(socket)`
 * says who it is. Neither host name nor SNI is sent or checked: identity is the SPIFFE ID.
 *
 * Under TLS 1.3 a client's handshake ends before the server has judged the client: a refusal shows as a connection that
 * closes. The first answer proves that we are welcome.
 *
 * Rejects with `SPIFFE_MTLS_SVID_EXPIRED`, `_FAILED`, `_TIMEOUT`, `_RESUMED`, `_ALPN`, `_NOT_AUTHORIZED`, the
 * `SPIFFE_X509_…` codes of verification, and with the signal's reason.
 */
export function connectMtls(options: MtlsOptions, target: MtlsTarget): Promise<tls.TLSSocket> {
  return dial(new MtlsIdentity(options, 'client'), target);
}

export async function dial(identity: MtlsIdentity, target: MtlsTarget): Promise<tls.TLSSocket> {
  const { signal, alpnProtocols = [] } = target;
  signal?.throwIfAborted();
  const svid = identity.requireSvid();
  const { host, port, path, socket: tcp } = target;
  const socket = tls.connect({
    secureContext: identity.context(),
    ...(tcp !== undefined ? { socket: tcp } : path !== undefined ? { path } : { host: host ?? 'localhost', port }),
    ...(alpnProtocols.length === 0 ? {} : { ALPNProtocols: [...alpnProtocols] }),
    servername: '',
    // The check is ours, below, from the DER; Node's would judge by names.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  // Errors come with a close. Without this one, an error between the handshake and the caller's own listener would be fatal.
  socket.on('error', () => undefined);
  try {
    await handshake(socket, identity, signal);
    const defect = handshakeDefect(socket, alpnProtocols);
    if (defect?.kind === 'alpn') throw new SpiffeError('SPIFFE_MTLS_ALPN', defect.message);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  identity.admit(socket, svid);
  return socket;
}

function handshake(socket: tls.TLSSocket, identity: MtlsIdentity, signal: AbortSignal | undefined): Promise<void> {
  const { clock, handshakeTimeoutMs } = identity.options;
  return new Promise((resolve, reject) => {
    const finish = (error?: unknown): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError).off('close', onClose).off('secureConnect', finish);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onError = (cause: Error): void =>
      finish(new SpiffeError('SPIFFE_MTLS_FAILED', `no TLS with the peer: ${describeError(cause)}`, { cause }));
    const onClose = (): void =>
      finish(new SpiffeError('SPIFFE_MTLS_FAILED', 'the peer closed the connection during the handshake'));
    const onAbort = (): void => finish(signal?.reason);
    const timer = clock.timer(
      handshakeTimeoutMs,
      () => finish(new SpiffeError('SPIFFE_MTLS_TIMEOUT', `no handshake within ${String(handshakeTimeoutMs)} ms`)),
      { keepAlive: true },
    );
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError).once('close', onClose).once('secureConnect', finish);
  });
}
