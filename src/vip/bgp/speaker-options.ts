import { ipFamily, parseIp, silentLogger, systemClock, systemRandom } from '../../core/index.js';
import type { Clock, Logger, Observer, Random } from '../../core/index.js';
import { noObserver } from '../../core/index.js';
import type { BgpEvent } from './events.js';
import { resolvePeer } from './peer-options.js';
import type { BgpPeerOptions, ResolvedPeer } from './peer-options.js';
import { integer, invalid, parsed } from './route.js';
import { TcpTransport } from './transport/tcp-transport.js';
import type { BgpTransport } from './transport/transport.js';

/** Graceful restart (RFC 4724): peers keep the routes while this process is away. */
export interface BgpGracefulRestartOptions {
  /** How long they keep them: 1 to 4095. Default 120. */
  readonly restartTimeSeconds?: number | undefined;
  /** This process follows one that ended without withdrawing, and its addresses are still served. Default false. */
  readonly restarting?: boolean | undefined;
  /** Traffic goes on while the process is away, since the addresses stay where they are. Default true. */
  readonly forwardingPreserved?: boolean | undefined;
  /** After a restart, how long to wait for `routesComplete()` before peers are told that all is sent. Default 10,000. */
  readonly routesCompleteWithinMs?: number | undefined;
}

export interface BgpSpeakerOptions {
  /** 1 to 4294967295. */
  readonly localAs: number;
  /** The BGP identifier, an IPv4 address, unique among speakers. */
  readonly routerId: string;
  readonly peers: readonly BgpPeerOptions[];
  /** Take connections from peers. Default: none are taken, peers are dialled only. */
  readonly listen?:
    | {
        /** Default 179, which needs CAP_NET_BIND_SERVICE. */
        readonly port?: number | undefined;
        /** Default `0.0.0.0` and `::`, the latter where there is IPv6. At least one. */
        readonly hosts?: readonly string[] | undefined;
      }
    | undefined;
  /** Default off: a peer drops the routes as soon as the session breaks. */
  readonly gracefulRestart?: BgpGracefulRestartOptions | undefined;
  /** How long `close()` announces everything as about to go (GRACEFUL_SHUTDOWN) before it ends the sessions. Default 0. */
  readonly drainMs?: number | undefined;
  readonly transport?: BgpTransport | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<BgpEvent> | undefined;
}

export type ResolvedGracefulRestart = {
  readonly [K in keyof BgpGracefulRestartOptions]-?: NonNullable<BgpGracefulRestartOptions[K]>;
};

export interface ResolvedSpeakerOptions {
  readonly localAs: number;
  readonly routerId: string;
  readonly peers: readonly ResolvedPeer[];
  readonly listen:
    { readonly port: number; readonly hosts: readonly string[]; readonly skipMissingFamilies: boolean } | undefined;
  readonly gracefulRestart: ResolvedGracefulRestart | undefined;
  readonly drainMs: number;
  readonly transport: BgpTransport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observer: Observer<BgpEvent>;
}

/** Throws `VIP_CONFIGURATION_INVALID`. */
export function resolveSpeakerOptions(options: BgpSpeakerOptions): ResolvedSpeakerOptions {
  const { localAs, listen, gracefulRestart, drainMs = 0, clock = systemClock } = options;
  if (localAs === undefined) throw invalid('localAs: expected an AS number, got none');
  integer(localAs, 1, 0xffff_ffff, 'localAs');
  integer(listen?.port, 0, 65_535, 'listen.port');
  if (listen?.hosts?.length === 0) throw invalid('listen.hosts: expected at least one address, got none');
  integer(gracefulRestart?.restartTimeSeconds, 1, 4095, 'gracefulRestart.restartTimeSeconds');
  integer(gracefulRestart?.routesCompleteWithinMs, 0, 4_095_000, 'gracefulRestart.routesCompleteWithinMs');
  integer(drainMs, 0, 3_600_000, 'drainMs');
  const routerId = parsed('routerId', () => parseIp(options.routerId));
  if (ipFamily(routerId) !== 4 || routerId === '0.0.0.0') {
    throw invalid(`routerId: expected an IPv4 address other than 0.0.0.0, got ${routerId}`);
  }
  return Object.freeze({
    localAs,
    routerId,
    peers: resolvePeers(options.peers, localAs, listen !== undefined),
    listen:
      listen === undefined
        ? undefined
        : {
            port: listen.port ?? 179,
            skipMissingFamilies: listen.hosts === undefined,
            hosts: (listen.hosts ?? ['0.0.0.0', '::']).map((host) => parsed('listen.hosts', () => parseIp(host))),
          },
    gracefulRestart:
      gracefulRestart === undefined
        ? undefined
        : Object.freeze({
            restartTimeSeconds: gracefulRestart.restartTimeSeconds ?? 120,
            restarting: gracefulRestart.restarting ?? false,
            forwardingPreserved: gracefulRestart.forwardingPreserved ?? true,
            routesCompleteWithinMs: gracefulRestart.routesCompleteWithinMs ?? 10_000,
          }),
    drainMs,
    transport: options.transport ?? new TcpTransport(clock),
    clock,
    random: options.random ?? systemRandom,
    logger: options.logger ?? silentLogger,
    observer: options.observer ?? noObserver,
  });
}

/** All peers, each address and each name once. Throws `VIP_CONFIGURATION_INVALID`. */
export function resolvePeers(
  peers: readonly BgpPeerOptions[],
  localAs: number,
  listens: boolean,
): readonly ResolvedPeer[] {
  const resolved = peers.map((peer) => resolvePeer(peer, localAs));
  for (const field of ['address', 'name'] as const) {
    const seen = new Set<string>();
    for (const peer of resolved) {
      if (seen.has(peer[field])) throw invalid(`peers: two have the ${field} ${peer[field]}`);
      seen.add(peer[field]);
    }
  }
  const waiting = resolved.find(({ session }) => session.passive);
  if (waiting !== undefined && !listens) {
    throw invalid(`peer ${waiting.name}: passive: nobody could connect, for the speaker has no \`listen\``);
  }
  return resolved;
}
