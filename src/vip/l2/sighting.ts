import { ipFamily } from '../../core/index.js';
import type { ArpRefusal } from './arp.js';
import { decodeArp, encodeArp } from './arp.js';
import type { Decoded } from './decoded.js';
import { broadcastMac, ipv6MulticastMac, macText, zeroMac } from './mac.js';
import { decodeNeighborMessage, encodeNeighborMessage, solicitedNodeAddress } from './neighbor-discovery.js';
import type { NeighborRefusal } from './neighbor-discovery.js';
import { ipBytes } from '../../core/index.js';

/** What the two protocols say about who has an address: the same few statements in different packets. */

/** ARP or IPv6 neighbour discovery. */
export type L2Protocol = 'arp' | 'nd';

/** A packet for a packet socket: the link-layer header is made of `destinationMac` and the interface's own address. */
export interface OutgoingPacket {
  readonly protocol: L2Protocol;
  readonly destinationMac: string;
  readonly bytes: Uint8Array;
}

/** Another station spoke of an address. */
export interface Sighting {
  readonly ip: string;
  readonly mac: string;
  /** `use`: it holds the address. `probe`: it asks whether it may claim it. */
  readonly kind: 'use' | 'probe';
}

const allNodes = 'ff02::1';

/** The question whether anybody has `ip`: an ARP probe (RFC 5227 section 2.1.1), or a solicitation from `::` (RFC 4862 section 5.4.2). */
export function probePacket(ip: string, ownMac: string): OutgoingPacket {
  if (ipFamily(ip) === 4) {
    const question = { operation: 'request', senderMac: ownMac, senderIp: '0.0.0.0', targetMac: zeroMac } as const;
    return { protocol: 'arp', destinationMac: broadcastMac, bytes: encodeArp({ ...question, targetIp: ip }) };
  }
  const destination = solicitedNodeAddress(ip);
  return {
    protocol: 'nd',
    destinationMac: ipv6MulticastMac(ipBytes(destination)),
    bytes: encodeNeighborMessage({ type: 'solicitation', source: '::', destination, target: ip }),
  };
}

/**
 * The statement that `ip` is at `ownMac`: gratuitous ARP as request and as reply, since some stations heed only one; or an
 * unsolicited advertisement with Override and the link-layer address (RFC 4861 section 7.2.6). `isRouter` must be true
 * where this machine forwards IPv6: false tells a client to forget it as a router.
 */
export function announcementPackets(ip: string, ownMac: string, isRouter: boolean): readonly OutgoingPacket[] {
  if (ipFamily(ip) === 4) {
    const own = { senderMac: ownMac, senderIp: ip, targetIp: ip };
    const request = encodeArp({ operation: 'request', ...own, targetMac: zeroMac });
    // Linux takes a reply as gratuitous only when both hardware addresses are the same.
    const reply = encodeArp({ operation: 'reply', ...own, targetMac: ownMac });
    return [request, reply].map((bytes) => ({ protocol: 'arp', destinationMac: broadcastMac, bytes }));
  }
  const bytes = encodeNeighborMessage({
    type: 'advertisement',
    source: ip,
    destination: allNodes,
    target: ip,
    isRouter,
    isSolicited: false,
    isOverride: true,
    linkAddress: ownMac,
  });
  return [{ protocol: 'nd', destinationMac: ipv6MulticastMac(ipBytes(allNodes)), bytes }];
}

/** What a received packet says. `undefined`: it is well formed, and says nothing of who has an address. */
export function readSighting(
  protocol: L2Protocol,
  bytes: Uint8Array,
  frameSource: Uint8Array,
): Decoded<Sighting | undefined, ArpRefusal | NeighborRefusal> {
  if (protocol === 'arp') {
    const arp = decodeArp(bytes);
    if (!arp.ok) return arp;
    const { senderIp: ip, senderMac: mac, targetIp, operation } = arp.value;
    if (ip !== '0.0.0.0') return { ok: true, value: { ip, mac, kind: 'use' } };
    return { ok: true, value: operation === 'request' ? { ip: targetIp, mac, kind: 'probe' } : undefined };
  }
  const nd = decodeNeighborMessage(bytes);
  if (!nd.ok) return nd;
  const { type, source, target, linkAddress } = nd.value;
  const mac = linkAddress ?? macText(frameSource);
  if (type === 'advertisement') return { ok: true, value: { ip: target, mac, kind: 'use' } };
  if (source === '::') return { ok: true, value: { ip: target, mac, kind: 'probe' } };
  return { ok: true, value: { ip: source, mac, kind: 'use' } };
}
