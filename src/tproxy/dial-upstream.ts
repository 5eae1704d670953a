import { Socket, connect } from 'node:net';
import { CoreError, describeError, formatSocketAddress, ipFamily, parseIp, systemClock } from '../core/index.js';
import type { Clock, SocketAddress } from '../core/index.js';
import { nativeAddon } from '../internal/native/addon.js';
import { NativeError, isSystemError } from '../internal/native/errors.js';
import { TproxyError } from './errors.js';
import { defaultMarks } from './marks.js';
import { openTcpSocket } from './transparent-socket.js';

export interface DialUpstreamOptions {
  readonly destination: SocketAddress;
  /** Send from this address, though it is not this host's: the destination sees the real client. Same family as the destination. */
  readonly sourceIp?: string | undefined;
  /** Packet mark: `marks.upstream` of the interception, which leaves such packets alone. Default 0x2000. */
  readonly mark?: number | undefined;
  /** From the first packet to the established connection. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /**
   * Without the native addon or the capability: `error` (default), or `plain`, an ordinary connection without mark and with
   * this host's address. `plain` is for tests without interception: behind its rules an unmarked connection is refused.
   */
  readonly withoutCapability?: 'error' | 'plain' | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Connects to a pod (or anything else) past the interception rules, optionally from the client's own address.
 *
 * The socket allows half-open, has no Nagle delay, and keeps an error listener; add your own to see errors.
 * A kept source address needs the replies to come back through this host and its divert rule (`Interception` has it).
 *
 * Throws `TPROXY_DIAL_FAILED`, `TPROXY_CAPABILITY_MISSING`, `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`,
 * `CORE_OPTION_INVALID`; when aborted, the signal's reason.
 */
export async function dialUpstream(options: DialUpstreamOptions): Promise<Socket> {
  const { destination, signal } = options;
  const sourceIp = options.sourceIp === undefined ? undefined : parseIp(options.sourceIp);
  if (sourceIp !== undefined && ipFamily(sourceIp) !== ipFamily(destination.ip)) {
    throw new CoreError('CORE_OPTION_INVALID', `sourceIp: expected the family of ${destination.ip}, got ${sourceIp}`);
  }
  if (!(options.timeoutMs > 0)) {
    throw new CoreError(
      'CORE_OPTION_INVALID',
      `timeoutMs: expected a positive number, got ${String(options.timeoutMs)}`,
    );
  }
  signal?.throwIfAborted();
  return established(startConnecting(options, sourceIp), options);
}

function startConnecting(options: DialUpstreamOptions, sourceIp: string | undefined): Socket {
  const { destination } = options;
  const target = { host: destination.ip, port: destination.port, noDelay: true } as const;
  let fd: number;
  try {
    fd = openTcpSocket(nativeAddon('dialling past the interception rules'), {
      family: ipFamily(destination.ip),
      transparent: sourceIp !== undefined,
      mark: options.mark ?? defaultMarks.upstream.mark,
      bind: sourceIp === undefined ? undefined : { ip: sourceIp, port: 0 },
    });
  } catch (error) {
    const lacksMeans =
      error instanceof NativeError || (error instanceof TproxyError && error.code === 'TPROXY_CAPABILITY_MISSING');
    if (lacksMeans && options.withoutCapability === 'plain') return connect({ ...target, allowHalfOpen: true });
    if (isSystemError(error)) throw dialFailed(destination, error);
    throw error;
  }
  // `manualStart`: the descriptor is not connected, so nothing may read from it yet. Missing from the types.
  const init = { fd, readable: true, writable: true, allowHalfOpen: true, manualStart: true };
  return new Socket(init).connect(target);
}

function established(socket: Socket, options: DialUpstreamOptions): Promise<Socket> {
  const { destination, signal } = options;
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      socket.off('connect', onConnect);
      socket.off('close', onClose);
      finish();
    };
    const fail = (error: Error): void =>
      settle(() => {
        socket.destroy();
        reject(error);
      });
    const onAbort = (): void => fail(signal?.reason as Error);
    const onConnect = (): void => settle(() => resolve(socket));
    const onClose = (): void => fail(dialFailed(destination, failure ?? new Error('closed before it was established')));
    const timer = (options.clock ?? systemClock).timer(
      options.timeoutMs,
      () => fail(dialFailed(destination, new Error(`no answer within ${String(options.timeoutMs)} ms`))),
      { keepAlive: true },
    );
    let failure: Error | undefined;
    // For its whole life: an error without a listener would end the process.
    socket.on('error', (error) => {
      failure ??= error;
    });
    socket.once('connect', onConnect);
    socket.once('close', onClose);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function dialFailed(destination: SocketAddress, cause: unknown): TproxyError {
  return new TproxyError(
    'TPROXY_DIAL_FAILED',
    `cannot connect to ${formatSocketAddress(destination)}: ${describeError(cause)}`,
    {
      cause,
      fields: { destination: formatSocketAddress(destination) },
    },
  );
}
