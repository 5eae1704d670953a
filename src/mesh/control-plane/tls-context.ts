import { X509Certificate, constants } from 'node:crypto';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { TrustBundle, X509Svid } from '../../spiffe/index.js';
import { ControlPlaneError } from './errors.js';

/** TLS 1.3 only, without tickets: a resumed session would skip the check of the certificate. Both ends alike. */
export const tlsBase = Object.freeze({
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const satisfies SecureContextOptions);

export const alpnProtocols: readonly string[] = ['h2'];

/** What the server presents: its chain and the root it leads to, so that a joining node can check the root against its pin. */
export function serverContext(svid: X509Svid, bundle: TrustBundle): SecureContextOptions {
  const root = rootOf(svid, bundle);
  return {
    ...tlsBase,
    cert: root === undefined ? svid.chainPem : `${svid.chainPem.trimEnd()}\n${root.toString()}`,
    key: svid.privateKeyPem,
    // Not what decides who is trusted (`verifyX509Svid` does); it names the authorities to clients that choose by them.
    ca: [...bundle.x509AuthoritiesPem],
  };
}

export function clientContext(svid: X509Svid): SecureContextOptions {
  return { ...tlsBase, cert: svid.chainPem, key: svid.privateKeyPem };
}

/** Throws `MESH_CONTROL_PLANE_PROTOCOL` unless `socket` is a fresh TLS session for HTTP/2. */
export function requireFreshHttp2(socket: TLSSocket): void {
  if (socket.isSessionReused()) {
    throw new ControlPlaneError('MESH_CONTROL_PLANE_PROTOCOL', 'expected a full TLS handshake, got a resumed session');
  }
  if (socket.alpnProtocol !== 'h2') {
    const got = typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : 'none';
    throw new ControlPlaneError('MESH_CONTROL_PLANE_PROTOCOL', `expected the ALPN protocol h2, got ${got}`);
  }
}

function rootOf(svid: X509Svid, bundle: TrustBundle): X509Certificate | undefined {
  const last = svid.certificates.at(-1);
  if (last === undefined) return undefined;
  const certificate = new X509Certificate(last);
  return bundle.x509Authorities.find((root) => certificate.checkIssued(root) && certificate.verify(root.publicKey));
}
