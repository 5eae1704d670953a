/** Virtual IPs: one address, one owner (layer 2), or many owners behind a router (BGP with BFD). */
export { VipManager } from './vip-manager.js';
export type { VipL2Options, VipManagerOptions } from './options.js';
export type { VipBgpOptions, VipBgpPeer, VipPeerBfd } from './bgp-announcer.js';
export type { VipHealth } from './health-gate.js';
export type { VipQuiesce } from './quiescence.js';
export { leaseTtlBounds, validateVipAssignment, validateVipAssignments } from './vip-assignment.js';
export type { BgpVipAssignment, L2VipAssignment, VipAssignment } from './vip-assignment.js';
export { L2Link, arpSettingFindings } from './l2/index.js';
export type {
  AnnounceOptions,
  AnnounceReason,
  AnnounceTimings,
  ArpSettingFinding,
  L2Announcement,
  L2Event,
  L2LinkOptions,
  L2LinkState,
  ProbeOptions,
  ProbeResult,
  ProbeTimings,
  ProbeTimingsChoice,
} from './l2/index.js';
export { BgpSpeaker } from './bgp/index.js';
export type {
  BgpEvent,
  BgpFamily,
  BgpGracefulRestartOptions,
  BgpPeerOptions,
  BgpPeerState,
  BgpRoute,
  BgpRouteAttributes,
  BgpSpeakerOptions,
} from './bgp/index.js';
export { BfdService } from './bfd/index.js';
export type {
  BfdAddOptions,
  BfdDiagnostic,
  BfdEvent,
  BfdMode,
  BfdRefusal,
  BfdRefusals,
  BfdServiceOptions,
  BfdSession,
  BfdSessionOptions,
  BfdState,
  BfdStatus,
  BfdTimerOptions,
  BfdTransport,
} from './bfd/index.js';
export type { VipEvent, VipManagerEvent } from './events.js';
export { VipListener } from './vip-listener.js';
export type { VipConnection, VipListenerOptions } from './vip-listener.js';
export type { VipState, VipStatus } from './vip-status.js';
export { VipError, vipErrorCodes } from './errors.js';
export type { VipErrorCode } from './errors.js';
