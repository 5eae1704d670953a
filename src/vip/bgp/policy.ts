import { Cidr, ipFamily } from '../../core/index.js';
import type { PathAttributes } from './codec/attributes.js';
import type { BgpFamily } from './codec/constants.js';
import type { BgpPrefix } from './codec/prefix.js';
import { gracefulShutdownCommunity } from './communities.js';
import type { ResolvedPeer } from './peer-options.js';
import type { ResolvedRoute } from './route.js';

/** A route as one peer is to hear it. */
export interface OutgoingRoute {
  readonly prefix: BgpPrefix;
  readonly attributes: Omit<PathAttributes, 'nextHop'>;
  readonly nextHop: string;
  /** Routes with the same go into one UPDATE. */
  readonly group: string;
}

/** Why a peer does not hear of a route. */
export type BgpNotAnnounced = 'not-for-this-peer' | 'filtered' | 'family-not-negotiated' | 'no-next-hop';

export interface PolicyContext {
  readonly peer: ResolvedPeer;
  readonly localAs: number;
  readonly families: readonly BgpFamily[];
  /** The own address of the session. */
  readonly localAddress: string;
  /** The route is about to go: prefer anything else (RFC 8326). */
  readonly draining: boolean;
}

/** What `peer` is told of `route`, or why nothing. Pure; a filter function that throws lets nothing through. */
export function applyPolicy(route: ResolvedRoute, context: PolicyContext): OutgoingRoute | BgpNotAnnounced {
  const { peer, localAs, draining } = context;
  const { family } = route.prefix;
  if (route.peers !== undefined && !route.peers.has(peer.name) && !route.peers.has(peer.address))
    return 'not-for-this-peer';
  if (!context.families.includes(family)) return 'family-not-negotiated';
  if (!isLetThrough(route, peer)) return 'filtered';
  const nextHop = nextHopFor(route, context);
  if (nextHop === undefined) return 'no-next-hop';

  const internal = peer.session.remoteAs === localAs;
  const own = route.attributes;
  const ofPeer = peer.policy.attributes;
  const med = own.med ?? ofPeer.med;
  const copies = 1 + (own.prepend ?? ofPeer.prepend ?? 0);
  const communities = new Set([...own.communities, ...ofPeer.communities]);
  if (draining) communities.add(gracefulShutdownCommunity);
  const large = new Map([...own.largeCommunities, ...ofPeer.largeCommunities].map((each) => [each.join(':'), each]));
  const attributes: Omit<PathAttributes, 'nextHop'> = {
    origin: 'igp',
    asPath: internal ? [] : [{ type: 'sequence', asns: Array<number>(copies).fill(localAs) }],
    ...(med === undefined ? {} : { med }),
    ...(internal ? { localPreference: draining ? 0 : (own.localPreference ?? ofPeer.localPreference ?? 100) } : {}),
    communities: [...communities].sort((a, b) => a - b),
    largeCommunities: [...large.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]),
  };
  return { prefix: route.prefix, attributes, nextHop, group: JSON.stringify([family, nextHop, attributes]) };
}

function isLetThrough(route: ResolvedRoute, peer: ResolvedPeer): boolean {
  const { announce } = peer.policy;
  if (announce === undefined) return true;
  if (typeof announce === 'function') {
    try {
      return announce(route.original) === true;
    } catch {
      return false;
    }
  }
  const [address = '', length = ''] = route.key.split('/');
  return announce.some((text) => {
    const block = Cidr.parse(text);
    return block.prefixLength <= Number(length) && block.contains(address);
  });
}

/** The route's, the peer's, the session's own address: the first of the route's family. */
function nextHopFor(route: ResolvedRoute, context: PolicyContext): string | undefined {
  const { family } = route.prefix;
  const version = family === 'ipv4' ? 4 : 6;
  return [route.nextHop, context.peer.policy.nextHop[family], context.localAddress].find(
    (ip) => ip !== undefined && ipFamily(ip) === version,
  );
}
