import type { MeshState } from '../resources.js';

/** How `VipManager` names the lease of an address, unless told otherwise (`leasePrefix`). */
const leasePrefix = 'vip/';

/**
 * Which leases a node may hold, by the newest mesh state: those of the layer 2 addresses that it may announce. For the
 * `mayHold` of `leaseRoutes`.
 */
export function vipLeases(state: { readonly current: MeshState }): (node: string, name: string) => boolean {
  return (node, name) => {
    if (!name.startsWith(leasePrefix)) return false;
    const address = name.slice(leasePrefix.length);
    return state.current.vips.some(
      (vip) => vip.mode === 'l2' && vip.nodes.includes(node) && vip.addresses.includes(address),
    );
  };
}
