import { ipBytes } from '../core/index.js';
import { AF_INET, AF_INET6 } from '../internal/native/constants.js';
import {
  NETLINK_NETFILTER,
  NLM_F_DUMP,
  NetlinkSocket,
  netlinkAttribute,
  netlinkAttributes,
} from '../internal/native/netlink.js';
import { ipText } from '../internal/native/sockaddr.js';

/** Connection tracking over ctnetlink (nfnetlink_conntrack.h). */

const IPCTNL_MSG_CT_GET = (1 << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (1 << 8) | 2;
const CTA_TUPLE_ORIG = 1;
const CTA_ID = 12;
const CTA_ZONE = 18;
const IPPROTO_TCP = 6;

export interface TrackedDestination {
  readonly ip: string;
  /** Any port when undefined. */
  readonly port?: number | undefined;
}

/**
 * Forgets the TCP connections to these destinations (as the client addressed them), so that address translation that was
 * decided before a rule came is decided again. Their next packet meets the new rules. Returns how many there were.
 */
export async function forgetConnections(destinations: readonly TrackedDestination[]): Promise<number> {
  if (destinations.length === 0) return 0;
  const wanted = new Set(destinations.map(({ ip, port }) => `${ip} ${String(port ?? '*')}`));
  using socket = new NetlinkSocket({ protocol: NETLINK_NETFILTER, feature: 'removing conntrack entries' });
  let forgotten = 0;
  for (const family of new Set(destinations.map(({ ip }) => (ipBytes(ip).length === 4 ? AF_INET : AF_INET6)))) {
    const header = Buffer.from([family, 0, 0, 0]);
    for (const { payload } of await socket.request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, header)) {
      const attributes = netlinkAttributes(payload, 4);
      const tuple = attributes.get(CTA_TUPLE_ORIG);
      const destination = tuple === undefined ? undefined : tcpDestination(tuple);
      if (tuple === undefined || destination === undefined) continue;
      if (!wanted.has(`${destination.ip} *`) && !wanted.has(`${destination.ip} ${String(destination.port)}`)) continue;
      const which = [CTA_ID, CTA_ZONE].flatMap((type) => {
        const value = attributes.get(type);
        return value === undefined ? [] : [netlinkAttribute(type, value)];
      });
      const nested = netlinkAttribute(CTA_TUPLE_ORIG | 0x8000, tuple);
      try {
        await socket.request(IPCTNL_MSG_CT_DELETE, 0, Buffer.concat([header, nested, ...which]));
        forgotten += 1;
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }
  return forgotten;
}

function tcpDestination(tuple: Buffer): { readonly ip: string; readonly port: number } | undefined {
  const parts = netlinkAttributes(tuple, 0);
  const addresses = netlinkAttributes(parts.get(1) ?? Buffer.alloc(0), 0);
  const protocol = netlinkAttributes(parts.get(2) ?? Buffer.alloc(0), 0);
  const ip = addresses.get(2) ?? addresses.get(4);
  const port = protocol.get(3);
  if (protocol.get(1)?.readUInt8(0) !== IPPROTO_TCP || ip === undefined || port === undefined) return undefined;
  return { ip: ipText(ip), port: port.readUInt16BE(0) };
}
