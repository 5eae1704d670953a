import type { TLSSocket } from 'node:tls';
import { describeError, formatSocketAddress, socketAddress } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import { handshakeDefect, peerCertificates, refusalOf, verifyX509Svid } from '../spiffe/index.js';
import type { PeerAuthorizer, SpiffeId, TrustBundle } from '../spiffe/index.js';
import { TunnelError } from './errors.js';

/** Who is at the other end of a session: only what its verified certificate and its socket say. */
export interface TunnelPeer {
  readonly spiffeId: SpiffeId;
  /** RFC 7638 SHA-256 thumbprint of its key, base64url: what a workload token is bound to. */
  readonly keyThumbprint: string;
  /** End of its certificate. No new stream is taken after it; open ones are for the caller to judge. */
  readonly notAfter: Date;
  /** Hexadecimal. */
  readonly serialNumber: string;
  readonly remoteAddress: SocketAddress;
}

export interface VerifiedPeer {
  readonly peer: TunnelPeer;
  /** Its chain as sent, DER, leaf first; kept to verify again when the bundle changes. */
  readonly certificates: readonly Uint8Array[];
}

/**
 * Verifies the other end of a finished handshake: full handshake, ALPN, chain, validity, SPIFFE ID, authorizer.
 *
 * Node's own chain check is off on both sides: this is the only one, so there is no second opinion to accept what it
 * refuses. TLS itself has proven that the peer holds the key of the leaf. Throws `TunnelError`.
 */
export function verifyPeer(
  socket: TLSSocket,
  check: { readonly bundle: TrustBundle; readonly now: number; readonly authorize: PeerAuthorizer },
): VerifiedPeer {
  const defect = handshakeDefect(socket, ['h2']);
  if (defect !== undefined) {
    throw new TunnelError(defect.kind === 'alpn' ? 'TUNNEL_ALPN_MISMATCH' : 'TUNNEL_SESSION_RESUMED', defect.message);
  }
  const certificates = peerCertificates(socket);
  if (certificates.length === 0) {
    throw new TunnelError(
      'TUNNEL_PEER_CERTIFICATE_MISSING',
      'expected an X.509-SVID from the peer, got no certificate',
    );
  }
  const verified = verifyChain(certificates, check.bundle, check.now);
  const peer: TunnelPeer = Object.freeze({
    spiffeId: verified.spiffeId,
    keyThumbprint: verified.keyThumbprint,
    notAfter: verified.notAfter,
    serialNumber: verified.serialNumber,
    remoteAddress: addressOf(socket),
  });
  authorizePeer(peer.spiffeId, check.authorize);
  return { peer, certificates };
}

function addressOf(socket: TLSSocket): SocketAddress {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) {
    throw new TunnelError('TUNNEL_SESSION_FAILED', 'the peer closed the connection during the handshake');
  }
  // A link-local address comes with its zone, which means nothing to anyone else.
  return socketAddress(remoteAddress.replace(/%.*$/, ''), remotePort);
}

/** `verifyX509Svid`, its error wrapped as `TUNNEL_PEER_UNTRUSTED`. */
export function verifyChain(
  certificates: readonly Uint8Array[],
  bundle: TrustBundle,
  now: number,
): ReturnType<typeof verifyX509Svid> {
  try {
    return verifyX509Svid({ certificates, bundle, now });
  } catch (error) {
    throw new TunnelError('TUNNEL_PEER_UNTRUSTED', `the peer's certificate does not verify: ${describeError(error)}`, {
      cause: error,
    });
  }
}

/** Only exactly `true` accepts; a throw refuses. Throws `TUNNEL_PEER_NOT_AUTHORIZED`. */
export function authorizePeer(id: SpiffeId, authorize: PeerAuthorizer): void {
  const reason = refusalOf(authorize, id);
  if (reason === undefined) return;
  throw new TunnelError('TUNNEL_PEER_NOT_AUTHORIZED', `the peer is ${id.toString()}: ${reason}`, {
    fields: { peer: id.toString() },
  });
}

/** `ip:port` of the other end of a socket for logs, or `unknown`. */
export function remoteOf(socket: {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return 'unknown';
  try {
    return formatSocketAddress(socketAddress(remoteAddress, remotePort));
  } catch {
    return 'unknown';
  }
}
