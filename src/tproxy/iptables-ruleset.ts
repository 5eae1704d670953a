import { ipFamily } from '../core/index.js';
import { formatMark } from './marks.js';
import { counterNames } from './rule-backend.js';
import type { InterceptionCounters, RuleInput } from './rule-backend.js';

/**
 * The rules for iptables as the input of `iptables-restore --noflush`: each table changes at once. Our chains are declared
 * in every table, which empties what an earlier plan or mode left in them.
 */

export type Family = 4 | 6;

interface Table {
  readonly name: 'raw' | 'mangle' | 'nat' | 'filter';
  readonly chains: Readonly<Record<string, readonly string[]>>;
  /** Jumps from built-in chains, each put first there. */
  readonly jumps: readonly string[];
}

/** `existing`: jumps of ours that are there already (`-A …` lines of `iptables-save`, by table), replaced in the same commit. */
export function iptablesRestoreInput(
  input: RuleInput,
  family: Family,
  pinsByIptables: boolean,
  existing: ReadonlyMap<string, readonly string[]>,
): string {
  return tables(input, family, pinsByIptables)
    .map((table) => {
      const chains = Object.entries(table.chains);
      return [
        `*${table.name}`,
        ...chains.map(([chain]) => `:${chain} - [0:0]`),
        ...chains.flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}`)),
        ...(existing.get(table.name) ?? []).map((jump) => jump.replace(/^-A/, '-D')),
        ...table.jumps.map((jump) => jump.replace(/^(\S+)/, '-I $1 1')),
        'COMMIT',
        '',
      ].join('\n');
    })
    .join('');
}

function tables(input: RuleInput, family: Family, pinsByIptables: boolean): readonly Table[] {
  const isTproxy = input.mode === 'tproxy';
  const pins: Table = {
    name: 'raw',
    chains: { NOVAEDGE_PIN: pinsByIptables ? pinRules(input, family) : [] },
    jumps: pinsByIptables ? ['PREROUTING -j NOVAEDGE_PIN'] : [],
  };
  return [
    // The guards first: between the commits of two tables nothing may pass that is refused before and after.
    {
      name: 'filter',
      chains: { NOVAEDGE_HOST: hostRules(input, family), NOVAEDGE_FORWARD: translatedRules(input, family) },
      jumps: ['OUTPUT -p tcp -j NOVAEDGE_HOST', 'FORWARD -p tcp -j NOVAEDGE_FORWARD'],
    },
    ...(pinsByIptables ? [pins] : []),
    {
      name: 'nat',
      chains: isTproxy
        ? {
            // Ends the look-up, so that kube-proxy's rules behind do not translate the destination away from our socket.
            NOVAEDGE_MESH: [`-m mark --mark ${formatMark(input.marks.intercept)} -j ACCEPT`],
            NOVAEDGE_OUT: [],
            NOVAEDGE_IN: [],
          }
        : captureChains(input, family, [], redirectTarget),
      jumps: ['PREROUTING -p tcp -j NOVAEDGE_MESH'],
    },
    {
      name: 'mangle',
      chains: {
        NOVAEDGE_DIVERT: [`-j MARK --set-xmark ${formatMark(input.marks.intercept)}`, '-j ACCEPT'],
        ...(isTproxy
          ? // Without --nowildcard: only established sockets, or the listener itself would be reachable under any address.
            captureChains(
              input,
              family,
              ['-p tcp -m socket --transparent -j NOVAEDGE_DIVERT', ...notAFirstPacket],
              tproxyTarget,
            )
          : // Address translation never sees a connection that is exempt from tracking.
            captureChains(
              input,
              family,
              ['-m conntrack ! --ctstate UNTRACKED -j RETURN', ...notAFirstPacket],
              () => '-j DROP',
            )),
      },
      jumps: ['PREROUTING -p tcp -j NOVAEDGE_MESH'],
    },
  ];
}

const notAFirstPacket = [
  '-m conntrack --ctdir REPLY -j RETURN',
  '-p tcp -m conntrack --ctstate INVALID,UNTRACKED -m tcp ! --tcp-flags SYN,RST,ACK SYN -j RETURN',
];

type Direction = 'outbound' | 'inbound';
type Target = (input: RuleInput, family: Family, direction: Direction) => string;

function captureChains(
  input: RuleInput,
  family: Family,
  first: readonly string[],
  target: Target,
): Readonly<Record<string, readonly string[]>> {
  const of = (ip: string): boolean => ipFamily(ip) === family;
  const { plan, topology } = input;
  return {
    NOVAEDGE_MESH: [
      ...first,
      ...topology.pods.flatMap((pod) =>
        pod.addresses.filter(of).map((ip) => `-i ${pod.layer3.name} -s ${ip} -j NOVAEDGE_OUT`),
      ),
      '-j NOVAEDGE_IN',
    ],
    NOVAEDGE_OUT: plan.outbound
      .filter(({ ip }) => of(ip))
      .map(({ ip, port }) => {
        const ports = port === undefined ? '' : ` -m tcp --dport ${String(port)}`;
        return `-d ${ip} -p tcp${ports} ${comment('capturedOutbound')} ${target(input, family, 'outbound')}`;
      }),
    NOVAEDGE_IN: plan.inbound
      .filter(of)
      .map((ip) => `-d ${ip} -p tcp ${comment('capturedInbound')} ${target(input, family, 'inbound')}`),
  };
}

/** The target itself drops what it has no listener for; there is no way to answer with a reset in this place. */
const tproxyTarget: Target = (input, _family, direction) =>
  `-j TPROXY --on-port ${String(portOf(input, direction))} --tproxy-mark ${formatMark(input.marks.intercept)}`;

const redirectTarget: Target = (input, family, direction) => {
  const address = input.topology.redirectTo[family];
  const port = String(portOf(input, direction));
  if (address === undefined) return `-j REDIRECT --to-ports ${port}`;
  return `-j DNAT --to-destination ${family === 6 ? `[${address}]` : address}:${port}`;
};

function portOf(input: RuleInput, direction: Direction): number {
  return direction === 'outbound' ? input.outboundPort : input.inboundPort;
}

function hostRules({ plan, marks, topology }: RuleInput, family: Family): string[] {
  if (plan.hostMode === 'allow') return [];
  const of = (ip: string): boolean => ipFamily(ip) === family;
  const links = [...new Set(topology.pods.map((pod) => pod.layer3.name))].sort();
  const probes = plan.hostMode === 'probes' ? plan.probes.filter(({ ip }) => of(ip)) : [];
  return [
    `-m mark --mark ${formatMark(marks.upstream)} -j RETURN`,
    ...notAFirstPacket,
    ...probes.map(
      ({ ip, port }) => `-d ${ip} -p tcp -m tcp --dport ${String(port)} ${comment('hostProbes')} -j RETURN`,
    ),
    ...plan.inbound
      .filter(of)
      .map((ip) => `-d ${ip} -p tcp ${comment('hostRefused')} -j REJECT --reject-with tcp-reset`),
    // A pod that listens on every address does so on its link-local one, which no plan knows.
    ...(family === 6
      ? links.map(
          (link) => `-o ${link} -d fe80::/10 -p tcp ${comment('hostRefused')} -j REJECT --reject-with tcp-reset`,
        )
      : []),
  ];
}

function translatedRules({ plan }: RuleInput, family: Family): string[] {
  if (plan.translated === 'allow') return [];
  const addresses = plan.inbound.filter((ip) => ipFamily(ip) === family);
  return [
    ...notAFirstPacket,
    ...addresses.map((ip) => `-d ${ip} -p tcp ${comment('translatedRefused')} -j REJECT --reject-with tcp-reset`),
  ];
}

function pinRules({ topology }: RuleInput, family: Family): string[] {
  return topology.pods.flatMap((pod) => {
    const own = pod.addresses.filter((ip) => ipFamily(ip) === family);
    const also = family === 6 ? ['fe80::/10', '::/128'] : [];
    return [
      ...[...own, ...also].map((source) => `-i ${pod.name} -s ${source} -j RETURN`),
      `-i ${pod.name} ${comment('spoofedDropped')} -j DROP`,
    ];
  });
}

function comment(counter: keyof InterceptionCounters): string {
  return `-m comment --comment ${counterNames[counter]}`;
}
