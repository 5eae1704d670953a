import type { SpiffeId } from '../spiffe-id.js';

/** The verified other end of a connection. */
export interface MtlsPeer {
  readonly spiffeId: SpiffeId;
  /** RFC 7638 thumbprint of its key. */
  readonly keyThumbprint: string;
  /** Hexadecimal, lower case. */
  readonly serialNumber: string;
  /** The connection does not outlive this. */
  readonly notAfter: Date;
}

// A property and not a WeakMap: the sockets that HTTP/2 shows are proxies, which share properties but not identity.
const peerKey = Symbol('mtlsPeer');

/**
 * Who is at the other end of a connection that one of the mTLS helpers made: `mtlsPeer(request.socket)`. Undefined for any
 * other socket, for one that was refused, and for none (Node takes the socket off a message that has ended).
 */
export function mtlsPeer(socket: object | null | undefined): MtlsPeer | undefined {
  return (socket as { readonly [peerKey]?: MtlsPeer } | null | undefined)?.[peerKey];
}

export function setMtlsPeer(socket: object, peer: MtlsPeer): void {
  Object.defineProperty(socket, peerKey, { value: Object.freeze(peer) });
}
