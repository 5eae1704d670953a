import { Cidr, ipFamily, parseIp } from '../../core/index.js';
import type { BgpFamily } from './codec/constants.js';
import { integer, invalid, parsed, resolveAttributes } from './route.js';
import type { BgpRoute, BgpRouteAttributes, ResolvedAttributes } from './route.js';
import { maxPasswordBytes } from './transport/socket-options.js';

/** One neighbour. Its address is what it is known by. */
export interface BgpPeerOptions {
  readonly address: string;
  /** For people, logs and the `peers` of a route. Default the address. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** 1 to 4294967295; the own AS makes the session internal (iBGP). */
  readonly remoteAs: number;
  /** The port dialled. Default 179. */
  readonly port?: number | undefined;
  /** The own address of the session; connections to another are refused. Default what the routing table says. */
  readonly localAddress?: string | undefined;
  /** Never dial, wait for the peer (needs `listen`). Default false. */
  readonly passive?: boolean | undefined;
  /** TCP MD5 password (RFC 2385), at most 80 bytes. Both sides need it. */
  readonly password?: string | undefined;
  /** GTSM (RFC 5082): send TTL 255, demand 255, or 256 minus the number of hops given. Both sides need it. Default false. */
  readonly ttlSecurity?: boolean | number | undefined;
  /** TTL of what is sent, 1 to 255, for a peer of another AS that is not on the same link. Default 1 (own AS: 64). */
  readonly multihop?: number | undefined;
  /** Default both; used are those that the peer has too. */
  readonly families?: readonly BgpFamily[] | undefined;
  /** 3 to 65535, or 0 for none; the lower of both sides counts. Default 90. */
  readonly holdTimeSeconds?: number | undefined;
  /** Default a third of the negotiated hold time, which is also the most. */
  readonly keepaliveSeconds?: number | undefined;
  /** Between two attempts to connect, and how long one may take: 100 to 600,000. Default 5000. */
  readonly connectRetryMs?: number | undefined;
  /** How long nothing is tried after a failure: doubles from the first to the longest. Default 1000 and 60,000. */
  readonly idleHoldMs?: { readonly first: number; readonly max: number } | undefined;
  /** Take part in graceful restart where the speaker does. Default true. */
  readonly gracefulRestart?: boolean | undefined;
  /** Networks that contain what may be announced to this peer, or a function that says so. Default everything. */
  readonly announce?: readonly string[] | ((route: BgpRoute) => boolean) | undefined;
  /** Said of every route sent to this peer, where the route itself does not say it; communities are added up. */
  readonly attributes?: BgpRouteAttributes | undefined;
  /** Default the own address of the session, for routes of its family; routes of the other family need one here. */
  readonly nextHop?: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined } | undefined;
  /** Most networks that the peer may announce before the session is closed (none are kept in any case). Default no limit. */
  readonly maxPrefixes?: number | undefined;
}

/** As given, checked, with defaults. */
export interface ResolvedPeer {
  readonly address: string;
  readonly name: string;
  readonly description: string | undefined;
  /** What a change of makes a new session necessary. */
  readonly session: {
    readonly remoteAs: number;
    readonly port: number;
    readonly localAddress: string | undefined;
    readonly passive: boolean;
    readonly password: string | undefined;
    readonly ttl: number;
    readonly minTtl: number | undefined;
    readonly families: readonly BgpFamily[];
    readonly holdTimeSeconds: number;
    readonly keepaliveSeconds: number | undefined;
    readonly connectRetryMs: number;
    readonly idleHoldMs: { readonly first: number; readonly max: number };
    readonly gracefulRestart: boolean;
    readonly maxPrefixes: number | undefined;
  };
  /** What a change of only changes what is announced. */
  readonly policy: {
    readonly announce: ((route: BgpRoute) => boolean) | readonly string[] | undefined;
    readonly attributes: ResolvedAttributes;
    readonly nextHop: Readonly<Record<BgpFamily, string | undefined>>;
  };
}

/** Throws `VIP_CONFIGURATION_INVALID`. */
export function resolvePeer(options: BgpPeerOptions, localAs: number): ResolvedPeer {
  const where = `peer ${options.name ?? options.address}`;
  const field = <T>(name: string, parse: () => T): T => parsed(`${where}: ${name}`, parse);
  const address = field('address', () => parseIp(options.address));
  const { localAddress, password, holdTimeSeconds = 90, keepaliveSeconds, connectRetryMs = 5000 } = options;
  const { idleHoldMs = { first: 1000, max: 60_000 }, families = ['ipv4', 'ipv6'] } = options;
  integer(options.remoteAs, 1, 0xffff_ffff, `${where}: remoteAs`);
  integer(options.port, 1, 65_535, `${where}: port`);
  integer(options.multihop, 1, 255, `${where}: multihop`);
  integer(options.maxPrefixes, 0, 10_000_000, `${where}: maxPrefixes`);
  integer(connectRetryMs, 100, 600_000, `${where}: connectRetryMs`);
  if (holdTimeSeconds !== 0) integer(holdTimeSeconds, 3, 65_535, `${where}: holdTimeSeconds`);
  integer(keepaliveSeconds, 1, 21_845, `${where}: keepaliveSeconds`);
  integer(idleHoldMs.first, 10, 3_600_000, `${where}: idleHoldMs.first`);
  integer(idleHoldMs.max, idleHoldMs.first, 3_600_000, `${where}: idleHoldMs.max`);
  if (password !== undefined && !(password.length > 0 && Buffer.byteLength(password) <= maxPasswordBytes)) {
    throw invalid(`${where}: password: expected 1 to ${String(maxPasswordBytes)} bytes`);
  }
  const own = localAddress === undefined ? undefined : field('localAddress', () => parseIp(localAddress));
  if (own !== undefined && ipFamily(own) !== ipFamily(address)) {
    throw invalid(`${where}: localAddress: expected the family of ${address}, got ${own}`);
  }
  if (families.length === 0 || families.some((family) => family !== 'ipv4' && family !== 'ipv6')) {
    throw invalid(`${where}: families: expected ipv4, ipv6 or both`);
  }
  return Object.freeze({
    address,
    name: options.name ?? address,
    description: options.description,
    session: Object.freeze({
      remoteAs: options.remoteAs,
      port: options.port ?? 179,
      localAddress: own,
      passive: options.passive ?? false,
      password,
      ...ttlOf(options, localAs, where),
      families: [...new Set(families)],
      holdTimeSeconds,
      keepaliveSeconds,
      connectRetryMs,
      idleHoldMs: { first: idleHoldMs.first, max: idleHoldMs.max },
      gracefulRestart: options.gracefulRestart ?? true,
      maxPrefixes: options.maxPrefixes,
    }),
    policy: Object.freeze({
      announce:
        typeof options.announce === 'object'
          ? options.announce.map((text) => field('announce', () => Cidr.parse(text).toString()))
          : options.announce,
      attributes: resolveAttributes(options.attributes ?? {}, where),
      nextHop: { ipv4: nextHopOf(options, 'ipv4', where), ipv6: nextHopOf(options, 'ipv6', where) },
    }),
  });
}

/** Whether the session must be made anew, only the routes looked at again, or neither. */
export function changeOf(before: ResolvedPeer, after: ResolvedPeer): 'session' | 'policy' | 'none' {
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
  if (!same(before.session, after.session)) return 'session';
  const [a, b] = [before.policy, after.policy];
  const sameFilter =
    typeof a.announce === 'function' || typeof b.announce === 'function' ? a.announce === b.announce : true;
  return same(a, b) && sameFilter && before.name === after.name ? 'none' : 'policy';
}

function ttlOf(options: BgpPeerOptions, localAs: number, where: string): { ttl: number; minTtl: number | undefined } {
  const { ttlSecurity = false, multihop } = options;
  if (ttlSecurity === false) return { ttl: multihop ?? (options.remoteAs === localAs ? 64 : 1), minTtl: undefined };
  if (multihop !== undefined) {
    throw invalid(`${where}: ttlSecurity and multihop exclude each other; give ttlSecurity the number of hops`);
  }
  const hops = ttlSecurity === true ? 1 : ttlSecurity;
  integer(hops, 1, 254, `${where}: ttlSecurity`);
  return { ttl: 255, minTtl: 256 - hops };
}

function nextHopOf(options: BgpPeerOptions, family: BgpFamily, where: string): string | undefined {
  const text = options.nextHop?.[family];
  if (text === undefined) return undefined;
  const ip = parsed(`${where}: nextHop.${family}`, () => parseIp(text));
  if (ipFamily(ip) !== (family === 'ipv4' ? 4 : 6)) throw invalid(`${where}: nextHop.${family}: got ${ip}`);
  return ip;
}
