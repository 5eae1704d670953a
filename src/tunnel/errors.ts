import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown, logged and observed by `tunnel`. Those marked as a reason are how a refusal is named. */
export const tunnelErrorCodes = defineErrorCodes({
  TUNNEL_OPTION_INVALID: {
    when: 'An option or an argument of the tunnel is missing, of the wrong type or out of its bounds.',
    fix: 'Correct the named option; its docstring gives the type, the default and the bounds.',
  },
  TUNNEL_CLOSED: {
    when: 'The tunnel server, client or session had been closed or destroyed.',
    fix: 'Make a new one; a closed tunnel stays closed.',
  },
  TUNNEL_LISTEN_FAILED: {
    when: 'The tunnel port could not be bound.',
    fix: 'Free the address and port named in the message, or choose another.',
  },
  TUNNEL_SVID_EXPIRED: {
    when: 'Our own SVID has expired, so no tunnel can be opened or taken.',
    fix: 'See why renewal failed; a node whose SVID has expired must attest again.',
  },
  TUNNEL_SVID_DENIED: {
    when: 'The deny list names our own SVID, our SPIFFE ID or our node, so no tunnel is opened, taken or kept.',
    fix: 'Find out why it was denied; a node whose certificate alone is denied attests again, otherwise `meshwright ca allow`.',
  },
  TUNNEL_DIAL_FAILED: {
    when: 'The TCP connection to the tunnel port of the peer failed.',
    fix: 'Check that the peer runs and that the network lets the tunnel port through.',
  },
  TUNNEL_CONNECT_TIMEOUT: {
    when: 'Connecting, the TLS handshake and the first HTTP/2 SETTINGS together took too long.',
    fix: 'Check the network to the peer (a silent firewall?) and its load; `connectTimeoutMs` is the bound.',
  },
  TUNNEL_TLS_FAILED: {
    when: 'The TLS handshake failed: not TLS, another version or suite, or the other side broke it off.',
    fix: 'The tunnel speaks TLS 1.3 with AES-GCM and ALPN h2 only; look in the log of the other side for its reason.',
  },
  TUNNEL_HANDSHAKE_TIMEOUT: {
    when: 'A client did not finish the TLS handshake, or the HTTP/2 preface after it, in time.',
    fix: 'Usually a port scanner or a health check that speaks plain TCP; `handshakeTimeoutMs` is the bound.',
  },
  TUNNEL_ALPN_MISMATCH: {
    when: 'The peer did not negotiate ALPN `h2`.',
    fix: 'Speak HTTP/2 to the tunnel port and offer exactly `h2`.',
  },
  TUNNEL_SESSION_RESUMED: {
    when: 'The TLS session was resumed, which would skip the check of the certificate.',
    fix: 'Turn session resumption off on the other side; every tunnel is a full handshake.',
  },
  TUNNEL_PEER_CERTIFICATE_MISSING: {
    when: 'The peer sent no certificate.',
    fix: 'Give the peer an X.509-SVID of this mesh; both sides of a tunnel must have one.',
  },
  TUNNEL_PEER_UNTRUSTED: {
    when: "The peer's certificate does not verify against the trust bundle; the cause says which check failed.",
    fix: 'Check the trust domain, the chain, the validity and the clocks; the cause names the defect.',
  },
  TUNNEL_PEER_NOT_AUTHORIZED: {
    when: 'The certificate verifies, but that SPIFFE ID is not one we expect or accept.',
    fix: 'If it should be accepted, widen the authorizer; if not, something else answers at that address.',
  },
  TUNNEL_PEER_EXPIRED: {
    when: "The peer's certificate passed its end during the session, so no new stream is taken on it.",
    fix: 'Nothing if it happens once at a renewal: a new session follows. Otherwise see why the peer does not renew.',
  },
  TUNNEL_SESSION_FAILED: {
    when: 'The session ended before it was usable or while a request on it waited for its answer.',
    fix: 'Look in the log of the other side: under TLS 1.3 a refused client certificate shows up here.',
  },
  TUNNEL_KEEPALIVE_TIMEOUT: {
    when: 'The peer did not answer a PING in time.',
    fix: 'The peer or the network to it is gone, or it stalls; sessions are opened again when needed.',
  },
  TUNNEL_IDLE: {
    when: 'A session without streams was released (a reason, not a failure).',
    fix: 'Nothing; the next stream opens a new session.',
  },
  TUNNEL_ROTATED: {
    when: 'A session was drained because our own SVID was renewed (a reason, not a failure).',
    fix: 'Nothing; new streams use a session with the new SVID.',
  },
  TUNNEL_LIMIT: {
    when: 'A limit on connections, handshakes, sessions or streams was reached.',
    fix: 'Find out who opens so many; raise the limit named in the message if the load is legitimate.',
  },
  TUNNEL_ABUSE: {
    when: 'A peer opened and reset streams faster than allowed, or broke HTTP/2, and its session was ended.',
    fix: 'Find out what runs on that peer; `resetBurst` and `resetsPerSecond` are the bounds.',
  },
  TUNNEL_REFUSED: {
    when: 'The other end answered the CONNECT or the evidence with a status other than 200.',
    fix: 'The status says the kind, the log of the other end the reason.',
  },
  TUNNEL_RESPONSE_TIMEOUT: {
    when: 'The other end did not answer a request in time.',
    fix: 'Check its load and whether it can reach the destination; `responseTimeoutMs` is the bound.',
  },
  TUNNEL_STREAM_RESET: {
    when: 'A stream ended without its end having been sent: what was read may be cut short.',
    fix: 'Treat what was received as incomplete; retry if the operation allows it.',
  },
  TUNNEL_AUTHORITY_MALFORMED: {
    when: 'A CONNECT authority is not `IPv4:port`, `[IPv6]:port` or `name:port`.',
    fix: 'Write the port, put IPv6 in brackets, use no user part and no numeric-looking names.',
  },
  TUNNEL_METHOD_NOT_ALLOWED: {
    when: 'A request was neither a CONNECT nor the evidence request.',
    fix: 'The tunnel port serves no ordinary HTTP; see docs/tunnel-protocol.md.',
  },
  TUNNEL_ANSWER_INVALID: {
    when: 'A handler answered a CONNECT twice, after its peer had gone, or with an impossible status or header.',
    fix: 'Answer once with `accept()` or `refuse(status)`, status 400 to 599, and watch `signal`.',
  },
  TUNNEL_HANDLER_FAILED: {
    when: 'A handler threw, rejected, or did not answer in time, so the request was refused.',
    fix: 'The cause is the error of the handler; `answerTimeoutMs` is the bound.',
  },
});

export type TunnelErrorCode = keyof typeof tunnelErrorCodes;

export class TunnelError extends MeshwrightError<TunnelErrorCode> {}

/** The other end answered with a status other than 200. It gives no reason; its own log has it. */
export class TunnelRefused extends TunnelError {
  /** The HTTP status, 300 to 599. */
  readonly status: number;

  constructor(status: number, what: string) {
    super(
      'TUNNEL_REFUSED',
      `${what} was refused with status ${String(status)}; the log of the other end has the reason`,
      {
        fields: { status },
      },
    );
    this.status = status;
  }
}
