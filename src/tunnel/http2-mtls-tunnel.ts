import { client } from './client.js';
import type { TunnelClient, TunnelClientOptions } from './client-options.js';
import { listen } from './server.js';
import type { TunnelListenOptions, TunnelServer } from './server.js';

/**
 * A tunnel between nodes: HTTP/2 CONNECT (RFC 9113 section 8.5) over TLS 1.3 with a SPIFFE identity at both ends.
 *
 * Both ends verify the other's X.509-SVID against the live trust bundle before a byte of HTTP/2 is taken or sent. What a
 * verified peer may reach is for `onConnect` to decide: nothing is connected until it calls `accept`. The wire is
 * described in docs/tunnel-protocol.md.
 *
 * Not guaranteed: that a stream ends when a certificate expires. No new stream is taken then; open ones are for the
 * caller to end (`session.peer.notAfter`, `session.destroy`).
 *
 * @example
 * ```ts
 * const server = await Http2MtlsTunnel.listen({
 *   port: 15002, svid, bundle, authorizePeer: authorizeAgent(),
 *   onConnect: (request) => {
 *     if (request.authority !== '10.0.0.7:8080') return request.refuse(403);
 *     splice(request.accept(), net.connect(8080, '10.0.0.7'));
 *   },
 * });
 * const client = Http2MtlsTunnel.client({ svid, bundle });
 * const { stream } = await client.connect({ address: '192.0.2.2:15002', authority: '10.0.0.7:8080', peer: 'spiffe://cluster.local/agent/b' });
 * ```
 */
export const Http2MtlsTunnel: {
  /**
   * Binds and serves. Throws `TUNNEL_LISTEN_FAILED`, `TUNNEL_OPTION_INVALID`; everything after that is a refusal with a
   * logged reason and an event, never a throw.
   */
  listen(options: TunnelListenOptions): Promise<TunnelServer>;
  /** A client; it connects on first use. Throws `TUNNEL_OPTION_INVALID`. */
  client(options: TunnelClientOptions): TunnelClient;
} = Object.freeze({ listen, client });
