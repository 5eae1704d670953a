import { agentAs, routerAs, routerIp, routerIp6 } from './router-lab.js';

export interface BirdRouterOptions {
  /** More lines of the BGP template. */
  readonly bgp?: string;
  /** More lines of the protocols over IPv4, or over IPv6. */
  readonly peer?: string;
  /** Agents over IPv4, numbered from 1. Default 1. */
  readonly agents?: number;
  /** Agents over IPv6. Default none. */
  readonly agents6?: number;
  readonly agentAs?: number;
  readonly localAs?: number;
  readonly top?: string;
}

/** A router that takes everything, with ECMP into its kernel table: protocols a1, a2, … and over IPv6 s1, s2, …. */
export function birdRouter(options: BirdRouterOptions = {}): string {
  const { agents = 1, agents6 = 0 } = options;
  const protocols = (count: number, label: string, local: string, address: (index: number) => string): string =>
    Array.from(
      { length: count },
      (
        _,
        index,
      ) => `protocol bgp ${label}${String(index + 1)} from agent { local ${local} as ${String(options.localAs ?? routerAs)};
        neighbor ${address(index + 1)} as ${String(options.agentAs ?? agentAs)}; ${options.peer ?? ''} }`,
    ).join('\n');
  return `
log stderr all;
router id ${routerIp};
debug protocols { states, events };
protocol device { scan time 2; }
protocol direct { ipv4; ipv6; interface "br0"; }
protocol kernel k4 { ipv4 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
protocol kernel k6 { ipv6 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
${options.top ?? ''}
template bgp agent {
  hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export none; }; ipv6 { import all; export none; };
  ${options.bgp ?? ''}
}
${protocols(agents, 'a', routerIp, (index) => `10.20.0.${String(index)}`)}
${protocols(agents6, 's', routerIp6, (index) => `fd20::${String(index)}`)}
`;
}
