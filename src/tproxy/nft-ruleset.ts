import { hex, otherBits } from './marks.js';
import type { MaskedMark } from './marks.js';
import { bridgeTable, inetTable, netdevTable, nftSets } from './nft-sets.js';
import type { NftSet } from './nft-sets.js';
import { counterNames } from './rule-backend.js';
import type { InterceptionCounters, RuleInput } from './rule-backend.js';

/**
 * The nftables rules as text. Three tables: `inet` captures and guards, `netdev` pins pods to their interfaces, `bridge`
 * (only where pods are on one) pins them there against all other ports and lifts pod-to-pod traffic up to IP.
 */

/** Which tables: all of them, or only those that pin pods (beside rules of iptables). */
export type NftScope = 'all' | 'pinning';

/** All tables with empty sets, which is what decides whether an update can be one of sets only. */
export function nftLayout(input: RuleInput, scope: NftScope): string {
  // Hooks hang on the interface of an index: one made anew under the old name has none.
  const interfaces = input.topology.pods.map((pod) => `# ${pod.name} is ${String(pod.index)}\n`);
  return `${interfaces.join('')}${tables(input, scope, () => [], undefined)}`;
}

/** One batch that replaces everything of ours at once. Counters go on from `counters`. */
export function nftReplaceAll(input: RuleInput, scope: NftScope, counters: InterceptionCounters): string {
  // `add` first, so that `delete` never fails; the kernel commits all or nothing.
  return `${deleteTables(scope)}${tables(input, scope, (set) => set.elements, counters)}`;
}

/** One batch that turns the sets of `previous` into those of `next`; the layouts must be equal. */
export function nftUpdateSets(previous: RuleInput, next: RuleInput, scope: NftScope): string {
  const before = new Map(nftSets(previous).map((set) => [`${set.table} ${set.name}`, new Set(set.elements)]));
  const sets = nftSets(next).filter((set) => scope === 'all' || set.table !== inetTable);
  const lines = sets.flatMap((set) => {
    const old = before.get(`${set.table} ${set.name}`) ?? new Set<string>();
    const now = new Set(set.elements);
    const gone = [...old].filter((element) => !now.has(element));
    const added = [...now].filter((element) => !old.has(element));
    const change = (verb: string, elements: readonly string[]): string[] =>
      elements.length === 0 ? [] : [`${verb} element ${set.table} ${set.name} { ${elements.join(', ')} }`];
    return [...change('delete', gone), ...change('add', added)];
  });
  return lines.map((line) => `${line}\n`).join('');
}

/** Deletes the tables of a scope, whether they exist or not. */
export function deleteTables(scope: NftScope): string {
  const names = scope === 'all' ? [inetTable, netdevTable, bridgeTable] : [netdevTable, bridgeTable];
  return names.map((table) => `add table ${table}\ndelete table ${table}\n`).join('');
}

function tables(
  input: RuleInput,
  scope: NftScope,
  elementsOf: (set: NftSet) => readonly string[],
  counters: InterceptionCounters | undefined,
): string {
  const sets = nftSets(input);
  const declare = (table: string): string[] =>
    sets
      .filter((set) => set.table === table)
      .flatMap((set) => {
        const elements = elementsOf(set);
        const list = elements.length === 0 ? [] : [`  elements = { ${elements.join(', ')} }`];
        return block(`set ${set.name}`, [set.type, ...list.map((line) => line.trim())]);
      });
  const count = (...keys: readonly (keyof InterceptionCounters)[]): string[] =>
    keys.flatMap((key) =>
      block(`counter ${counterNames[key]}`, counters === undefined ? [] : [`packets ${String(counters[key])} bytes 0`]),
    );
  const inet = (): string[] =>
    block(`table ${inetTable}`, [
      ...count('capturedOutbound', 'capturedInbound', 'refusedOutbound', 'refusedInbound'),
      ...count('hostProbes', 'hostRefused', 'translatedRefused'),
      ...declare(inetTable),
      ...(input.mode === 'tproxy' ? tproxyChains(input) : redirectChains(input)),
      ...guardChains(input),
    ]);
  const body = [
    ...(scope === 'all' ? inet() : []),
    ...(input.topology.pods.length === 0
      ? []
      : block(`table ${netdevTable}`, [...count('spoofedDropped'), ...declare(netdevTable), ...pinningChains(input)])),
    ...(input.topology.isBridged
      ? block(`table ${bridgeTable}`, [...count('spoofedDropped'), ...declare(bridgeTable), ...bridgeChains(input)])
      : []),
  ];
  return `${body.join('\n')}\n`;
}

const tcp = 'meta l4proto tcp';
const linkLocal = 'ip6 daddr fe80::/10';

/** Answers to connections that were not captured, in either direction, are none of ours. */
const notAFirstPacket = [
  'ct direction reply return',
  // Without tracking, only a packet that opens a connection can be told to open one.
  'ct state { invalid, untracked } tcp flags & (syn | rst | ack) != syn return',
];

function setMark({ mark, mask }: MaskedMark): string {
  return `meta mark set meta mark & ${hex(otherBits(mask))} | ${hex(mark)}`;
}

function matchMark(what: 'meta' | 'socket', { mark, mask }: MaskedMark): string {
  return `${what} mark & ${hex(mask)} == ${hex(mark)}`;
}

/** `goto` the chain for each way in which a packet of family 4 and 6 is captured. */
function captureRules(outbound: (family: 4 | 6) => string, inbound: (family: 4 | 6) => string): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const ip = family === 4 ? 'ip' : 'ip6';
    const fromPod = `iif . ${ip} saddr @pods${String(family)}`;
    return [
      `${fromPod} ${ip} daddr . tcp dport @outbound_ports${String(family)} ${outbound(family)}`,
      `${fromPod} ${ip} daddr @outbound_all${String(family)} ${outbound(family)}`,
      `${ip} daddr @inbound${String(family)} ${inbound(family)}`,
    ];
  });
}

function tproxyChains(input: RuleInput): string[] {
  const { intercept, upstream } = input.marks;
  const deliver = (direction: 'outbound' | 'inbound', family: 4 | 6, port: number): string[] =>
    block(`chain capture_${direction}${String(family)}`, [
      `meta nfproto ipv${String(family)} ${tcp} tproxy ip${family === 4 ? '' : '6'} to :${String(port)} ${setMark(intercept)} counter name captured_${direction} accept`,
      // Reached only when nothing listens: without this the packet would go on to the pod in plaintext.
      `${tcp} counter name refused_${direction} reject with tcp reset`,
    ]);
  return [
    ...deliver('outbound', 4, input.outboundPort),
    ...deliver('outbound', 6, input.outboundPort),
    ...deliver('inbound', 4, input.inboundPort),
    ...deliver('inbound', 6, input.inboundPort),
    ...block('chain NOVAEDGE_MESH', [
      // Packets of our established sockets, captured ones and those dialled from a client's address.
      `socket transparent 1 socket wildcard 0 ${matchMark('socket', upstream)} ${setMark(intercept)} accept`,
      ...notAFirstPacket,
      ...captureRules(
        (family) => `goto capture_outbound${String(family)}`,
        (family) => `goto capture_inbound${String(family)}`,
      ),
    ]),
    ...block('chain prerouting', [
      'type filter hook prerouting priority -150; policy accept;',
      `${tcp} jump NOVAEDGE_MESH`,
    ]),
    // A null binding: "translated" to what it was, so that no later chain (kube-proxy) translates it away from our socket.
    ...block('chain keep_destination', [
      'type nat hook prerouting priority -101; policy accept;',
      `meta nfproto ipv4 ${tcp} ${matchMark('meta', intercept)} dnat ip to ip daddr`,
      `meta nfproto ipv6 ${tcp} ${matchMark('meta', intercept)} dnat ip6 to ip6 daddr`,
    ]),
  ];
}

function redirectChains(input: RuleInput): string[] {
  const deliver = (direction: 'outbound' | 'inbound', family: 4 | 6, port: number): string[] => {
    const address = input.topology.redirectTo[family];
    const to =
      address === undefined
        ? `redirect to :${String(port)}`
        : family === 4
          ? `dnat ip to ${address}:${String(port)}`
          : `dnat ip6 to [${address}]:${String(port)}`;
    return block(`chain capture_${direction}${String(family)}`, [
      `meta nfproto ipv${String(family)} ${tcp} counter name captured_${direction} ${to}`,
    ]);
  };
  return [
    ...deliver('outbound', 4, input.outboundPort),
    ...deliver('outbound', 6, input.outboundPort),
    ...deliver('inbound', 4, input.inboundPort),
    ...deliver('inbound', 6, input.inboundPort),
    ...block(
      'chain NOVAEDGE_MESH',
      captureRules(
        (family) => `goto capture_outbound${String(family)}`,
        (family) => `goto capture_inbound${String(family)}`,
      ),
    ),
    ...block('chain prerouting', [
      'type nat hook prerouting priority -101; policy accept;',
      `${tcp} jump NOVAEDGE_MESH`,
    ]),
    // Address translation never sees a connection that is exempt from tracking.
    ...block('chain untracked', [
      'type filter hook prerouting priority -150; policy accept;',
      `ct state != untracked return`,
      `${tcp} tcp flags & (syn | rst | ack) == syn jump refuse_untracked`,
    ]),
    ...block(
      'chain refuse_untracked',
      captureRules(
        () => 'counter name refused_outbound reject with tcp reset',
        () => 'counter name refused_inbound reject with tcp reset',
      ),
    ),
  ];
}

/** What reaches enrolled pods otherwise: from this host, and after translation by others. */
function guardChains({ plan, marks }: RuleInput): string[] {
  const families = [4, 6] as const;
  const ip = { 4: 'ip', 6: 'ip6' } as const;
  const host =
    plan.hostMode === 'allow'
      ? []
      : [
          `${matchMark('meta', marks.upstream)} return`,
          ...notAFirstPacket,
          ...(plan.hostMode === 'probes'
            ? families.map(
                (family) => `${ip[family]} daddr . tcp dport @probes${String(family)} counter name host_probes return`,
              )
            : []),
          ...families.map(
            (family) => `${ip[family]} daddr @inbound${String(family)} counter name host_refused reject with tcp reset`,
          ),
          `oif @pod_links ${linkLocal} counter name host_refused reject with tcp reset`,
        ];
  const translated =
    plan.translated === 'allow'
      ? []
      : [
          ...notAFirstPacket,
          ...families.map(
            (family) =>
              `${ip[family]} daddr @inbound${String(family)} counter name translated_refused reject with tcp reset`,
          ),
        ];
  return [
    ...block('chain NOVAEDGE_HOST', host),
    ...block('chain NOVAEDGE_FORWARD', translated),
    // After destination NAT (-100), so that these see where packets really go.
    ...block('chain output', ['type filter hook output priority 0; policy accept;', `${tcp} jump NOVAEDGE_HOST`]),
    ...block('chain forward', ['type filter hook forward priority -1; policy accept;', `${tcp} jump NOVAEDGE_FORWARD`]),
  ];
}

function pinningChains({ topology }: RuleInput): string[] {
  const drop = 'counter name spoofed_dropped drop';
  const devices = topology.pods.map((pod) => `"${pod.name}"`).join(', ');
  return [
    ...block('chain neighbour_target', [
      'iifname . @th,64,128 @nd_targets return',
      '@th,64,16 & 0xffc0 == 0xfe80 @th,64,128 != @host_link_local return',
      drop,
    ]),
    ...block('chain pin_ipv6', [
      `icmpv6 type { nd-router-advert, nd-redirect } ${drop}`,
      'icmpv6 type nd-neighbor-advert jump neighbour_target',
      // Duplicate address detection and multicast listener reports have no source address yet.
      'ip6 saddr :: icmpv6 type nd-neighbor-solicit jump neighbour_target',
      'ip6 saddr :: ip6 daddr ff00::/8 return',
      'ip6 saddr fe80::/10 return',
      `iifname . ip6 saddr != @pins6 ${drop}`,
    ]),
    ...block('chain pin', [
      `type filter hook ingress devices = { ${devices} } priority -500; policy accept;`,
      `meta protocol != { ip, ip6, arp } ${drop}`,
      'meta protocol arp arp saddr ip 0.0.0.0 return',
      `meta protocol arp iifname . arp saddr ip != @pins4 ${drop}`,
      `meta protocol ip iifname . ip saddr != @pins4 ${drop}`,
      'meta protocol ip6 jump pin_ipv6',
    ]),
  ];
}

function bridgeChains({ topology }: RuleInput): string[] {
  const drop = 'counter name spoofed_dropped drop';
  const macs = topology.pods.flatMap((pod) =>
    pod.bridge === undefined ? [] : [`${String(pod.index)} : ${pod.bridge.mac}`],
  );
  // Addressed to the bridge itself, a frame is routed and so captured, where the bridge would pass it from port to port.
  const lift = `ether daddr set iif map { ${macs.join(', ')} } meta pkttype set host`;
  return block('chain prerouting', [
    'type filter hook prerouting priority -300; policy accept;',
    `ether type ip ip saddr @pods4 iif . ip saddr != @ports4 ${drop}`,
    `ether type arp arp saddr ip @pods4 iif . arp saddr ip != @ports4 ${drop}`,
    `ether type ip6 ip6 saddr @pods6 iif . ip6 saddr != @ports6 ${drop}`,
    'meta l4proto != tcp return',
    // A pod that listens on every address does so on its link-local one, which no plan knows and only neighbours reach.
    `iif @pod_ports ether type ip6 ${linkLocal} ip6 daddr != @host_link_local counter drop`,
    `ether type ip iif . ip saddr @ports4 ip daddr @captured4 ${lift}`,
    `ether type ip6 iif . ip6 saddr @ports6 ip6 daddr @captured6 ${lift}`,
    // Both directions, so that tracking sees whole connections of enrolled pods.
    `ether type ip iif . ip saddr @ports4 ip saddr @enrolled4 ip daddr @pods4 ${lift}`,
    `ether type ip6 iif . ip6 saddr @ports6 ip6 saddr @enrolled6 ip6 daddr @pods6 ${lift}`,
  ]);
}

function block(head: string, lines: readonly string[]): string[] {
  return [`${head} {`, ...lines.map((line) => `  ${line}`), '}'];
}
