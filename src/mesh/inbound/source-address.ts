import { parseSocketAddress, tryParseIp } from '../../core/index.js';
import { readWorkloadId } from '../../spiffe/index.js';
import type { AuthenticatedSource } from '../authenticated-source.js';
import type { MeshView } from '../mesh-view.js';

/**
 * The source address a peer claims in `forwarded: for="ip:port"` (RFC 7239), when the agent's own snapshot says that it
 * is an address of a workload of that node with that very identity; undefined otherwise. A claim by itself is worth nothing.
 */
export function verifiedSourceAddress(
  view: MeshView | undefined,
  source: AuthenticatedSource,
  forwarded: string | undefined,
): string | undefined {
  if (view === undefined || source.principal === undefined || forwarded === undefined || forwarded.length > 256) {
    return undefined;
  }
  const claimed = /^for="([^"]+)"/i.exec(forwarded)?.[1];
  if (claimed === undefined) return undefined;
  const ip = addressOf(claimed);
  const workload = ip === undefined ? undefined : view.index.workloadAt(ip);
  const identity = readWorkloadId(source.principal);
  if (workload === undefined || identity === undefined) return undefined;
  const own =
    workload.node === source.node &&
    workload.namespace === identity.namespace &&
    workload.serviceAccount === identity.serviceAccount;
  return own ? ip : undefined;
}

function addressOf(claimed: string): string | undefined {
  try {
    return parseSocketAddress(claimed).ip;
  } catch {
    return tryParseIp(claimed.replace(/^\[|\]$/g, ''));
  }
}
