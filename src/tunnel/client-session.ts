import * as http2 from 'node:http2';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { describeError, formatSocketAddress, notify } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import type { PeerAuthorizer, TrustBundle, X509Svid } from '../spiffe/index.js';
import { TunnelError } from './errors.js';
import { http2SessionOptions, raiseConnectionWindow } from './http2-settings.js';
import { verifyPeer } from './peer.js';
import { SessionCore } from './session.js';
import type { SessionContext } from './session-info.js';
import { alpnProtocols, assertOwnSvidValid, secureContextOptions } from './tls.js';

/** A session of the dialling end. */
export type ClientSession = SessionCore<http2.ClientHttp2Session>;

/** Opens the TCP connection of a session; the default is `net.connect`. Must honour `signal`. */
export type TunnelDialer = (request: {
  readonly destination: SocketAddress;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}) => Promise<net.Socket>;

export interface OpenSessionOptions {
  readonly address: SocketAddress;
  readonly authorize: PeerAuthorizer;
  readonly svid: X509Svid;
  readonly bundle: TrustBundle;
  readonly dial: TunnelDialer;
  readonly signal: AbortSignal;
}

/**
 * Dials, finishes the handshake, verifies the server, and only then speaks HTTP/2; resolves when the server's SETTINGS
 * have come, because under TLS 1.3 a client's handshake ends well even when the server refuses its certificate.
 */
export async function openSession(context: SessionContext, options: OpenSessionOptions): Promise<ClientSession> {
  const where = formatSocketAddress(options.address);
  const { clock, limits, observer } = context;
  const abort = new AbortController();
  const timeout = clock.timer(limits.connectTimeoutMs, () =>
    abort.abort(
      new TunnelError('TUNNEL_CONNECT_TIMEOUT', `no tunnel to ${where} within ${String(limits.connectTimeoutMs)} ms`),
    ),
  );
  const signal = AbortSignal.any([abort.signal, options.signal]);
  let socket: net.Socket | undefined;
  try {
    assertOwnSvidValid(options.svid, options.bundle, clock.now());
    socket = await dial(options, limits.connectTimeoutMs, signal, where);
    const secured = await secure(socket, options, signal, where);
    socket = secured;
    const verified = verifyPeer(secured, { bundle: options.bundle, now: clock.now(), authorize: options.authorize });
    const session = await startHttp2(context, secured, where, signal);
    const core = new SessionCore(context, { http2: session, socket: secured, verified, svid: options.svid });
    notify(observer, {
      type: 'handshake',
      side: 'client',
      ok: true,
      remoteAddress: where,
      peer: verified.peer.spiffeId.toString(),
    });
    return core;
  } catch (error) {
    socket?.destroy();
    const failure = toTunnelError(error, signal, where);
    notify(observer, { type: 'handshake', side: 'client', ok: false, reason: failure.code, remoteAddress: where });
    context.logger.warn('tunnel connect failed', { remote: where, code: failure.code, reason: failure.message });
    throw failure;
  } finally {
    timeout.cancel();
  }
}

/** `net.connect`, bounded by the signal. */
export const defaultDialer: TunnelDialer = ({ destination, signal }) => {
  const socket = net.connect({
    host: destination.ip,
    port: destination.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 180_000,
  });
  return eventually<net.Socket>(socket, signal, (resolve) => socket.once('connect', () => resolve(socket)));
};

async function dial(
  options: OpenSessionOptions,
  timeoutMs: number,
  signal: AbortSignal,
  where: string,
): Promise<net.Socket> {
  try {
    return await options.dial({ destination: options.address, timeoutMs, signal });
  } catch (error) {
    signal.throwIfAborted();
    throw new TunnelError('TUNNEL_DIAL_FAILED', `cannot connect to ${where}: ${describeError(error)}`, {
      cause: error,
    });
  }
}

async function secure(
  tcp: net.Socket,
  options: OpenSessionOptions,
  signal: AbortSignal,
  where: string,
): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    ...secureContextOptions(options.svid, options.bundle),
    socket: tcp,
    ALPNProtocols: alpnProtocols,
    // No SNI and no host names: identity is the SPIFFE ID, judged by `verifyPeer` before any HTTP/2 byte.
    servername: '',
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  tcp.on('error', () => undefined);
  try {
    return await eventually<tls.TLSSocket>(socket, signal, (resolve) =>
      socket.once('secureConnect', () => resolve(socket)),
    );
  } catch (error) {
    tcp.destroy();
    signal.throwIfAborted();
    throw new TunnelError('TUNNEL_TLS_FAILED', `the TLS handshake with ${where} failed: ${describeError(error)}`, {
      cause: error,
    });
  }
}

async function startHttp2(
  context: SessionContext,
  socket: tls.TLSSocket,
  where: string,
  signal: AbortSignal,
): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(`https://${where}`, {
    ...http2SessionOptions(context.limits),
    createConnection: () => socket,
  });
  session.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', onAbort);
      session.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(signal.reason as Error);
    const ended =
      'closed the connection before its HTTP/2 settings; it may have refused our certificate, its log says why';
    session.once('error', (error: Error) =>
      fail(new TunnelError('TUNNEL_SESSION_FAILED', `${where} ${ended}: ${error.message}`, { cause: error })),
    );
    session.once('close', () => fail(new TunnelError('TUNNEL_SESSION_FAILED', `${where} ${ended}`)));
    session.once('remoteSettings', () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  raiseConnectionWindow(session, context.limits);
  return session;
}

/** Waits for what `start` resolves; an error, a close or an abort of `socket` before that rejects and destroys it. */
function eventually<T>(
  socket: net.Socket,
  signal: AbortSignal,
  start: (resolve: (value: T) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const done = (): void => {
      socket.off('error', fail);
      socket.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      socket.on('error', () => undefined);
    };
    const fail = (error: Error): void => {
      done();
      socket.destroy();
      reject(error);
    };
    const onClose = (): void => fail(new Error('the connection was closed'));
    const onAbort = (): void => fail(signal.reason as Error);
    socket.on('error', fail);
    socket.on('close', onClose);
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    start((value) => {
      done();
      resolve(value);
    });
  });
}

function toTunnelError(error: unknown, signal: AbortSignal, where: string): TunnelError {
  if (error instanceof TunnelError) return error;
  if (signal.aborted && signal.reason instanceof TunnelError) return signal.reason;
  return new TunnelError('TUNNEL_SESSION_FAILED', `cannot open a tunnel to ${where}: ${describeError(error)}`, {
    cause: error,
  });
}
