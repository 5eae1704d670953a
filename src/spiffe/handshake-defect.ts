import type { TLSSocket } from 'node:tls';

export interface HandshakeDefect {
  readonly kind: 'resumed' | 'alpn';
  /** What was expected and what arrived. */
  readonly message: string;
}

/**
 * What is wrong with a finished TLS handshake before anybody looks at certificates: it resumed an older session, which
 * shows no certificate, or it chose none of `alpnProtocols` where some were offered. `undefined` when nothing is.
 */
export function handshakeDefect(socket: TLSSocket, alpnProtocols: readonly string[] = []): HandshakeDefect | undefined {
  if (socket.isSessionReused()) {
    return { kind: 'resumed', message: 'expected a full TLS handshake, got a resumed session' };
  }
  const chosen = typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : 'none';
  if (alpnProtocols.length === 0 || alpnProtocols.includes(chosen)) return undefined;
  return { kind: 'alpn', message: `expected the ALPN protocol ${alpnProtocols.join(' or ')}, got ${chosen}` };
}
