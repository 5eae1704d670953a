import { createContextKey } from '@connectrpc/connect';
import type { HandlerContext } from '@connectrpc/connect';
import type { SpiffeId } from '../../spiffe/index.js';

/** The verified client of a control-plane connection. */
export interface ControlPlanePeer {
  readonly spiffeId: SpiffeId;
  /** RFC 7638 thumbprint of the key its certificate has, which the TLS handshake proved it holds. */
  readonly keyThumbprint: string;
  readonly serialNumber: string;
  /** The connection does not outlive this. */
  readonly notAfter: Date;
  /** `ip:port`, for the log only. */
  readonly remote: string;
}

/** Set by the server for each request. */
export const peerKey = createContextKey<ControlPlanePeer | undefined>(undefined, {
  description: 'verified control-plane peer',
});

/** The verified client of the call, `undefined` on a connection without a client certificate. */
export function peerOf(context: HandlerContext): ControlPlanePeer | undefined {
  return context.values.get(peerKey);
}

/** As `peerOf`, the identity alone. */
export function peerIdOf(context: HandlerContext): SpiffeId | undefined {
  return peerOf(context)?.spiffeId;
}
