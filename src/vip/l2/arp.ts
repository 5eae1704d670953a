import { ipBytes } from '../../core/index.js';
import { ipText } from '../../internal/native/sockaddr.js';
import type { Decoded } from './decoded.js';
import { isStationMac, macBytes, macText } from './mac.js';

/**
 * ARP for IPv4 over Ethernet (RFC 826), without the Ethernet header.
 *
 * RFC 5227 names the forms used here: a probe is a request with sender IP 0.0.0.0; an announcement is a request, or a
 * reply, whose sender and target IP are the same.
 */
export interface ArpPacket {
  readonly operation: 'request' | 'reply';
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
}

/** Why bytes are not such a packet. `sender-mac`: a group address or all zero, which no station has. */
export type ArpRefusal =
  'truncated' | 'hardware-type' | 'protocol-type' | 'address-length' | 'operation' | 'sender-mac';

export const arpBytes = 28;
const ethernet = 1;
const ipv4 = 0x0800;

export function encodeArp(packet: ArpPacket): Buffer {
  const out = Buffer.alloc(arpBytes);
  out.writeUInt16BE(ethernet, 0);
  out.writeUInt16BE(ipv4, 2);
  out.writeUInt8(6, 4);
  out.writeUInt8(4, 5);
  out.writeUInt16BE(packet.operation === 'request' ? 1 : 2, 6);
  out.set(macBytes(packet.senderMac), 8);
  out.set(ipBytes(packet.senderIp), 14);
  out.set(macBytes(packet.targetMac), 18);
  out.set(ipBytes(packet.targetIp), 24);
  return out;
}

/** Bytes after the 28th are padding of the Ethernet frame. */
export function decodeArp(bytes: Uint8Array): Decoded<ArpPacket, ArpRefusal> {
  if (bytes.length < arpBytes) return { ok: false, reason: 'truncated' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, arpBytes);
  if (view.readUInt16BE(0) !== ethernet) return { ok: false, reason: 'hardware-type' };
  if (view.readUInt16BE(2) !== ipv4) return { ok: false, reason: 'protocol-type' };
  if (view.readUInt8(4) !== 6 || view.readUInt8(5) !== 4) return { ok: false, reason: 'address-length' };
  const operation = view.readUInt16BE(6);
  if (operation !== 1 && operation !== 2) return { ok: false, reason: 'operation' };
  if (!isStationMac(view.subarray(8, 14))) return { ok: false, reason: 'sender-mac' };
  return {
    ok: true,
    value: {
      operation: operation === 1 ? 'request' : 'reply',
      senderMac: macText(view.subarray(8, 14)),
      senderIp: ipText(view.subarray(14, 18)),
      targetMac: macText(view.subarray(18, 24)),
      targetIp: ipText(view.subarray(24, 28)),
    },
  };
}
