import { ipBytes } from '../../core/index.js';
import { ipText } from '../../internal/native/sockaddr.js';
import type { Decoded } from './decoded.js';
import { isStationMac, macBytes, macText } from './mac.js';

/**
 * Neighbour solicitations and advertisements (RFC 4861 sections 4.3, 4.4) as whole IPv6 packets, as a packet socket
 * sends and receives them: the header, and ICMPv6 with its checksum.
 */
export type NeighborMessage = NeighborSolicitation | NeighborAdvertisement;

export interface NeighborSolicitation {
  readonly type: 'solicitation';
  /** `::` makes it a probe of duplicate detection (RFC 4862 section 5.4.2). */
  readonly source: string;
  readonly destination: string;
  readonly target: string;
  /** Source link-layer address option. */
  readonly linkAddress?: string | undefined;
}

export interface NeighborAdvertisement {
  readonly type: 'advertisement';
  readonly source: string;
  readonly destination: string;
  readonly target: string;
  readonly isRouter: boolean;
  readonly isSolicited: boolean;
  readonly isOverride: boolean;
  /** Target link-layer address option. */
  readonly linkAddress?: string | undefined;
}

/** Why bytes are not such a message; the checks are those of RFC 4861 sections 7.1.1 and 7.1.2. */
export type NeighborRefusal =
  | 'truncated'
  | 'version'
  | 'next-header'
  | 'hop-limit'
  | 'type'
  | 'code'
  | 'checksum'
  | 'address'
  | 'target'
  | 'flags'
  | 'option-length'
  | 'link-address';

export const solicitationType = 135;
export const advertisementType = 136;
const headerBytes = 40;
const fixedBytes = 24;
const icmpv6 = 58;
const sourceLinkOption = 1;
const targetLinkOption = 2;
const routerFlag = 0x80;
const solicitedFlag = 0x40;
const overrideFlag = 0x20;

/** The solicited-node multicast address of `ip` (RFC 4291 section 2.7.1). */
export function solicitedNodeAddress(ip: string): string {
  const low = ipBytes(ip).subarray(13, 16);
  return ipText(Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...low));
}

export function encodeNeighborMessage(message: NeighborMessage): Buffer {
  const option = message.linkAddress === undefined ? 0 : 8;
  const out = Buffer.alloc(headerBytes + fixedBytes + option);
  out.writeUInt8(0x60, 0);
  out.writeUInt16BE(fixedBytes + option, 4);
  out.writeUInt8(icmpv6, 6);
  out.writeUInt8(255, 7);
  out.set(ipBytes(message.source), 8);
  out.set(ipBytes(message.destination), 24);
  out.writeUInt8(message.type === 'solicitation' ? solicitationType : advertisementType, headerBytes);
  if (message.type === 'advertisement') {
    const flags =
      (message.isRouter ? routerFlag : 0) |
      (message.isSolicited ? solicitedFlag : 0) |
      (message.isOverride ? overrideFlag : 0);
    out.writeUInt8(flags, headerBytes + 4);
  }
  out.set(ipBytes(message.target), headerBytes + 8);
  if (message.linkAddress !== undefined) {
    const at = headerBytes + fixedBytes;
    out.writeUInt8(message.type === 'solicitation' ? sourceLinkOption : targetLinkOption, at);
    out.writeUInt8(1, at + 1);
    out.set(macBytes(message.linkAddress), at + 2);
  }
  out.writeUInt16BE(icmpv6Checksum(out), headerBytes + 2);
  return out;
}

/** Bytes beyond the IPv6 payload length are padding of the Ethernet frame. Unknown options are skipped. */
export function decodeNeighborMessage(bytes: Uint8Array): Decoded<NeighborMessage, NeighborRefusal> {
  const refuse = (reason: NeighborRefusal): { ok: false; reason: NeighborRefusal } => ({ ok: false, reason });
  if (bytes.length < headerBytes) return refuse('truncated');
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (whole.readUInt8(0) >> 4 !== 6) return refuse('version');
  const end = headerBytes + whole.readUInt16BE(4);
  // An extension header, fragments above all, has no place before these messages (RFC 6980).
  if (whole.readUInt8(6) !== icmpv6) return refuse('next-header');
  if (whole.readUInt8(7) !== 255) return refuse('hop-limit');
  if (end < headerBytes + fixedBytes || end > whole.length) return refuse('truncated');
  const packet = whole.subarray(0, end);
  const type = packet.readUInt8(headerBytes);
  if (type !== solicitationType && type !== advertisementType) return refuse('type');
  if (packet.readUInt8(headerBytes + 1) !== 0) return refuse('code');
  if (icmpv6Checksum(packet) !== 0) return refuse('checksum');
  const source = packet.subarray(8, 24);
  const destination = packet.subarray(24, 40);
  const target = packet.subarray(headerBytes + 8, headerBytes + fixedBytes);
  if (isMulticast(source) || isIpv4Mapped(source) || isIpv4Mapped(destination)) return refuse('address');
  if (isMulticast(target) || isIpv4Mapped(target)) return refuse('target');
  const options = linkOptions(packet.subarray(headerBytes + fixedBytes));
  if (!options.ok) return options;
  const addresses = { source: ipText(source), destination: ipText(destination), target: ipText(target) };
  if (type === solicitationType) {
    const linkAddress = options.value.get(sourceLinkOption);
    // Who has no address yet has no neighbour entry to offer either (RFC 4861 section 7.1.1).
    if (addresses.source === '::' && (linkAddress !== undefined || !isSolicitedNode(destination)))
      return refuse('address');
    return { ok: true, value: { type: 'solicitation', ...addresses, ...optional(linkAddress) } };
  }
  const flags = packet.readUInt8(headerBytes + 4);
  const isSolicited = (flags & solicitedFlag) !== 0;
  if (isSolicited && isMulticast(destination)) return refuse('flags');
  return {
    ok: true,
    value: {
      type: 'advertisement',
      ...addresses,
      isRouter: (flags & routerFlag) !== 0,
      isSolicited,
      isOverride: (flags & overrideFlag) !== 0,
      ...optional(options.value.get(targetLinkOption)),
    },
  };
}

function optional(linkAddress: string | undefined): { readonly linkAddress?: string } {
  return linkAddress === undefined ? {} : { linkAddress };
}

/** The link-layer address options by type; of several the first counts. */
function linkOptions(options: Buffer): Decoded<ReadonlyMap<number, string>, 'option-length' | 'link-address'> {
  const found = new Map<number, string>();
  for (let at = 0; at < options.length;) {
    const length = at + 2 > options.length ? 0 : 8 * options.readUInt8(at + 1);
    if (length === 0 || at + length > options.length) return { ok: false, reason: 'option-length' };
    const type = options.readUInt8(at);
    if (type === sourceLinkOption || type === targetLinkOption) {
      const address = options.subarray(at + 2, at + 8);
      if (length !== 8 || !isStationMac(address)) return { ok: false, reason: 'link-address' };
      if (!found.has(type)) found.set(type, macText(address));
    }
    at += length;
  }
  return { ok: true, value: found };
}

function isMulticast(address: Buffer): boolean {
  return address[0] === 0xff;
}

/** `::ffff:a.b.c.d` never is on a wire, and its text would be that of an IPv4 address. */
function isIpv4Mapped(address: Buffer): boolean {
  return address.readUInt32BE(0) === 0 && address.readUInt32BE(4) === 0 && address.readUInt32BE(8) === 0xffff;
}

function isSolicitedNode(address: Buffer): boolean {
  return (
    address.readUInt32BE(0) === 0xff020000 &&
    address.readUInt32BE(4) === 0 &&
    address.readUInt32BE(8) === 1 &&
    address[12] === 0xff
  );
}

/** Over the pseudo-header and the ICMPv6 message of an IPv6 packet (RFC 8200 section 8.1); 0 when the one inside is right. */
function icmpv6Checksum(packet: Buffer): number {
  let sum = packet.length - headerBytes + icmpv6;
  for (let at = 8; at < packet.length; at += 2) sum += ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
