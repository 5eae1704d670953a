import type { TLSSocket } from 'node:tls';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { formatSocketAddress, parseSocketAddress, systemClock } from '../../core/index.js';
import type { Clock, Closable, SocketAddress } from '../../core/index.js';
import { peerCertificates, toBundleSource, toSvidSource, verifyX509Svid } from '../../spiffe/index.js';
import type { BundleSource, SpiffeId, SvidSource, TrustBundle, X509Svid } from '../../spiffe/index.js';
import { ClientSessions } from './client-sessions.js';
import type { VerifiedSession } from './client-sessions.js';
import { dialController } from './dial-controller.js';
import { ControlPlaneError } from './errors.js';
import { untrusted } from './untrusted.js';
import { clientContext } from './tls-context.js';

export interface ControlPlaneTransportOptions {
  /** `ip:port` of the controller. */
  readonly address: SocketAddress | string;
  /** Our own; a live source rotates it: requests made after a rotation go out on a connection with the new one. */
  readonly svid: X509Svid | SvidSource;
  /** What the controller is verified against, again whenever it changes. */
  readonly bundle: TrustBundle | BundleSource;
  /** The one identity that is accepted. */
  readonly controller: SpiffeId;
  /** For TCP and TLS together. Default 10 000 ms. */
  readonly connectTimeoutMs?: number | undefined;
  /** Default 15 000 ms. */
  readonly pingIntervalMs?: number | undefined;
  /** Of one response message. Default 64 MiB: a snapshot has to fit. */
  readonly maxMessageBytes?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** A connect `Transport` that owns its connections. */
export interface ClosableTransport extends Transport, Closable {}

/**
 * gRPC to the controller, authenticated both ways. The connection is made at the first call and made again when it is
 * lost; a call that finds none fails as `unavailable`, so callers retry. Nothing is sent to a server that is not
 * exactly `controller`.
 *
 * @example
 * const transport = controlPlaneTransport({ address: '10.0.0.1:15010', svid, bundle, controller: controllerId(trustDomain) });
 */
export function controlPlaneTransport(options: ControlPlaneTransportOptions): ClosableTransport {
  const { clock = systemClock, connectTimeoutMs: timeoutMs = 10_000, controller } = options;
  const svid = toSvidSource(options.svid);
  const bundle = toBundleSource(options.bundle);
  const address = typeof options.address === 'string' ? parseSocketAddress(options.address) : options.address;

  const verify = (certificates: readonly Uint8Array[]): Date => {
    const { spiffeId, notAfter } = untrusted(() =>
      verifyX509Svid({ certificates, bundle: bundle.current, now: clock.now() }),
    );
    if (spiffeId.equals(controller)) return notAfter;
    const message = `expected ${controller.toString()} at ${formatSocketAddress(address)}, found ${spiffeId.toString()}`;
    throw new ControlPlaneError('MESH_CONTROL_PLANE_NOT_CONTROLLER', message);
  };

  const dial = async (signal: AbortSignal): Promise<VerifiedSession> => {
    const mine = svid.current;
    requireCurrent(mine, clock);
    let certificates: readonly Uint8Array[] = [];
    let notAfter = new Date(0);
    const check = (socket: TLSSocket): void => {
      certificates = peerCertificates(socket);
      notAfter = verify(certificates);
    };
    const context = clientContext(mine);
    const session = await dialController({ address, context, verify: check, timeoutMs, clock, signal });
    return {
      session,
      usable: () => svid.current === mine && clock.now() < notAfter.getTime(),
      verifyAgain: () => void verify(certificates),
    };
  };

  const authority = `https://${formatSocketAddress(address)}`;
  const sessions = new ClientSessions({ authority, dial, clock, pingIntervalMs: options.pingIntervalMs ?? 15_000 });
  const subscription = bundle.subscribe(() => sessions.verifyAgain());
  return closableTransport(sessions, options.maxMessageBytes, () => subscription[Symbol.dispose]());
}

/** connect's gRPC transport over `sessions`. */
export function closableTransport(
  sessions: ClientSessions,
  readMaxBytes = 64 * 1024 * 1024,
  onClose: () => void = () => undefined,
): ClosableTransport {
  const transport = createGrpcTransport({
    baseUrl: sessions.authority,
    sessionManager: sessions,
    acceptCompression: [],
    readMaxBytes,
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    onClose();
    closing ??= sessions.close();
    return closing;
  };
  return {
    unary: transport.unary.bind(transport),
    stream: transport.stream.bind(transport),
    close,
    destroy: () => {
      onClose();
      sessions.destroy();
    },
    [Symbol.asyncDispose]: close,
  };
}

function requireCurrent(svid: X509Svid, clock: Clock): void {
  if (clock.now() < svid.notAfter.getTime()) return;
  const message = `our own SVID ${svid.spiffeId.toString()} ended at ${svid.notAfter.toISOString()}; attest again`;
  throw new ControlPlaneError('MESH_CONTROL_PLANE_SVID_EXPIRED', message);
}
