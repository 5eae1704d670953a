import { ipBytes, ipFamily } from '../core/index.js';
import { AF_INET, AF_INET6, AF_UNSPEC } from '../internal/native/constants.js';
import {
  NETLINK_ROUTE,
  NLM_F_DUMP,
  NetlinkSocket,
  netlinkAttribute,
  netlinkAttributes,
} from '../internal/native/netlink.js';
import type { NetlinkMessage } from '../internal/native/netlink.js';
import { ipText } from '../internal/native/sockaddr.js';

/** The network devices of this namespace, read over rtnetlink (rtnetlink(7)). */

/** An interface by name and index. The index tells a new one from an old one of the same name. */
export interface HostInterface {
  readonly name: string;
  readonly index: number;
}

export interface NetworkInterface extends HostInterface {
  /** `02:00:00:00:00:01`; undefined for devices without. */
  readonly mac: string | undefined;
  /** Index of the bridge (or bond, VRF) it belongs to. */
  readonly master: number | undefined;
  readonly isBridge: boolean;
  /** Canonical, without prefix length, global and link-local. */
  readonly addresses: readonly string[];
}

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;
const RTM_GETNEIGH = 30;
const AF_BRIDGE = 7;
const NTF_USE = 0x01;
const NLM_F_CREATE = 0x400;

const feature = 'looking up network interfaces';

export function openRouteSocket(): NetlinkSocket {
  return new NetlinkSocket({ protocol: NETLINK_ROUTE, feature });
}

/** All interfaces with their addresses. */
export async function listInterfaces(): Promise<readonly NetworkInterface[]> {
  using route = openRouteSocket();
  const links = await route.request(RTM_GETLINK, NLM_F_DUMP, Buffer.alloc(16));
  const addresses = new Map<number, string[]>();
  for (const { type, payload } of await route.request(RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(8))) {
    if (type !== RTM_NEWADDR) continue;
    const attributes = netlinkAttributes(payload, 8);
    // IFA_LOCAL (2) is ours on point-to-point links, where IFA_ADDRESS (1) is the peer's.
    const bytes = attributes.get(2) ?? attributes.get(1);
    if (bytes === undefined) continue;
    const index = payload.readUInt32LE(4);
    addresses.set(index, [...(addresses.get(index) ?? []), ipText(bytes)]);
  }
  return links.flatMap((message) => {
    const link = parseLink(message);
    return link === undefined ? [] : [{ ...link, addresses: addresses.get(link.index) ?? [] }];
  });
}

/** An RTM_NEWLINK or RTM_DELLINK message, without addresses. */
export function parseLink({ type, payload }: NetlinkMessage): Omit<NetworkInterface, 'addresses'> | undefined {
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || payload.length < 16) return undefined;
  // Messages of the bridge family speak of a port, not of the device.
  if (payload.readUInt8(0) !== AF_UNSPEC) return undefined;
  const attributes = netlinkAttributes(payload, 16);
  const name = attributes.get(3);
  if (name === undefined) return undefined;
  const info = attributes.get(18);
  const kind = info === undefined ? undefined : netlinkAttributes(info, 0).get(1);
  const mac = attributes.get(1);
  const master = attributes.get(10);
  return {
    name: cString(name),
    index: payload.readInt32LE(4),
    mac: mac?.length === 6 ? [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':') : undefined,
    master: master === undefined || master.length < 4 ? undefined : master.readUInt32LE(0),
    isBridge: kind !== undefined && cString(kind) === 'bridge',
  };
}

/** The interface that the kernel would send to `ip` through, when `ip` is on that link itself; undefined behind a gateway or without a route. */
export async function directRoute(route: NetlinkSocket, ip: string): Promise<number | undefined> {
  const bytes = ipBytes(ip);
  const header = Buffer.alloc(12);
  header.writeUInt8(ipFamily(ip) === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(8 * bytes.length, 1);
  let answers: readonly NetlinkMessage[];
  try {
    answers = await route.request(RTM_GETROUTE, 0, Buffer.concat([header, netlinkAttribute(1, bytes)]));
  } catch {
    return undefined;
  }
  const answer = answers.find(({ type }) => type === RTM_NEWROUTE);
  if (answer === undefined) return undefined;
  const attributes = netlinkAttributes(answer.payload, 12);
  const isUnicast = answer.payload.readUInt8(7) === 1;
  return isUnicast && attributes.get(5) === undefined ? attributes.get(4)?.readUInt32LE(0) : undefined;
}

/** The MAC address that the kernel knows for `ip` on interface `index`. */
export async function neighbourMac(route: NetlinkSocket, index: number, ip: string): Promise<Buffer | undefined> {
  for (const { type, payload } of await route.request(RTM_GETNEIGH, NLM_F_DUMP, Buffer.alloc(12))) {
    if (type !== RTM_NEWNEIGH || payload.readInt32LE(4) !== index) continue;
    const attributes = netlinkAttributes(payload, 12);
    const destination = attributes.get(1);
    const failed = (payload.readUInt16LE(8) & 0x20) !== 0;
    if (destination !== undefined && !failed && [4, 16].includes(destination.length) && ipText(destination) === ip)
      return attributes.get(2);
  }
  return undefined;
}

/** Makes the kernel ask for the MAC address of `ip` on interface `index`. */
export async function resolveNeighbour(route: NetlinkSocket, index: number, ip: string): Promise<void> {
  const header = Buffer.alloc(12);
  header.writeUInt8(ipFamily(ip) === 4 ? AF_INET : AF_INET6, 0);
  header.writeInt32LE(index, 4);
  header.writeUInt8(NTF_USE, 10);
  await route
    .request(RTM_NEWNEIGH, NLM_F_CREATE, Buffer.concat([header, netlinkAttribute(1, ipBytes(ip))]))
    .catch(() => undefined);
}

/** The port of bridge `bridgeIndex` behind which `mac` was seen. */
export async function bridgePort(route: NetlinkSocket, bridgeIndex: number, mac: Buffer): Promise<number | undefined> {
  const header = Buffer.alloc(12);
  header.writeUInt8(AF_BRIDGE, 0);
  for (const { type, payload } of await route.request(RTM_GETNEIGH, NLM_F_DUMP, header)) {
    if (type !== RTM_NEWNEIGH) continue;
    const attributes = netlinkAttributes(payload, 12);
    const isHere = attributes.get(9)?.readUInt32LE(0) === bridgeIndex;
    if (isHere && attributes.get(2)?.equals(mac) === true) return payload.readInt32LE(4);
  }
  return undefined;
}

function cString(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/\0.*$/s, '');
}
