/** Numbers of BGP as IANA registers them, for the parts that this speaker uses. */

export const markerBytes = 16;
export const headerBytes = 19;
export const maxMessageBytes = 4096;
export const bgpVersion = 4;

export const messageTypes = Object.freeze({ open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 });

/** The AS number that stands for one of four octets towards a peer that knows two (RFC 6793). */
export const asTrans = 23_456;

export const capabilityCodes = Object.freeze({
  multiprotocol: 1,
  routeRefresh: 2,
  gracefulRestart: 64,
  fourOctetAs: 65,
});

export const attributeTypes = Object.freeze({
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPreference: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReach: 14,
  mpUnreach: 15,
  extendedCommunities: 16,
  as4Path: 17,
  as4Aggregator: 18,
  largeCommunities: 32,
});

export const attributeFlags = Object.freeze({ optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 });

export const safiUnicast = 1;

/** An address family, unicast: the only ones spoken. */
export type BgpFamily = 'ipv4' | 'ipv6';

export const afiOf: Readonly<Record<BgpFamily, number>> = Object.freeze({ ipv4: 1, ipv6: 2 });

/** The family of an AFI and SAFI; undefined for those not spoken. */
export function familyOf(afi: number, safi: number): BgpFamily | undefined {
  if (safi !== safiUnicast) return undefined;
  return afi === 1 ? 'ipv4' : afi === 2 ? 'ipv6' : undefined;
}
