import type { BgpFamily } from './codec/constants.js';
import type { GracefulRestartCapability } from './codec/capabilities.js';
import { notification } from './codec/notification.js';
import type { BgpNotification } from './codec/notification.js';
import type { BgpOpen } from './codec/open.js';
import type { VipErrorCode } from '../errors.js';
import type { ResolvedPeer } from './peer-options.js';

/** What both OPENs together amount to. */
export interface BgpNegotiated {
  readonly remoteRouterId: string;
  readonly families: readonly BgpFamily[];
  readonly fourOctetAs: boolean;
  readonly holdTimeMs: number;
  readonly keepaliveMs: number;
  /** The peer's, where it has one. */
  readonly gracefulRestart: GracefulRestartCapability | undefined;
}

export interface OpenRefusal {
  readonly code: Extract<VipErrorCode, 'VIP_BGP_PEER_AS_MISMATCH' | 'VIP_BGP_OPEN_REFUSED'>;
  /** For the operator. */
  readonly message: string;
  readonly notification: BgpNotification;
}

/** The own OPEN for `peer`. */
export function ownOpen(
  peer: ResolvedPeer,
  local: { readonly as: number; readonly routerId: string },
  gracefulRestart: GracefulRestartCapability | undefined,
): BgpOpen {
  return {
    as: local.as,
    routerId: local.routerId,
    holdTimeSeconds: peer.session.holdTimeSeconds,
    capabilities: {
      families: peer.session.families,
      fourOctetAs: local.as,
      routeRefresh: true,
      ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    },
  };
}

/** Judges the peer's OPEN (RFC 4271 section 6.2). */
export function negotiate(
  open: BgpOpen,
  peer: ResolvedPeer,
  local: { readonly as: number; readonly routerId: string },
): BgpNegotiated | OpenRefusal {
  const { session, name } = peer;
  if (open.as !== session.remoteAs) {
    return {
      code: 'VIP_BGP_PEER_AS_MISMATCH',
      message: `peer ${name} says it is AS ${String(open.as)}, expected AS ${String(session.remoteAs)}`,
      notification: notification(2, 2),
    };
  }
  const refuse = (message: string, subcode: number): OpenRefusal => ({
    code: 'VIP_BGP_OPEN_REFUSED',
    message: `peer ${name}: ${message}`,
    notification: notification(2, subcode),
  });
  if (open.as === local.as && open.routerId === local.routerId) {
    return refuse(`it has this speaker's own router ID ${local.routerId}; each needs its own`, 3);
  }
  const ours = session.holdTimeSeconds;
  if (open.holdTimeSeconds === 0 && ours !== 0) {
    return refuse(`it asks for hold time 0, so that a dead session would never end; ours is ${String(ours)} s`, 6);
  }
  const families = session.families.filter((family) => open.capabilities.families.includes(family));
  if (families.length === 0) {
    const theirs = open.capabilities.families.join(', ') || 'none of ipv4 and ipv6';
    return refuse(`no address family in common: it has ${theirs}, this speaker ${session.families.join(', ')}`, 7);
  }
  const holdTimeMs = 1000 * Math.min(ours, open.holdTimeSeconds);
  const keepaliveMs = Math.min(holdTimeMs / 3, 1000 * (session.keepaliveSeconds ?? Number.POSITIVE_INFINITY));
  return {
    remoteRouterId: open.routerId,
    families,
    fourOctetAs: open.capabilities.fourOctetAs !== undefined,
    holdTimeMs,
    keepaliveMs,
    gracefulRestart: session.gracefulRestart ? open.capabilities.gracefulRestart : undefined,
  };
}
