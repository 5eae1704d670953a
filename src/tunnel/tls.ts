import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { tlsIdentityOptions } from '../spiffe/index.js';
import type { TrustBundle, X509Svid } from '../spiffe/index.js';
import { TunnelError } from './errors.js';

/** Exactly this, at both ends. */
export const alpnProtocols: string[] = ['h2'];

/**
 * TLS 1.3 with AES-GCM and no tickets, for either end. A resumed session would skip the check of the certificate, so
 * sessions that are resumed all the same are destroyed as well (`verifyPeer`).
 */
export function secureContextOptions(svid: X509Svid, bundle: TrustBundle): SecureContextOptions {
  return {
    ...tlsIdentityOptions(svid, bundle),
    ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
  };
}

/** Throws `TUNNEL_SVID_DENIED` when the deny list names our own SVID: who is denied does not serve, and is not served. */
export function assertOwnSvidAllowed(svid: X509Svid, bundle: TrustBundle): void {
  const denied = bundle.denied.reasonFor(svid);
  if (denied === undefined) return;
  throw new TunnelError('TUNNEL_SVID_DENIED', `our own SVID cannot be used: ${denied}`);
}

/** Throws `TUNNEL_SVID_EXPIRED` when our own SVID is past its end, `TUNNEL_SVID_DENIED` when it is denied. */
export function assertOwnSvidValid(svid: X509Svid, bundle: TrustBundle, now: number): void {
  assertOwnSvidAllowed(svid, bundle);
  if (now < svid.notAfter.getTime()) return;
  throw new TunnelError(
    'TUNNEL_SVID_EXPIRED',
    `our own SVID ${svid.spiffeId.toString()} expired at ${svid.notAfter.toISOString()}; renew it or attest again`,
  );
}

/** Whether `socket` was secured with this SVID and not with the one before it. */
export function presents(socket: TLSSocket, svid: X509Svid): boolean {
  const own = socket.getX509Certificate()?.raw;
  const leaf = svid.certificates[0];
  return own !== undefined && leaf !== undefined && own.equals(leaf);
}
