/** What a tunnel reports to an `Observer<TunnelEvent>`; `meshwright/telemetry` turns it into metrics. */
import type { TunnelErrorCode } from './errors.js';

/** Which end of the tunnel reports. */
export type TunnelSide = 'server' | 'client';

export type TunnelEvent =
  | {
      /** A handshake and the check of the peer ended well, or were refused for `reason`. */
      readonly type: 'handshake';
      readonly side: TunnelSide;
      readonly ok: boolean;
      readonly reason?: TunnelErrorCode | undefined;
      /** `ip:port`, as far as known. */
      readonly remoteAddress?: string | undefined;
      /** SPIFFE ID of the verified peer. */
      readonly peer?: string | undefined;
    }
  | { readonly type: 'session-opened'; readonly side: TunnelSide; readonly session: string; readonly peer: string }
  | {
      readonly type: 'session-closed';
      readonly side: TunnelSide;
      readonly session: string;
      readonly peer: string;
      readonly reason: TunnelErrorCode;
      readonly durationMs: number;
    }
  | {
      readonly type: 'stream-opened';
      readonly side: TunnelSide;
      readonly session: string;
      readonly peer: string;
      readonly authority: string;
    }
  | {
      readonly type: 'stream-closed';
      readonly side: TunnelSide;
      readonly session: string;
      readonly peer: string;
      readonly authority: string;
      readonly outcome: 'eof' | 'reset';
      /** Payload bytes read from, and written to, the tunnel. */
      readonly receivedBytes: number;
      readonly sentBytes: number;
      readonly durationMs: number;
    }
  | {
      /** A request was answered with `status`, or reset (`status` 0), instead of becoming a stream. */
      readonly type: 'stream-refused';
      readonly side: TunnelSide;
      readonly session: string;
      readonly peer: string;
      readonly authority?: string | undefined;
      readonly status: number;
      readonly reason: TunnelErrorCode;
    }
  | {
      readonly type: 'evidence';
      readonly side: TunnelSide;
      readonly session: string;
      readonly peer: string;
      readonly status: number;
    };
