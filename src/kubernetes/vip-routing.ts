/** `bgpConfig` and `bfd` of a ProxyVIP. */
import { ipFamily, tryParseIp } from '../core/index.js';
import type { MeshNode, MeshVip, VipBgp, VipBgpPeer } from '../mesh/index.js';
import { problemAt } from './manifest-object.js';
import { showValue } from './manifest-problem.js';
import type { FieldPath } from './manifest-problem.js';
import type { MappingContext, Typed } from './mapping-context.js';
import type { ProxyVipManifest } from './vip-schemas.js';

type TypedVip = Typed<ProxyVipManifest>;
type Speaker = VipBgp['speakers'][number];

/**
 * One node is one BGP speaker, with one AS number and one word about each router: what the first VIP (by name) says
 * counts, and a VIP that says otherwise is left out.
 */
export class SpeakerRegister {
  readonly #speakers = new Map<string, Speaker & { readonly vip: string }>();
  readonly #peers = new Map<string, VipBgpPeer & { readonly vip: string }>();

  /** What of `bgp` contradicts what was said before, or undefined; takes it where it does not. */
  take(vip: string, bgp: VipBgp): string | undefined {
    for (const { node, localAs } of bgp.speakers) {
      const other = this.#speakers.get(node);
      if (other !== undefined && other.localAs !== localAs) {
        return `AS ${String(localAs)} for node ${node}, which is AS ${String(other.localAs)} for ProxyVIP ${other.vip}`;
      }
      for (const [name, speaker] of this.#speakers) {
        if (
          name !== node &&
          speaker.localAs === localAs &&
          speaker.routerId === bgp.speakers.find((each) => each.node === node)?.routerId
        ) {
          return `router ID ${speaker.routerId} for node ${node}, which node ${name} has for ProxyVIP ${speaker.vip}`;
        }
      }
    }
    for (const peer of bgp.peers) {
      const { vip: by, ...other } = this.#peers.get(peer.address) ?? { ...peer, vip };
      if (!samePeer(other, peer)) return `another description of router ${peer.address} than ProxyVIP ${by} has`;
    }
    for (const speaker of bgp.speakers) {
      if (!this.#speakers.has(speaker.node)) this.#speakers.set(speaker.node, { ...speaker, vip });
    }
    for (const peer of bgp.peers) if (!this.#peers.has(peer.address)) this.#peers.set(peer.address, { ...peer, vip });
    return undefined;
  }

  /** The router ID that `node` has already. */
  routerIdOf(node: string): string | undefined {
    return this.#speakers.get(node)?.routerId;
  }
}

function samePeer(a: VipBgpPeer, b: VipBgpPeer): boolean {
  return a.as === b.as && a.port === b.port && a.ttlSecurity === b.ttlSecurity && a.multihop === b.multihop;
}

/** Undefined when it cannot be as written; the VIP is then left out, and the reason reported. */
export function readBgp(
  context: MappingContext,
  { object, manifest }: TypedVip,
  nodes: readonly MeshNode[],
  register: SpeakerRegister,
): VipBgp | undefined {
  const config = manifest.spec.bgpConfig;
  const wrong = (path: FieldPath, expected: string, got: string, fix: string): undefined => {
    const details = { expected, got, fix: `${fix}; until then this VIP is left out` };
    context.problems.push(problemAt(object, ['spec', 'bgpConfig', ...path], details));
    return undefined;
  };
  if (config === undefined) return wrong([], 'bgpConfig, as the mode is BGP', 'nothing', 'add it');
  if (config.localAS === undefined && config.localASBase === undefined) {
    return wrong(['localAS'], 'an AS number', 'nothing', 'add localAS or localASBase');
  }
  if (config.routerID !== undefined && !isIpv4(config.routerID)) {
    return wrong(['routerID'], 'an IPv4 address', showValue(config.routerID), 'correct it');
  }
  const speakers: Speaker[] = [];
  const asNumbers = new Map<number, string>();
  for (const node of nodes) {
    const ipv4 = node.addresses.find(isIpv4);
    // The format has one router ID for all nodes, and routers refuse two speakers of one ID: it serves a lone node only.
    const routerId = register.routerIdOf(node.name) ?? (nodes.length === 1 ? (config.routerID ?? ipv4) : ipv4);
    if (routerId === undefined) {
      return wrong(['routerID'], `an IPv4 address of node ${node.name} to name it by`, 'none', 'give the node one');
    }
    const localAs = config.localASBase === undefined ? config.localAS : asOf(config.localASBase, ipv4);
    if (localAs === undefined || localAs > 4_294_967_295) {
      return wrong(['localASBase'], `an AS number for node ${node.name}`, 'none', 'use localAS');
    }
    const other = asNumbers.get(localAs);
    if (config.localASBase !== undefined && other !== undefined) {
      const got = `AS ${String(localAs)} for ${other} and ${node.name}, whose addresses end alike`;
      return wrong(['localASBase'], 'an AS number of its own for each node', got, 'use localAS');
    }
    asNumbers.set(localAs, node.name);
    speakers.push({ node: node.name, localAs, routerId });
  }
  const peers = readPeers(config.peers ?? [], wrong);
  if (peers === undefined) return undefined;
  const community = (config.communities ?? []).findIndex((text) => !isCommunity(text));
  if (community >= 0) {
    const got = showValue(config.communities?.[community]);
    return wrong(['communities', community], 'a community such as 65000:100', got, 'correct it');
  }
  const { localPreference } = config;
  const bgp: VipBgp = {
    speakers,
    peers: [...peers],
    communities: [...(config.communities ?? [])],
    ...(localPreference === undefined ? {} : { localPreference }),
  };
  const contradiction = register.take(object.name, bgp);
  return contradiction === undefined ? bgp : wrong([], 'what other VIPs say', contradiction, 'make them agree');
}

function readPeers(
  peers: NonNullable<NonNullable<ProxyVipManifest['spec']['bgpConfig']>['peers']>,
  wrong: (path: FieldPath, expected: string, got: string, fix: string) => undefined,
): readonly VipBgpPeer[] | undefined {
  if (peers.length === 0) return wrong(['peers'], 'at least one router', 'none', 'add one');
  const read: VipBgpPeer[] = [];
  for (const [index, peer] of peers.entries()) {
    const address = tryParseIp(peer.address);
    if (address === undefined) {
      return wrong(['peers', index, 'address'], 'an IP address', showValue(peer.address), 'correct it');
    }
    if (read.some((each) => each.address === address)) {
      return wrong(['peers', index, 'address'], 'every router once', address, 'remove one of the two');
    }
    if (peer.password !== undefined) {
      const fix = 'write it into a file on the nodes and name that in the agents’ configuration (vips.passwordFiles)';
      return wrong(['peers', index, 'password'], 'no secret in a manifest', 'one', fix);
    }
    if (peer.ttlSecurity === true && peer.multihop !== undefined) {
      return wrong(['peers', index, 'multihop'], 'ttlSecurity or multihop', 'both', 'remove one of the two');
    }
    read.push({
      address,
      as: peer.as,
      port: peer.port ?? 179,
      ttlSecurity: peer.ttlSecurity ?? false,
      ...(peer.multihop === undefined ? {} : { multihop: peer.multihop }),
    });
  }
  return read;
}

/** Undefined where none is asked for. */
export function readBfd(context: MappingContext, { object, manifest }: TypedVip): MeshVip['bfd'] | 'malformed' {
  const { bfd } = manifest.spec;
  if (bfd?.enabled !== true) return undefined;
  if (bfd.echoMode === true) {
    context.problems.push(
      problemAt(object, ['spec', 'bfd', 'echoMode'], {
        severity: 'warning',
        expected: 'no echo mode, which there is none of',
        got: 'true',
        fix: 'nothing to do: failures are detected by control packets at the intervals beside it',
      }),
    );
  }
  const interval = (field: 'desiredMinTxInterval' | 'requiredMinRxInterval'): number | undefined => {
    const text = bfd[field];
    const ms = text === undefined ? 300 : durationMs(text);
    if (ms !== undefined && ms >= 10 && ms <= 60_000) return ms;
    context.problems.push(
      problemAt(object, ['spec', 'bfd', field], {
        expected: 'a duration from 10ms to 60s such as "300ms"',
        got: showValue(text),
        fix: 'correct it; until then this VIP is left out',
      }),
    );
    return undefined;
  };
  const txIntervalMs = interval('desiredMinTxInterval');
  const rxIntervalMs = interval('requiredMinRxInterval');
  if (txIntervalMs === undefined || rxIntervalMs === undefined) return 'malformed';
  return { txIntervalMs, rxIntervalMs, multiplier: bfd.detectMultiplier ?? 3 };
}

function durationMs(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|us|µs)$/.exec(text) ?? [];
  if (number === undefined || unit === undefined) return undefined;
  return Math.round(Number(number) * (unit === 's' ? 1000 : unit === 'ms' ? 1 : 0.001));
}

function isIpv4(text: string): boolean {
  const address = tryParseIp(text);
  return address !== undefined && ipFamily(address) === 4;
}

/** Base and last octet, as the format has it. */
function asOf(base: number, ipv4: string | undefined): number | undefined {
  return ipv4 === undefined ? undefined : base + Number(ipv4.split('.')[3]);
}

function isCommunity(text: string): boolean {
  const parts = /^\d{1,10}(:\d{1,10}){1,2}$/.test(text) ? text.split(':').map(Number) : [];
  return parts.length > 0 && parts.every((part) => part < (parts.length === 2 ? 65_536 : 4_294_967_296));
}
