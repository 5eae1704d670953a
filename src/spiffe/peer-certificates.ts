import type { TLSSocket } from 'node:tls';

/** More than `verifyX509Svid` takes, so that a longer chain is refused there and not cut short here. */
const maxChain = 16;

/**
 * The certificates of a TLS peer as DER, leaf first, then its issuers as far as Node found them among what the peer sent
 * (and, for the last, among the socket's own `ca`). Empty when the peer sent none, or before the handshake is done.
 *
 * Not verified: give the result to `verifyX509Svid`.
 *
 * Not guaranteed: on Node 24 a server is shown the client's leaf only, so clients whose chain has intermediates are
 * refused there unless the bundle holds them (`x509Intermediates`), as the bundle of a `SpiffeCA` does.
 */
export function peerCertificates(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  // Not getPeerX509Certificate: on a client it takes the leaf out of the session's own chain, so a second call differs.
  let certificate: { readonly raw?: Buffer; readonly issuerCertificate?: unknown } | undefined =
    socket.getPeerCertificate(true);
  const seen = new Set<unknown>();
  while (certificate?.raw !== undefined && !seen.has(certificate) && chain.length < maxChain) {
    seen.add(certificate);
    chain.push(new Uint8Array(certificate.raw));
    certificate = certificate.issuerCertificate as typeof certificate;
  }
  return chain;
}
