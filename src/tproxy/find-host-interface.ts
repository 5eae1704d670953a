import { parseIp, sleep, systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import {
  bridgePort,
  directRoute,
  listInterfaces,
  neighbourMac,
  openRouteSocket,
  resolveNeighbour,
} from './network-interfaces.js';
import type { HostInterface } from './network-interfaces.js';

const attempts = 10;
const attemptMs = 30;

/**
 * The host-side interface behind which a local pod's address lives: the route to it, and on a bridge the port that its
 * neighbour entry points to. Undefined when the address is not directly on a link of this host.
 *
 * On a bridge this trusts the answer to ARP or neighbour discovery at the moment of asking: a pod that was there before
 * the rules pinned anything could give a false one. Where the container runtime tells the interface, use that instead.
 *
 * Throws `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`.
 */
export async function findHostInterface(
  podIp: string,
  options: { readonly clock?: Clock } = {},
): Promise<HostInterface | undefined> {
  const ip = parseIp(podIp);
  using route = openRouteSocket();
  const index = await directRoute(route, ip);
  if (index === undefined) return undefined;
  const interfaces = await listInterfaces();
  const byIndex = (wanted: number | undefined): HostInterface | undefined => {
    const found = interfaces.find((candidate) => candidate.index === wanted);
    return found === undefined ? undefined : { name: found.name, index: found.index };
  };
  const outgoing = interfaces.find((candidate) => candidate.index === index);
  if (outgoing?.isBridge !== true) return byIndex(index);
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const mac = await neighbourMac(route, index, ip);
    const port = mac === undefined ? undefined : await bridgePort(route, index, mac);
    if (port !== undefined) return byIndex(port);
    await resolveNeighbour(route, index, ip);
    await sleep(options.clock ?? systemClock, attemptMs, { keepAlive: true });
  }
  return undefined;
}
