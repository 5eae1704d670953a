import { formatSocketAddress, tryParseIp } from '../core/index.js';
import { TproxyError } from './errors.js';

/** What the kernel has to capture on one node, as values. Order and duplicates do not matter. */
export interface InterceptionPlan {
  /** The node's own pods, each tied to its host-side interface: what claims one of these addresses elsewhere is dropped. */
  readonly pods: readonly { readonly hostInterface: string; readonly addresses: readonly string[] }[];
  /** Destinations captured from these pods to the outbound port: an address and port, or every TCP port of an address. */
  readonly outbound: readonly { readonly ip: string; readonly port?: number | undefined }[];
  /** Addresses of local enrolled pods: TCP to them from anything else than these pods goes to the inbound port. */
  readonly inbound: readonly { readonly ip: string }[];
  /** TCP from this host itself to `inbound`: all, none, or only the probe ports (the agent's own connections always may). */
  readonly host: {
    readonly mode: 'probes' | 'allow' | 'deny';
    readonly probes: readonly { readonly ip: string; readonly port: number }[];
  };
  /**
   * Connections that reach an `inbound` address only after translation elsewhere, so that they could not be captured: a
   * NodePort, or a ClusterIP that is not in `outbound`. Default `refuse`.
   */
  readonly translated?: 'refuse' | 'allow' | undefined;
}

/** A plan that was checked: canonical, sorted, without duplicates, by address family. */
export interface NormalPlan {
  readonly pods: readonly { readonly hostInterface: string; readonly addresses: readonly string[] }[];
  readonly outbound: readonly { readonly ip: string; readonly port?: number }[];
  readonly inbound: readonly string[];
  readonly probes: readonly { readonly ip: string; readonly port: number }[];
  readonly hostMode: InterceptionPlan['host']['mode'];
  readonly translated: 'refuse' | 'allow';
}

/** Checks and canonicalises. Throws `TPROXY_PLAN_INVALID` naming the entry. */
export function normalPlan(plan: InterceptionPlan): NormalPlan {
  const pods = new Map<string, Set<string>>();
  const owner = new Map<string, string>();
  for (const pod of plan.pods) {
    const device = checkedInterface(pod.hostInterface);
    const addresses = pods.get(device) ?? new Set();
    pods.set(device, addresses);
    for (const address of pod.addresses) {
      const ip = checkedIp(address, `pods: ${device}`);
      const other = owner.get(ip) ?? device;
      // Two interfaces for one address would let either speak for the other.
      if (other !== device) throw invalid(`pods: ${ip} is claimed by the interfaces ${other} and ${device}`);
      owner.set(ip, device);
      addresses.add(ip);
    }
  }
  const outbound = plan.outbound.map(({ ip, port }) => {
    const canonical = checkedIp(ip, 'outbound');
    return port === undefined ? { ip: canonical } : { ip: canonical, port: checkedPort(port, canonical) };
  });
  const probes = plan.host.probes.map(({ ip, port }) => {
    const canonical = checkedIp(ip, 'host.probes');
    return { ip: canonical, port: checkedPort(port, canonical) };
  });
  return Object.freeze({
    pods: [...pods]
      .map(([hostInterface, addresses]) => ({ hostInterface, addresses: [...addresses].sort() }))
      .sort((a, b) => (a.hostInterface < b.hostInterface ? -1 : 1)),
    outbound: unique(outbound),
    inbound: [...new Set(plan.inbound.map(({ ip }) => checkedIp(ip, 'inbound')))].sort(),
    probes: unique(probes),
    hostMode: plan.host.mode,
    translated: plan.translated ?? 'refuse',
  });
}

function unique<T extends { readonly ip: string; readonly port?: number }>(entries: readonly T[]): readonly T[] {
  const key = ({ ip, port }: T): string => (port === undefined ? ip : formatSocketAddress({ ip, port }));
  const byKey = new Map(entries.map((entry) => [key(entry), entry]));
  return [...byKey.keys()].sort().flatMap((name) => byKey.get(name) ?? []);
}

function checkedIp(text: string, where: string): string {
  const ip = tryParseIp(text);
  if (ip === undefined) throw invalid(`${where}: expected an IP address, got ${JSON.stringify(text)}`);
  return ip;
}

function checkedPort(port: number, ip: string): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw invalid(`${ip}: expected a port from 1 to 65535, got ${String(port)}`);
  return port;
}

/** These names become part of rule text, so nothing but what the kernel allows and no quoting can change gets through. */
function checkedInterface(name: string): string {
  if (!/^[A-Za-z0-9_.@-]{1,15}$/.test(name) || name === '.' || name === '..') {
    throw invalid(
      `pods: expected an interface name of 1 to 15 letters, digits and _ . @ -, got ${JSON.stringify(name)}`,
    );
  }
  return name;
}

function invalid(why: string): TproxyError {
  return new TproxyError('TPROXY_PLAN_INVALID', `interception plan: ${why}`);
}
