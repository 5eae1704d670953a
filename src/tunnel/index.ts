export { Http2MtlsTunnel } from './http2-mtls-tunnel.js';
export type { TunnelListenOptions, TunnelServer } from './server.js';
export type { TunnelRequest } from './server-request.js';
export type { TunnelAnnouncement } from './server-announce.js';
export type {
  TunnelAnnounceOptions,
  TunnelAnnounceResult,
  TunnelClient,
  TunnelClientOptions,
  TunnelConnectOptions,
  TunnelConnection,
  TunnelHeadersInput,
} from './client-options.js';
export type { TunnelDialer } from './client-session.js';
export type { TunnelSession, TunnelSessionInfo } from './session-info.js';
export type { TunnelPeer } from './peer.js';
export type { TunnelHeaders } from './headers.js';
export { parseAuthority } from './authority.js';
export type { TunnelTarget } from './authority.js';
export type { TunnelLimits } from './limits.js';
export type { TunnelEvent, TunnelSide } from './events.js';
export { TunnelError, TunnelRefused, tunnelErrorCodes } from './errors.js';
export type { TunnelErrorCode } from './errors.js';
