/** Datagrams of rtnetlink to mutate: as the kernel of this machine answers, and as requests are made. */
import { netlinkAttribute, netlinkErrno, netlinkMessages } from '../../src/internal/native/netlink.js';
import { NETLINK_ROUTE, NLM_F_DUMP, NetlinkSocket } from '../../src/internal/native/netlink.js';
import type { NetlinkMessage } from '../../src/internal/native/netlink.js';
import { parseLink } from '../../src/tproxy/network-interfaces.js';
import { decodeAddress, encodeAddress } from '../../src/vip/addresses/address-message.js';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const NLMSG_ERROR = 2;

/** Puts netlink headers around messages, one after the other. */
export function netlinkDatagram(messages: readonly NetlinkMessage[]): Buffer {
  return Buffer.concat(
    messages.map(({ type, payload }, index) => {
      const padded = Buffer.alloc(16 + ((payload.length + 3) & ~3));
      padded.writeUInt32LE(16 + payload.length, 0);
      padded.writeUInt16LE(type, 4);
      padded.writeUInt16LE(2, 6);
      padded.writeUInt32LE(index + 1, 8);
      padded.set(payload, 16);
      return padded;
    }),
  );
}

/** Messages as this package makes them; no kernel is asked. */
export function netlinkCorpus(): readonly Uint8Array[] {
  const addresses = [
    { ip: '203.0.113.10', device: 2, lifetimeSeconds: 3, tag: 109 },
    { ip: 'fd00::10', device: 2, lifetimeSeconds: undefined, tag: 109 },
  ].map((address) => ({ type: RTM_NEWADDR, payload: encodeAddress(address) }));
  const link = Buffer.concat([
    Buffer.from([0, 0, 1, 0, 2, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0]),
    netlinkAttribute(3, Buffer.from('eth0\0')),
    netlinkAttribute(1, Buffer.from([2, 0, 0, 0, 0, 1])),
    netlinkAttribute(10, Buffer.from([7, 0, 0, 0])),
    netlinkAttribute(18, netlinkAttribute(1, Buffer.from('bridge\0'))),
  ]);
  return [
    netlinkDatagram(addresses),
    netlinkDatagram([{ type: RTM_NEWLINK, payload: link }]),
    netlinkDatagram([{ type: NLMSG_ERROR, payload: Buffer.alloc(20, 0xff) }]),
  ];
}

/** What the kernel of this machine says of its links and addresses. */
export async function kernelNetlinkCorpus(): Promise<readonly Uint8Array[]> {
  using socket = new NetlinkSocket({ protocol: NETLINK_ROUTE, feature: 'a test' });
  const links = await socket.request(RTM_GETLINK, NLM_F_DUMP, Buffer.alloc(16));
  const addresses = await socket.request(RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(8));
  return [netlinkDatagram(links.slice(0, 2)), netlinkDatagram(addresses.slice(0, 4))];
}

/** What came of a datagram, message by message. */
export function judgeNetlink(bytes: Uint8Array): string {
  const found = new Set<string>();
  for (const message of netlinkMessages(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))) {
    if (message.type === NLMSG_ERROR) found.add(netlinkErrno(message) === 0 ? 'acknowledgement' : 'error');
    else if (decodeAddress(message) !== undefined) found.add('address');
    else if (parseLink(message) !== undefined) found.add('link');
    else found.add('not-understood');
  }
  return found.size === 0 ? 'no-message' : [...found].sort().join('+');
}
