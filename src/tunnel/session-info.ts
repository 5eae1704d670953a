import type { Clock, Logger, Observer } from '../core/index.js';
import type { TunnelEvent, TunnelSide } from './events.js';
import type { TunnelLimits } from './limits.js';
import type { TunnelPeer } from './peer.js';

/** One TLS session with one peer, as handlers see it: the same object for as long as the session lives. */
export interface TunnelSession {
  /** Unique among the sessions of this process. */
  readonly id: string;
  readonly peer: TunnelPeer;
  /** Aborts when the session has ended; the reason is the `TunnelError` that says why. */
  readonly closed: AbortSignal;
  /** Ends the session and resets its streams now. */
  destroy(reason?: Error): void;
}

/** One row of a table of sessions: plain data, a copy. */
export interface TunnelSessionInfo {
  readonly id: string;
  readonly side: TunnelSide;
  /** SPIFFE ID. */
  readonly peer: string;
  readonly remoteAddress: TunnelPeer['remoteAddress'];
  /** `draining` takes no new streams. */
  readonly state: 'open' | 'draining';
  readonly openedAt: Date;
  readonly ageMs: number;
  /** Open now, and since the beginning. */
  readonly streams: number;
  readonly streamsTotal: number;
  /** Payload bytes of all its streams. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** End of the peer's certificate. */
  readonly peerNotAfter: Date;
}

/** What every session of one server or client shares. */
export interface SessionContext {
  readonly side: TunnelSide;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: Observer<TunnelEvent>;
  readonly limits: TunnelLimits;
}
