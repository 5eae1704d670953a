/** What the virtual IPs of a snapshot ask of one node, in the words of `meshwright/vip`. Pure. */
import type { VipAssignment } from '../../vip/index.js';
import type { MeshVip, VipBfd, VipBgpPeer } from '../vip-resources.js';

/** A router that this node is to tell of its addresses. */
export interface PlannedPeer extends VipBgpPeer {
  readonly bfd: VipBfd | undefined;
}

/** This node as a BGP speaker. */
export interface PlannedSpeaker {
  readonly localAs: number;
  readonly routerId: string;
  /** By address. */
  readonly peers: readonly PlannedPeer[];
}

export interface VipPlan {
  readonly assignments: readonly VipAssignment[];
  /** Of all virtual IPs that the node may announce, whether or not it can serve them now: sessions outlive readiness. */
  readonly speaker: PlannedSpeaker | undefined;
}

/**
 * `known` are the virtual IPs that the node may announce, `serving` those of them that it can serve now (`VipIngress`).
 * The controller has seen to it that they agree about speaker and routers; where they do not, the first by name counts.
 *
 * @example
 * const plan = vipPlan('node-a', { known: index.state.vips, serving: ingress.serving.current });
 * await vips.apply(plan.assignments);
 */
export function vipPlan(
  node: string,
  { known, serving }: { readonly known: readonly MeshVip[]; readonly serving: readonly MeshVip[] },
): VipPlan {
  const assignments = serving.flatMap((vip) => (vip.nodes.includes(node) ? assignmentOf(vip) : []));
  let speaker: PlannedSpeaker | undefined;
  const peers = new Map<string, PlannedPeer>();
  for (const { nodes, bgp, bfd } of known.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const own = nodes.includes(node) ? bgp?.speakers.find((each) => each.node === node) : undefined;
    if (own === undefined) continue;
    speaker ??= { localAs: own.localAs, routerId: own.routerId, peers: [] };
    for (const peer of bgp?.peers ?? []) {
      const before = peers.get(peer.address);
      // A router is watched as soon as one virtual IP asks for it.
      if (before === undefined) peers.set(peer.address, { ...peer, bfd });
      else if (before.bfd === undefined && bfd !== undefined) peers.set(peer.address, { ...before, bfd });
    }
  }
  return {
    assignments,
    speaker: speaker === undefined ? undefined : { ...speaker, peers: [...peers.values()] },
  };
}

function assignmentOf(vip: MeshVip): readonly VipAssignment[] {
  const { name, addresses } = vip;
  if (vip.mode === 'l2') {
    return [{ name, addresses, mode: 'l2', ...(vip.interface === undefined ? {} : { interface: vip.interface }) }];
  }
  const { bgp } = vip;
  if (bgp === undefined) return [];
  const isLarge = (community: string): boolean => community.split(':').length === 3;
  const { localPreference } = bgp;
  return [
    {
      name,
      addresses,
      mode: 'bgp',
      peers: bgp.peers.map(({ address }) => address),
      communities: bgp.communities.filter((community) => !isLarge(community)),
      largeCommunities: bgp.communities.filter(isLarge),
      ...(localPreference === undefined ? {} : { localPreference }),
    },
  ];
}
