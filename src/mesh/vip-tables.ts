/** The readable form of `mesh vips`, from its JSON. */
import type { BgpPeerState, VipStatus } from '../vip/index.js';
import { table } from './table.js';

/** What `mesh vips` answers: addresses, and the routers they are announced to. Plain data. */
export interface VipReport {
  readonly addresses: readonly VipStatus[];
  readonly peers: readonly BgpPeerState[];
}

export function formatVips({ addresses, peers }: VipReport, now: number): string {
  if (addresses.length === 0) return 'No virtual IPs are assigned to this node, or it cannot serve them now.\n';
  const since = (ms: number): string => `${String(Math.max(0, Math.round((now - ms) / 1000)))} s`;
  const lines = [
    table(
      ['virtual IP', 'address', 'mode', 'state', 'for', 'owner', 'device', 'why'],
      addresses.map((each) => [
        each.name,
        each.address,
        each.mode,
        each.state,
        since(each.since),
        each.owner ?? '',
        each.device ?? '',
        each.reason,
      ]),
    ),
  ];
  if (peers.length > 0) {
    lines.push(
      '',
      table(
        ['router', 'AS', 'session', 'for', 'routes sent', 'last error'],
        peers.map((peer) => [
          peer.address,
          String(peer.remoteAs),
          peer.state,
          since(peer.since),
          peer.state === 'established' ? String(peer.announced) : '',
          peer.lastError === undefined ? '' : peer.lastError.message,
        ]),
      ),
    );
  }
  return `${lines.join('\n')}\n`;
}
