/**
 * Why a connection or request was refused: one closed list for logs, metrics and tests. The peer is only ever told the
 * HTTP status; the reason stays in the log of the side that refused.
 */

export interface RefusalInfo {
  /** Status of the CONNECT answer (or of the HTTP answer to the application). */
  readonly status: number;
  /** One sentence for operators. */
  readonly meaning: string;
}

const defineReasons = <const T extends Record<string, RefusalInfo>>(table: T): Readonly<T> => Object.freeze(table);

export const refusalReasons = defineReasons({
  // At the source.
  'source-unknown': { status: 403, meaning: 'the source address belongs to no workload of this node' },
  'source-unpinned': {
    status: 403,
    meaning:
      "the source's interface is not pinned to its address (it changed since the last snapshot, or was not found)",
  },
  'source-unauthenticated': { status: 503, meaning: 'no valid workload token or SVID was at hand for the source' },
  'destination-unknown': { status: 404, meaning: 'the destination is no enrolled service or workload of the snapshot' },
  'no-ready-endpoint': { status: 503, meaning: 'the service has no ready endpoint' },
  'endpoint-unreachable': { status: 503, meaning: 'no endpoint could be reached' },
  'refused-by-destination': { status: 403, meaning: "the destination's agent refused; its log has the reason" },
  'no-snapshot': { status: 503, meaning: 'no snapshot has been applied yet' },
  'shutting-down': { status: 503, meaning: 'the agent is shutting down' },
  'too-many-connections': {
    status: 503,
    meaning: 'the agent, or this source, has as many connections open as it may have',
  },
  'source-gone': { status: 503, meaning: 'the asking side went away before it was answered' },
  'internal-error': { status: 503, meaning: 'serving the connection failed unexpectedly; the log has the error' },
  // At the destination: who is asking.
  'peer-not-an-agent': { status: 403, meaning: "the peer's certificate is not that of an agent" },
  'peer-node-unknown': { status: 403, meaning: "the peer's node is not in the snapshot" },
  'token-missing': { status: 403, meaning: 'no workload token came with the request' },
  'token-repeated': { status: 400, meaning: 'more than one workload token came with the request' },
  'token-malformed': { status: 403, meaning: 'the workload token does not parse' },
  'token-type': { status: 403, meaning: 'the token is of another kind' },
  'token-signature': { status: 403, meaning: 'the workload token was not signed by this mesh' },
  'token-expired': { status: 403, meaning: 'the workload token has expired' },
  'token-not-yet-valid': { status: 403, meaning: 'the workload token is not valid yet' },
  'token-lifetime': { status: 403, meaning: 'the workload token claims to be valid for longer than any may be' },
  'token-audience': { status: 403, meaning: 'the workload token is for another audience' },
  'token-issuer': { status: 403, meaning: 'the workload token is of another trust domain' },
  'token-subject': { status: 403, meaning: "the workload token's subject is not a workload of this trust domain" },
  'token-node-mismatch': { status: 403, meaning: 'the workload token was issued to another node than the peer' },
  'token-key-mismatch': { status: 403, meaning: "the workload token is bound to another key than the peer's" },
  // At the destination: what is asked.
  'authority-malformed': { status: 400, meaning: 'the authority is not IP:port' },
  'authority-not-local': { status: 404, meaning: 'the authority is not a workload of this node' },
  'authority-not-enrolled': { status: 404, meaning: 'the workload is not enrolled in the mesh' },
  'authority-not-ready': { status: 503, meaning: 'the workload is not ready' },
  'illegal-port': { status: 403, meaning: "the port is one of the agent's own" },
  // At the destination: may they.
  'denied-by-policy': { status: 403, meaning: 'the authorization engine said no' },
  'policy-unreadable': {
    status: 403,
    meaning: 'a policy of the destination could not be read and has no last good form, so everything to it is denied',
  },
  'http-required': {
    status: 403,
    meaning: 'a rule needs HTTP, and the connection does not speak HTTP/1 in the clear',
  },
  'plaintext-strict': { status: 403, meaning: 'plaintext to a workload in STRICT mode' },
  'deliver-failed': { status: 503, meaning: 'the workload did not accept the connection' },
  // On live connections.
  'policy-changed': { status: 403, meaning: 'a newer snapshot no longer allows the connection' },
  'destination-gone': { status: 404, meaning: 'a newer snapshot no longer has the destination' },
  'identity-denied': { status: 403, meaning: 'the source or its node is on the deny list of the trust bundle' },
  'evidence-withdrawn': {
    status: 403,
    meaning: 'the key that signed the workload token was withdrawn, and no token of another key came before',
  },
  'evidence-expired': { status: 403, meaning: 'no fresh token or certificate came before the old one expired' },
});

export type RefusalReason = keyof typeof refusalReasons;
