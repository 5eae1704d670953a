import type { Duplex } from 'node:stream';
import type { Clock, Closable, Logger, Observer, SocketAddress } from '../core/index.js';
import type { BundleSource, PeerAuthorizer, SpiffeId, SvidSource, TrustBundle, X509Svid } from '../spiffe/index.js';
import type { TunnelDialer } from './client-session.js';
import type { TunnelError } from './errors.js';
import type { TunnelEvent } from './events.js';
import type { TunnelHeaders } from './headers.js';
import type { TunnelLimits } from './limits.js';
import type { TunnelPeer } from './peer.js';
import type { TunnelSessionInfo } from './session-info.js';

export interface TunnelClientOptions {
  readonly svid: X509Svid | SvidSource;
  readonly bundle: TrustBundle | BundleSource;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<TunnelEvent> | undefined;
  readonly limits?: Partial<TunnelLimits> | undefined;
  /** How TCP connections are made, e.g. with a socket mark. Default `net.connect`. */
  readonly dial?: TunnelDialer | undefined;
}

/** Headers to send, or how to make them for the session that carries them: a token is bound to that session's key. */
export type TunnelHeadersInput =
  | Readonly<Record<string, string>>
  | ((session: {
      readonly keyThumbprint: string;
    }) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>);

export interface TunnelConnectOptions {
  /** Where the peer listens: `10.0.0.1:15002`, `[fd00::1]:15002`. */
  readonly address: SocketAddress | string;
  /** Where the peer is asked to connect: `IP:port` or `name:port`. */
  readonly authority: string;
  /** Who must answer: exactly this SPIFFE ID, or whoever the authorizer accepts. Pass the same function to share sessions. */
  readonly peer: SpiffeId | string | PeerAuthorizer;
  readonly headers?: TunnelHeadersInput | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TunnelConnection {
  /** Handle its `error`: a cut-off stream is destroyed with `TUNNEL_STREAM_RESET`. */
  readonly stream: Duplex;
  readonly peer: TunnelPeer;
  /** Of the answer. */
  readonly headers: TunnelHeaders;
}

export interface TunnelAnnounceOptions {
  /** SPIFFE ID of the peer. */
  readonly peer: SpiffeId | string;
  readonly headers: TunnelHeadersInput;
  readonly signal?: AbortSignal | undefined;
}

/** How one session answered fresh evidence: its status (2xx is success), or why there was none. */
export interface TunnelAnnounceResult {
  /** Id of the session; none when a new one could not be opened. */
  readonly session?: string | undefined;
  readonly remoteAddress: SocketAddress;
  readonly status?: number | undefined;
  readonly error?: TunnelError | undefined;
}

/** The dialling end: a pool of sessions. `close()` lets open streams finish for `drainTimeoutMs`, then resets them. */
export interface TunnelClient extends Closable {
  readonly sessions: readonly TunnelSessionInfo[];
  /**
   * Asks the peer at `address` for a stream to `authority`. Throws `TunnelRefused` for a status other than 200, else
   * `TunnelError`, or the reason of `signal`.
   */
  connect(options: TunnelConnectOptions): Promise<TunnelConnection>;
  /**
   * Sends fresh evidence on every session with `peer` that takes new streams. Where open streams are left only on sessions
   * that do not (one end renewed its SVID), a new session is opened for it: evidence of a peer counts for all its
   * sessions. Never rejects for what a peer does; see the results.
   */
  announce(options: TunnelAnnounceOptions): Promise<readonly TunnelAnnounceResult[]>;
}
