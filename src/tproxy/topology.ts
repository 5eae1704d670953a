import { ipFamily } from '../core/index.js';
import type { NormalPlan } from './interception-plan.js';
import type { NetworkInterface } from './network-interfaces.js';

/** One pod interface of the plan, as it is on the host now. */
export interface PodInterface {
  readonly name: string;
  readonly index: number;
  readonly addresses: readonly string[];
  /** Where its packets enter IP: the interface itself, or the bridge it is a port of. */
  readonly layer3: { readonly name: string; readonly index: number };
  /** Set for a port of a bridge. */
  readonly bridge: { readonly name: string; readonly index: number; readonly mac: string } | undefined;
}

/** The plan's interfaces met with the machine's. */
export interface Topology {
  readonly pods: readonly PodInterface[];
  /** Interfaces of the plan that do not exist now: their pods are no sources until they do. */
  readonly missing: readonly string[];
  readonly isBridged: boolean;
  /** Link-local addresses of this host, which no pod may answer for. */
  readonly hostLinkLocal: readonly string[];
  /** Where REDIRECT sends to: undefined = the address of the ingress interface, which all have; else this one. */
  readonly redirectTo: { readonly 4: string | undefined; readonly 6: string | undefined };
}

export function topologyOf(plan: NormalPlan, interfaces: readonly NetworkInterface[]): Topology {
  const byName = new Map(interfaces.map((one) => [one.name, one]));
  const byIndex = new Map(interfaces.map((one) => [one.index, one]));
  const pods: PodInterface[] = [];
  const missing: string[] = [];
  for (const { hostInterface, addresses } of plan.pods) {
    const found = byName.get(hostInterface);
    if (found === undefined) {
      missing.push(hostInterface);
      continue;
    }
    const master = found.master === undefined ? undefined : byIndex.get(found.master);
    const bridge = master?.isBridge === true ? master : undefined;
    pods.push({
      name: found.name,
      index: found.index,
      addresses,
      layer3: { name: (bridge ?? found).name, index: (bridge ?? found).index },
      bridge: bridge === undefined ? undefined : { name: bridge.name, index: bridge.index, mac: bridge.mac ?? '' },
    });
  }
  const ingress = pods.flatMap((pod) => byIndex.get(pod.layer3.index) ?? []);
  return Object.freeze({
    pods,
    missing,
    isBridged: pods.some((pod) => pod.bridge !== undefined),
    hostLinkLocal: [...new Set(interfaces.flatMap((one) => one.addresses.filter(isLinkLocal)))].sort(),
    redirectTo: { 4: redirectAddress(4, ingress, interfaces), 6: redirectAddress(6, ingress, interfaces) },
  });
}

/**
 * REDIRECT goes to an address of the ingress interface and drops where there is none, as on the bare veths of routed pod
 * networks. Then another address of this host serves; without any, undefined: dropping is what is left.
 */
function redirectAddress(
  family: 4 | 6,
  ingress: readonly NetworkInterface[],
  all: readonly NetworkInterface[],
): string | undefined {
  const usable = (one: NetworkInterface): string | undefined =>
    one.addresses.find((ip) => ipFamily(ip) === family && !isLinkLocal(ip) && !ip.startsWith('127.') && ip !== '::1');
  if (ingress.every((one) => usable(one) !== undefined)) return undefined;
  return all.map(usable).find((ip) => ip !== undefined);
}

export function isLinkLocal(ip: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(ip);
}
