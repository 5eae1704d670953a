import { isDeepStrictEqual } from 'node:util';
import { LatestValueCell, describeError } from '../core/index.js';
import type { LatestValue, Logger } from '../core/index.js';
import type { BfdMode, BfdTimerOptions } from './bfd/index.js';
import type { BgpPeerOptions, BgpPeerState, BgpRoute, BgpSpeakerOptions } from './bgp/index.js';
import type { BfdPart, SpeakerPart, VipParts } from './parts.js';

/** BFD with one BGP peer; both sides need it. */
export interface VipPeerBfd extends BfdTimerOptions {
  /** Default `auto`: UDP 3784 or 4784, whichever the peer uses. */
  readonly mode?: BfdMode | undefined;
  readonly minTtl?: number | undefined;
}

export interface VipBgpPeer extends BgpPeerOptions {
  /** Default none. True: 300 ms three times. */
  readonly bfd?: boolean | VipPeerBfd | undefined;
}

export interface VipBgpOptions extends Omit<
  BgpSpeakerOptions,
  'peers' | 'clock' | 'random' | 'logger' | 'observer' | 'transport' | 'drainMs'
> {
  readonly peers: readonly VipBgpPeer[];
}

interface Watched {
  readonly local: string;
  readonly options: boolean | VipPeerBfd;
  readonly session: { close(): Promise<void> };
}

/**
 * Routes to the present BGP speaker, whichever that is, and BFD for each of its peers: a session is started when the peer is
 * Established (its local address is known then), and tells the speaker, for that peer alone, when the peer is gone or back.
 */
export class BgpAnnouncer {
  readonly #parts: VipParts;
  readonly #logger: Logger;
  readonly #routes = new Map<string, { readonly route: BgpRoute; draining: boolean }>();
  readonly #peers = new LatestValueCell<readonly BgpPeerState[]>([]);
  readonly #watched = new Map<string, Watched>();
  #options: VipBgpOptions | undefined;
  #speaker: SpeakerPart | undefined;
  #bfd: BfdPart | undefined;
  #following: AbortController | undefined;
  #closed = false;

  constructor(parts: VipParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
  }

  /** The peers as they are; none without a speaker. */
  get peers(): LatestValue<readonly BgpPeerState[]> {
    return this.#peers;
  }

  get configured(): boolean {
    return this.#speaker !== undefined;
  }

  /** Changes peers in place; a change of anything else makes a new speaker. Throws as `BgpSpeaker.create`, before anything changed. */
  async configure(options: VipBgpOptions | undefined): Promise<void> {
    const before = this.#options;
    if (isDeepStrictEqual(before, options)) return;
    const needsBfd = options?.peers.some(({ bfd }) => bfd !== undefined && bfd !== false) === true;
    if (needsBfd) this.#bfd ??= await this.#parts.createBfd();
    if (this.#speaker !== undefined && before !== undefined && options !== undefined && sameSpeaker(before, options)) {
      this.#speaker.setPeers(options.peers.map(withoutBfd));
    } else {
      // The old one first: two cannot listen on one port, nor speak to one peer.
      await this.#endSpeaker();
      if (options !== undefined) {
        this.#speaker = await this.#parts.createSpeaker({ ...options, peers: options.peers.map(withoutBfd) });
        for (const { route, draining } of this.#routes.values()) this.#send(route, draining);
        void this.#follow(this.#speaker);
      }
    }
    this.#options = options;
    this.#watchPeers(this.#peers.current);
  }

  announce(route: BgpRoute): void {
    this.#routes.set(route.prefix, { route, draining: false });
    this.#send(route, false);
  }

  drain(prefix: string): void {
    const known = this.#routes.get(prefix);
    if (known !== undefined) known.draining = true;
    this.#speaker?.drain(prefix);
  }

  withdraw(prefix: string): void {
    this.#routes.delete(prefix);
    this.#speaker?.withdraw(prefix);
  }

  routesComplete(): void {
    this.#speaker?.routesComplete();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#endSpeaker();
    await this.#bfd?.close();
  }

  destroy(): void {
    this.#closed = true;
    this.#following?.abort();
    this.#speaker?.destroy();
    this.#bfd?.destroy();
  }

  #send(route: BgpRoute, draining: boolean): void {
    this.#speaker?.announce(route);
    if (draining) this.#speaker?.drain(route.prefix);
  }

  async #endSpeaker(): Promise<void> {
    const speaker = this.#speaker;
    this.#speaker = undefined;
    this.#following?.abort();
    await speaker?.close();
    await Promise.all([...this.#watched.keys()].map((address) => this.#unwatch(address)));
    this.#peers.set([]);
  }

  async #follow(speaker: SpeakerPart): Promise<void> {
    const following = new AbortController();
    this.#following = following;
    for await (const peers of speaker.changes({ signal: following.signal })) {
      this.#watchPeers(peers);
      this.#peers.set(peers);
    }
  }

  /** Starts BFD where a peer has become Established, keeps it while the peer is configured so. */
  #watchPeers(peers: readonly BgpPeerState[]): void {
    if (this.#closed) return;
    const wanted = new Map(this.#options?.peers.map((peer) => [peer.address, peer.bfd]));
    for (const [address, { options }] of [...this.#watched]) {
      if (!isDeepStrictEqual(wanted.get(address), options)) void this.#unwatch(address);
    }
    for (const peer of peers) {
      const options = wanted.get(peer.address) ?? wanted.get(peer.name);
      if (peer.state !== 'established' || options === undefined || options === false) continue;
      const known = this.#watched.get(peer.address);
      if (known?.local === peer.localAddress) continue;
      if (known !== undefined) void this.#unwatch(peer.address);
      this.#watch(peer.address, peer.localAddress, options);
    }
  }

  #watch(peer: string, local: string, options: true | VipPeerBfd): void {
    let wasUp = false;
    try {
      const session = this.#bfd?.add({
        ...(options === true ? {} : options),
        ...{ peer, local },
        onChange: ({ state, remoteState, diagnostic, problem }) => {
          if (state === 'up') {
            if (!wasUp) this.#speaker?.peerUp(peer);
            wasUp = true;
          } else if (wasUp) {
            wasUp = false;
            // The peer has switched BFD off, or so it says: that is no failure (RFC 5882 section 3.2).
            if (remoteState === 'admin-down') return;
            this.#speaker?.peerDown(peer, problem ?? `BFD: ${diagnostic}`);
          }
        },
      });
      if (session !== undefined) this.#watched.set(peer, { local, options, session });
    } catch (error) {
      this.#logger.error('BFD with a BGP peer could not be started', { peer, local, error: describeError(error) });
    }
  }

  async #unwatch(address: string): Promise<void> {
    const watched = this.#watched.get(address);
    this.#watched.delete(address);
    await watched?.session.close();
  }
}

function withoutBfd({ bfd: _, ...peer }: VipBgpPeer): BgpPeerOptions {
  return peer;
}

function sameSpeaker({ peers: _a, ...a }: VipBgpOptions, { peers: _b, ...b }: VipBgpOptions): boolean {
  return isDeepStrictEqual(a, b);
}
