import type { Http2Session, Settings } from 'node:http2';
import type { TunnelLimits } from './limits.js';

/** What we announce to the other end. */
export function http2Settings(limits: TunnelLimits): Settings {
  return {
    initialWindowSize: limits.streamWindowBytes,
    maxFrameSize: limits.maxFrameBytes,
    maxConcurrentStreams: limits.maxStreamsPerSession,
    maxHeaderListSize: limits.maxHeaderListBytes,
    headerTableSize: limits.headerTableBytes,
    enablePush: false,
  };
}

/** Options of either end's session: the settings, our own encoder's table, and bounds on what a peer can make us hold. */
export function http2SessionOptions(limits: TunnelLimits): {
  readonly settings: Settings;
  readonly maxDeflateDynamicTableSize: number;
  readonly maxSessionMemory: number;
  readonly maxHeaderListPairs: number;
  readonly maxSessionInvalidFrames: number;
  readonly maxSessionRejectedStreams: number;
  readonly peerMaxConcurrentStreams: number;
} {
  return {
    settings: http2Settings(limits),
    // Without this the table of the *encoder* stays at 4 KiB whatever the other end allows.
    maxDeflateDynamicTableSize: limits.headerTableBytes,
    maxSessionMemory: limits.maxSessionMemoryMiB,
    maxHeaderListPairs: 128,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    peerMaxConcurrentStreams: 100,
  };
}

/** The connection window has no setting; it stays 65,535 bytes unless it is raised on the live session. */
export function raiseConnectionWindow(session: Http2Session, limits: TunnelLimits): void {
  session.setLocalWindowSize(limits.connectionWindowBytes);
}
