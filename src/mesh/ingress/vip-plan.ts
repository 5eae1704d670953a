/** What the virtual IPs of a snapshot ask of one node, in the words of `meshwright/vip`. Pure. */
import type { VipAssignment, VipBgpOptions, VipBgpPeer as VipManagerPeer } from '../../vip/index.js';
import type { MeshVip, VipBgp } from '../vip-resources.js';

export interface VipPlan {
  readonly assignments: readonly VipAssignment[];
  /**
   * This node as a BGP speaker: of all virtual IPs that it may announce, whether or not it can serve them now, since
   * sessions outlive readiness. Undefined where none is announced by BGP.
   */
  readonly bgp: VipBgpOptions | undefined;
}

export interface VipPlanInput {
  /** The virtual IPs that the node may announce. */
  readonly known: readonly MeshVip[];
  /** Those of them that it can serve now (`VipIngress`). */
  readonly serving: readonly MeshVip[];
  /** The node's own settings for its speaker. */
  readonly bgp?: VipBgpSettings | undefined;
}

/** What a node knows about BGP that no snapshot says. */
export interface VipBgpSettings extends Pick<VipBgpOptions, 'listen' | 'gracefulRestart'> {
  /** TCP MD5 passwords by the address of the router. */
  readonly passwords?: ReadonlyMap<string, string> | undefined;
}

/**
 * The controller has seen to it that virtual IPs agree about speaker and routers; where they do not, the first by name
 * counts.
 *
 * @example
 * const plan = vipPlan('node-a', { known: index.state.vips, serving: ingress.serving.current });
 * await vips.configureBgp(plan.bgp);
 * await vips.apply(plan.assignments);
 */
export function vipPlan(node: string, { known, serving, bgp: settings = {} }: VipPlanInput): VipPlan {
  const names = new Set(known.map(({ name }) => name));
  const assignments = serving.flatMap((vip) =>
    // What was served a moment ago may be unknown by now.
    names.has(vip.name) && vip.nodes.includes(node) ? assignmentOf(vip) : [],
  );
  let speaker: VipBgp['speakers'][number] | undefined;
  const peers = new Map<string, VipManagerPeer>();
  for (const { nodes, bgp, bfd } of known.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const own = nodes.includes(node) ? bgp?.speakers.find((each) => each.node === node) : undefined;
    if (own === undefined) continue;
    speaker ??= own;
    for (const { address, as, port, ttlSecurity, multihop } of bgp?.peers ?? []) {
      const before = peers.get(address);
      // A router is watched as soon as one virtual IP asks for it.
      if (before !== undefined) peers.set(address, { ...before, bfd: before.bfd ?? bfd });
      else {
        const password = settings.passwords?.get(address);
        peers.set(address, { address, remoteAs: as, port, ttlSecurity, multihop, password, bfd });
      }
    }
  }
  if (speaker === undefined) return { assignments, bgp: undefined };
  const { localAs, routerId } = speaker;
  const { listen, gracefulRestart } = settings;
  return { assignments, bgp: { localAs, routerId, peers: [...peers.values()], listen, gracefulRestart } };
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
