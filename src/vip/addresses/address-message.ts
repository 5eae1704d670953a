import { ipBytes, ipFamily } from '../../core/index.js';
import { AF_INET, AF_INET6 } from '../../internal/native/constants.js';
import { netlinkAttribute, netlinkAttributes } from '../../internal/native/netlink.js';
import type { NetlinkMessage } from '../../internal/native/netlink.js';
import { ipText } from '../../internal/native/sockaddr.js';

/** Addresses in the language of rtnetlink(7): `struct ifaddrmsg` and its attributes (linux/if_addr.h). */

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

const headerBytes = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_PROTO = 11;
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;
const forever = 0xffff_ffff;

export interface AddressToSet {
  readonly ip: string;
  /** Index of the device. */
  readonly device: number;
  /** After how many whole seconds the kernel removes it; undefined: never. */
  readonly lifetimeSeconds: number | undefined;
  /** Who put it there: kept by kernels from 5.18 on. 1 to 255. */
  readonly tag: number;
}

/** An address on a device, as the kernel lists it. */
export interface KernelAddress {
  readonly ip: string;
  readonly prefixLength: number;
  readonly device: number;
  /** 0 where nobody set one, and on older kernels. */
  readonly tag: number;
  /** Seconds left; undefined: for ever. */
  readonly lifetimeSeconds: number | undefined;
}

/**
 * A request for a host address (/32, /128): IPv6 without duplicate detection (probing is done before), and deprecated, so
 * that it is never chosen as the source of a connection that this machine makes.
 */
export function encodeAddress({ ip, device, lifetimeSeconds, tag }: AddressToSet): Buffer {
  const cacheInfo = Buffer.alloc(16);
  cacheInfo.writeUInt32LE(0, 0);
  cacheInfo.writeUInt32LE(lifetimeSeconds ?? forever, 4);
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(ipFamily(ip) === 6 ? IFA_F_NODAD | IFA_F_NOPREFIXROUTE : IFA_F_NOPREFIXROUTE);
  return Buffer.concat([
    encodeAddressKey(ip, device),
    netlinkAttribute(IFA_CACHEINFO, cacheInfo),
    netlinkAttribute(IFA_FLAGS, flags),
    netlinkAttribute(IFA_PROTO, Uint8Array.of(tag)),
  ]);
}

/** What names an address in a request to delete it. */
export function encodeAddressKey(ip: string, device: number): Buffer {
  const bytes = ipBytes(ip);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt8(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(8 * bytes.length, 1);
  header.writeInt32LE(device, 4);
  return Buffer.concat([header, netlinkAttribute(IFA_LOCAL, bytes), netlinkAttribute(IFA_ADDRESS, bytes)]);
}

/** Undefined for anything but a well-formed RTM_NEWADDR of IPv4 or IPv6. */
export function decodeAddress({ type, payload }: NetlinkMessage): KernelAddress | undefined {
  if (type !== RTM_NEWADDR || payload.length < headerBytes) return undefined;
  const length = { [AF_INET]: 4, [AF_INET6]: 16 }[payload.readUInt8(0)];
  const attributes = netlinkAttributes(payload, headerBytes);
  // On point-to-point links IFA_ADDRESS is the peer's.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (length === undefined || bytes?.length !== length) return undefined;
  const cacheInfo = attributes.get(IFA_CACHEINFO);
  const validSeconds = cacheInfo !== undefined && cacheInfo.length >= 8 ? cacheInfo.readUInt32LE(4) : forever;
  return {
    ip: ipText(bytes),
    prefixLength: payload.readUInt8(1),
    device: payload.readInt32LE(4),
    tag: attributes.get(IFA_PROTO)?.[0] ?? 0,
    lifetimeSeconds: validSeconds === forever ? undefined : validSeconds,
  };
}
