/**
 * Where one address of a VIP stands on this node.
 *
 * - `pending`: not ours yet, and `reason` says why: another node owns it, this node is not healthy, the lease store or the
 *   device is missing, or a step failed and is tried again.
 * - `probing`: we own it and ask the segment whether somebody else uses it (layer 2 alone).
 * - `announcing`: the address is on the device and announced.
 * - `draining`: announced as leaving, or no longer announced, while what is open may end (BGP alone).
 * - `withdrawn`: neither announced nor on a device; the end of a removed assignment.
 * - `conflicted`: somebody outside of the ownership uses the address; it is tried again later.
 */
export type VipState = 'pending' | 'probing' | 'announcing' | 'draining' | 'withdrawn' | 'conflicted';

export interface VipStatus {
  /** The assignment. */
  readonly name: string;
  readonly address: string;
  readonly mode: 'l2' | 'bgp';
  readonly state: VipState;
  /** Since when, in wall time as ms since the epoch. */
  readonly since: number;
  /** Why, for people. */
  readonly reason: string;
  /** The node that owns it, as far as this node knows (layer 2 alone). */
  readonly owner?: string | undefined;
  /** The device the address stands on or would stand on. */
  readonly device?: string | undefined;
}
