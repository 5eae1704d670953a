import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { formatSocketAddress, parseSocketAddress, systemClock } from '../../core/index.js';
import type { Clock, SocketAddress } from '../../core/index.js';
import { matchesRootPin } from '../../ca/index.js';
import { TrustBundle, isControllerId, peerCertificates, tlsBaseOptions, verifyX509Svid } from '../../spiffe/index.js';
import type { TrustDomain } from '../../spiffe/index.js';
import { ClientSessions } from './client-sessions.js';
import { closableTransport } from './control-plane-transport.js';
import type { ClosableTransport } from './control-plane-transport.js';
import { dialController } from './dial-controller.js';
import { ControlPlaneError } from './errors.js';

import { untrusted } from './untrusted.js';

export interface JoinTransportOptions {
  /** `ip:port` of the controller. */
  readonly address: SocketAddress | string;
  /** `sha256:<hex>`, as handed out with the join token; several while the root is replaced. */
  readonly rootPin: string | readonly string[];
  readonly trustDomain: TrustDomain;
  /** For TCP and TLS together. Default 10 000 ms. */
  readonly connectTimeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * gRPC to a controller that this node cannot know yet but by the pin of its root: for `Join`, then to be closed. Before
 * anything is sent, the server's chain must hold the pinned root, and its leaf must verify under that root alone as the
 * controller of `trustDomain`. Throws `CA_REQUEST_INVALID` for a pin that does not parse.
 */
export function joinTransport(options: JoinTransportOptions): ClosableTransport {
  const { trustDomain, clock = systemClock, connectTimeoutMs: timeoutMs = 10_000 } = options;
  const address = typeof options.address === 'string' ? parseSocketAddress(options.address) : options.address;
  const where = formatSocketAddress(address);
  const pins = [options.rootPin].flat();

  const verify = (socket: TLSSocket): void => {
    const certificates = peerCertificates(socket);
    const root = certificates.find((der) => matchesPin(der, pins));
    if (root === undefined) {
      const message = `the chain of the server at ${where} does not hold the pinned root; nothing was sent`;
      throw new ControlPlaneError('MESH_CONTROL_PLANE_PIN_MISMATCH', message);
    }
    const { spiffeId } = untrusted(() => {
      const bundle = TrustBundle.create({ trustDomain, x509Authorities: [root] });
      return verifyX509Svid({ certificates, bundle, now: clock.now() });
    });
    if (isControllerId(spiffeId)) return;
    const message = `expected the controller at ${where}, found ${spiffeId.toString()}; nothing was sent`;
    throw new ControlPlaneError('MESH_CONTROL_PLANE_NOT_CONTROLLER', message);
  };

  const sessions = new ClientSessions({
    authority: `https://${where}`,
    dial: async (signal) => ({
      session: await dialController({ address, context: tlsBaseOptions, verify, timeoutMs, clock, signal }),
      usable: () => true,
      verifyAgain: () => undefined,
    }),
    clock,
    pingIntervalMs: 15_000,
  });
  return closableTransport(sessions);
}

function matchesPin(der: Uint8Array, pins: readonly string[]): boolean {
  try {
    const { publicKey } = new X509Certificate(der);
    return pins.some((pin) => matchesRootPin(publicKey, pin));
  } catch (error) {
    // A pin that does not parse is the caller's mistake and must not look like a mismatch; a key that Node cannot read is one.
    if (error instanceof Error && 'code' in error && error.code === 'CA_REQUEST_INVALID') throw error;
    return false;
  }
}
