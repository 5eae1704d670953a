import { ipBytes, ipFamily } from '../core/index.js';
import type { RuleInput } from './rule-backend.js';

/** The sets of the nftables rules: all that changes from plan to plan, so that most updates touch nothing else. */
export interface NftSet {
  /** `inet meshwright` and the like. */
  readonly table: string;
  readonly name: string;
  /** `type …` or `typeof …`. */
  readonly type: string;
  readonly elements: readonly string[];
}

export const nftTable = 'meshwright';
export const inetTable = `inet ${nftTable}`;
export const netdevTable = `netdev ${nftTable}`;
export const bridgeTable = `bridge ${nftTable}`;

const families = [4, 6] as const;
const addressType = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;

export function nftSets(input: RuleInput): readonly NftSet[] {
  return [...inetSets(input), ...netdevSets(input), ...bridgeSets(input)];
}

function inetSets({ plan, topology }: RuleInput): NftSet[] {
  const links: NftSet = {
    table: inetTable,
    name: 'pod_links',
    type: 'type iface_index',
    elements: [...new Set(topology.pods.map((pod) => String(pod.layer3.index)))].sort(),
  };
  const byFamily = families.flatMap((family) => {
    const of = (ip: string): boolean => ipFamily(ip) === family;
    const type = addressType[family];
    const set = (name: string, setType: string, elements: readonly string[]): NftSet => ({
      table: inetTable,
      name: `${name}${String(family)}`,
      type: `type ${setType}`,
      elements: [...new Set(elements)].sort(),
    });
    const outbound = plan.outbound.filter(({ ip }) => of(ip));
    return [
      // By index, not by name: an interface made anew under the old name is not that pod's.
      set(
        'pods',
        `iface_index . ${type}`,
        topology.pods.flatMap((pod) => pod.addresses.filter(of).map((ip) => `${String(pod.layer3.index)} . ${ip}`)),
      ),
      set(
        'outbound_ports',
        `${type} . inet_service`,
        outbound.flatMap(({ ip, port }) => (port === undefined ? [] : [`${ip} . ${String(port)}`])),
      ),
      set(
        'outbound_all',
        type,
        outbound.filter(({ port }) => port === undefined).map(({ ip }) => ip),
      ),
      set('inbound', type, plan.inbound.filter(of)),
      set(
        'probes',
        `${type} . inet_service`,
        plan.probes.filter(({ ip }) => of(ip)).map(({ ip, port }) => `${ip} . ${String(port)}`),
      ),
    ];
  });
  return [links, ...byFamily];
}

function netdevSets({ topology }: RuleInput): NftSet[] {
  if (topology.pods.length === 0) return [];
  const pins = families.map((family) => ({
    table: netdevTable,
    name: `pins${String(family)}`,
    type: `type ifname . ${addressType[family]}`,
    elements: topology.pods.flatMap((pod) =>
      pod.addresses.filter((ip) => ipFamily(ip) === family).map((ip) => `"${pod.name}" . ${ip}`),
    ),
  }));
  // Neighbour discovery has its target in the payload, for which nft has no address type.
  const targets = topology.pods.flatMap((pod) =>
    pod.addresses.filter((ip) => ipFamily(ip) === 6).map((ip) => `"${pod.name}" . ${payloadNumber(ip)}`),
  );
  return [
    ...pins,
    { table: netdevTable, name: 'nd_targets', type: 'typeof iifname . @th,64,128', elements: targets },
    {
      table: netdevTable,
      name: 'host_link_local',
      type: 'typeof @th,64,128',
      elements: topology.hostLinkLocal.map(payloadNumber),
    },
  ];
}

function bridgeSets({ plan, topology }: RuleInput): NftSet[] {
  const bridged = topology.pods.filter((pod) => pod.bridge !== undefined);
  if (bridged.length === 0) return [];
  const ports: NftSet = {
    table: bridgeTable,
    name: 'pod_ports',
    type: 'type iface_index',
    elements: bridged.map((pod) => String(pod.index)).sort(),
  };
  const own: NftSet = {
    table: bridgeTable,
    name: 'host_link_local',
    type: 'type ipv6_addr',
    elements: topology.hostLinkLocal,
  };
  const byFamily = families.flatMap((family) => {
    const of = (ip: string): boolean => ipFamily(ip) === family;
    const type = addressType[family];
    const set = (name: string, setType: string, elements: readonly string[]): NftSet => ({
      table: bridgeTable,
      name: `${name}${String(family)}`,
      type: `type ${setType}`,
      elements: [...new Set(elements)].sort(),
    });
    const captured = [...plan.outbound.filter(({ port }) => port === undefined).map(({ ip }) => ip), ...plan.inbound];
    return [
      set(
        'pods',
        type,
        bridged.flatMap((pod) => pod.addresses.filter(of)),
      ),
      set(
        'ports',
        `iface_index . ${type}`,
        bridged.flatMap((pod) => pod.addresses.filter(of).map((ip) => `${String(pod.index)} . ${ip}`)),
      ),
      set('captured', type, captured.filter(of)),
      set('enrolled', type, plan.inbound.filter(of)),
    ];
  });
  return [ports, own, ...byFamily];
}

function payloadNumber(ip: string): string {
  return `0x${Buffer.from(ipBytes(ip)).toString('hex')}`;
}
