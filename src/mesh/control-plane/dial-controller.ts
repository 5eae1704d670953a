import * as http2 from 'node:http2';
import * as tls from 'node:tls';
import { describeError, formatSocketAddress, parseSocketAddress } from '../../core/index.js';
import type { Clock, SocketAddress } from '../../core/index.js';
import { ControlPlaneError } from './errors.js';
import { alpnProtocols, requireFreshHttp2 } from './tls-context.js';

export interface DialOptions {
  /** `ip:port`. */
  readonly address: SocketAddress | string;
  readonly context: tls.SecureContextOptions;
  /** Decides on the server's certificate. Throws to refuse; nothing has been sent to the server by then. */
  readonly verify: (socket: tls.TLSSocket) => void;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A TLS connection to the controller, verified, with an HTTP/2 session on it: not a byte of HTTP/2, and so nothing of any
 * request, leaves before `verify` has returned. Throws `MESH_CONTROL_PLANE_UNREACHABLE`, `_PROTOCOL` and what `verify` throws.
 */
export async function dialController(options: DialOptions): Promise<http2.ClientHttp2Session> {
  const { ip, port } = typeof options.address === 'string' ? parseSocketAddress(options.address) : options.address;
  const where = formatSocketAddress({ ip, port });
  const socket = tls.connect({
    ...options.context,
    host: ip,
    port,
    ALPNProtocols: [...alpnProtocols],
    // Verified by us, from the DER, right after the handshake.
    rejectUnauthorized: false,
    // No server name: controllers are known by SPIFFE ID, and an IP address may not be one.
    servername: '',
  });
  socket.setNoDelay(true);
  try {
    await handshake(socket, where, options);
    requireFreshHttp2(socket);
    options.verify(socket);
  } catch (error) {
    socket.on('error', () => undefined);
    socket.destroy();
    throw error;
  }
  const session = http2.connect(`https://${where}`, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: 4 * 1024 * 1024 },
    maxHeaderListPairs: 64,
  });
  session.on('error', () => undefined);
  return session;
}

function handshake(socket: tls.TLSSocket, where: string, { clock, timeoutMs, signal }: DialOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (why: string, cause?: unknown): void => {
      finish();
      const message = `the controller at ${where} cannot be reached: ${why}`;
      reject(new ControlPlaneError('MESH_CONTROL_PLANE_UNREACHABLE', message, { cause }));
    };
    const onError = (error: Error): void => failed(describeError(error), error);
    const onClose = (): void => failed('the connection was closed during the TLS handshake');
    const onAbort = (): void => failed('the attempt was given up', signal?.reason);
    const onSecure = (): void => {
      finish();
      resolve();
    };
    const timer = clock.timer(timeoutMs, () => failed(`no TLS handshake within ${String(timeoutMs)} ms`));
    const finish = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError).off('close', onClose).off('secureConnect', onSecure);
    };
    socket.on('error', onError).on('close', onClose).on('secureConnect', onSecure);
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}
