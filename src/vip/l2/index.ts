export { L2Link } from './l2-link.js';
export type { AnnounceOptions, L2Announcement, L2LinkState, ProbeOptions } from './link-types.js';
export type { L2LinkOptions } from './options.js';
export type { ProbeResult } from './probe.js';
export type { AnnounceTimings, ProbeTimings, ProbeTimingsChoice } from './timings.js';
export type { AnnounceReason, L2Event } from './events.js';
export { arpSettingFindings } from './host-settings.js';
export type { ArpSettingFinding } from './host-settings.js';
export { decodeArp, encodeArp } from './arp.js';
export type { ArpPacket, ArpRefusal } from './arp.js';
export { decodeNeighborMessage, encodeNeighborMessage } from './neighbor-discovery.js';
export type {
  NeighborAdvertisement,
  NeighborMessage,
  NeighborRefusal,
  NeighborSolicitation,
} from './neighbor-discovery.js';
