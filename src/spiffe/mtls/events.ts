import type { SpiffeErrorCode } from '../errors.js';

/** What the mTLS helpers report to an `Observer<MtlsEvent>`. */
export type MtlsEvent =
  | {
      /** A peer was verified and is welcome; its connection is handed on. */
      readonly type: 'mtls-peer-accepted';
      readonly side: 'client' | 'server';
      readonly peer: string;
    }
  | {
      /** A handshake led to nobody who is welcome; the connection was ended before any application byte. */
      readonly type: 'mtls-peer-refused';
      readonly side: 'client' | 'server';
      readonly code: SpiffeErrorCode;
      readonly reason: string;
    }
  | {
      /** An open connection was ended: its peer's certificate ended, or does not verify against the new bundle. */
      readonly type: 'mtls-connection-ended';
      readonly side: 'client' | 'server';
      readonly peer: string;
      readonly code: SpiffeErrorCode;
      readonly reason: string;
    };
