import { X509Certificate } from 'node:crypto';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { handshakeDefect, tlsBaseOptions, tlsIdentityOptions } from '../../spiffe/index.js';
import type { TrustBundle, X509Svid } from '../../spiffe/index.js';
import { ControlPlaneError } from './errors.js';

export const alpnProtocols: readonly string[] = ['h2'];

/** What the server presents: its chain and the root it leads to, so that a joining node can check the root against its pin. */
export function serverContext(svid: X509Svid, bundle: TrustBundle): SecureContextOptions {
  const root = rootOf(svid, bundle);
  return {
    ...tlsIdentityOptions(svid, bundle),
    cert: root === undefined ? svid.chainPem : `${svid.chainPem.trimEnd()}\n${root.toString()}`,
  };
}

export function clientContext(svid: X509Svid): SecureContextOptions {
  return { ...tlsBaseOptions, cert: svid.chainPem, key: svid.privateKeyPem };
}

/** Throws `MESH_CONTROL_PLANE_PROTOCOL` unless `socket` is a fresh TLS session for HTTP/2. */
export function requireFreshHttp2(socket: TLSSocket): void {
  const defect = handshakeDefect(socket, alpnProtocols);
  if (defect !== undefined) throw new ControlPlaneError('MESH_CONTROL_PLANE_PROTOCOL', defect.message);
}

function rootOf(svid: X509Svid, bundle: TrustBundle): X509Certificate | undefined {
  const last = svid.certificates.at(-1);
  if (last === undefined) return undefined;
  const certificate = new X509Certificate(last);
  return bundle.x509Authorities.find((root) => certificate.checkIssued(root) && certificate.verify(root.publicKey));
}
