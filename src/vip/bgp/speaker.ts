import { LatestValueCell, describeError, notify, sleep } from '../../core/index.js';
import type { Closable, Timer } from '../../core/index.js';
import { VipError } from '../errors.js';
import type { BgpConnectionRefusal } from './events.js';
import { failure } from './failure-words.js';
import { farewells } from './farewells.js';
import { BgpPeer } from './peer.js';
import { changeOf } from './peer-options.js';
import type { BgpPeerOptions, ResolvedPeer } from './peer-options.js';
import type { BgpPeerState } from './peer-state.js';
import { resolveRoute } from './route.js';
import type { BgpRoute } from './route.js';
import { RouteTable } from './route-table.js';
import { resolvePeers, resolveSpeakerOptions } from './speaker-options.js';
import type { BgpSpeakerOptions, ResolvedSpeakerOptions } from './speaker-options.js';
import type { BgpConnection, BgpListener } from './transport/transport.js';

/**
 * A BGP speaker (RFC 4271) that announces routes and takes none: to routers it looks like one more router, behind which
 * the announced addresses live.
 *
 * ```ts
 * const speaker = await BgpSpeaker.create({
 *   localAs: 64513,
 *   routerId: '10.20.0.1',
 *   peers: [{ address: '10.20.0.254', remoteAs: 64512, holdTimeSeconds: 9 }],
 * });
 * speaker.announce({ prefix: '203.0.113.10/32' });
 * ```
 *
 * Peers are independent of each other: a session lost, a message malformed, or a limit exceeded costs that peer alone.
 * What peers announce is counted and thrown away. It needs Linux and the native addon; see docs/vip-bgp.md.
 */
export class BgpSpeaker implements Closable {
  readonly #options: ResolvedSpeakerOptions;
  readonly #peers = new Map<string, BgpPeer>();
  readonly #routes: RouteTable;
  readonly #startedMs: number;
  readonly #states = new LatestValueCell<readonly BgpPeerState[]>([]);
  #listener: BgpListener | undefined;
  #stateTimer: Timer | undefined;
  #completion: Timer | undefined;
  #closing: Promise<void> | undefined;
  #destroyed = false;

  private constructor(options: ResolvedSpeakerOptions) {
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
    this.#routes = new RouteTable(options.gracefulRestart?.restarting !== true);
  }

  /**
   * Listens, if it is to, and starts all peers. Throws `VIP_CONFIGURATION_INVALID`, `VIP_BGP_LISTEN_FAILED`,
   * `VIP_CAPABILITY_MISSING`, `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`. A peer that cannot be reached is no
   * error: see `peers`.
   */
  static async create(options: BgpSpeakerOptions): Promise<BgpSpeaker> {
    const speaker = new BgpSpeaker(resolveSpeakerOptions(options));
    await speaker.#start();
    return speaker;
  }

  /** Every peer as it is now, in the order given. */
  get peers(): readonly BgpPeerState[] {
    return [...this.#peers.values()].map((peer) => peer.state);
  }

  /** The port listened on, undefined without `listen`. */
  get port(): number | undefined {
    return this.#listener?.port;
  }

  /** The prefixes announced, canonical. */
  get routes(): readonly string[] {
    return [...this.#routes.keys()];
  }

  /** Yields `peers` now and after changes, the newest only; ends when `signal` aborts. */
  changes(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<readonly BgpPeerState[]> {
    this.#states.set(this.peers);
    return this.#states.changes(options);
  }

  /**
   * Announces a route, or changes what is said of it; a drain of it is over. What is announced in one go leaves in as few
   * UPDATEs as possible. Throws `VIP_CONFIGURATION_INVALID`, `CORE_CLOSED` never: after `close` it does nothing.
   */
  announce(route: BgpRoute): void {
    this.#changed(this.#routes.set(resolveRoute(route)));
  }

  /** Takes a route back; unknown ones are ignored. Throws `VIP_CONFIGURATION_INVALID`. */
  withdraw(prefix: string): void {
    this.#changed(this.#routes.delete(resolveRoute({ prefix }).key));
  }

  /**
   * Announces a route, or all, as about to go: with the community GRACEFUL_SHUTDOWN (65535:0, RFC 8326), and local
   * preference 0 within the own AS. Routers that have another path take it before `withdraw` follows. `announce` ends it.
   */
  drain(prefix?: string): void {
    this.#changed(...this.#routes.drain(prefix === undefined ? undefined : resolveRoute({ prefix }).key));
  }

  /**
   * After a graceful restart: everything that is to be announced has been. Peers are told (End-of-RIB) and drop what is
   * left over from before. Without it that happens by itself after `routesCompleteWithinMs`.
   */
  routesComplete(): void {
    if (this.#routes.complete) return;
    this.#completion?.cancel();
    this.#routes.complete = true;
    for (const peer of this.#peers.values()) peer.session?.touchAll();
  }

  /**
   * Makes the peers these. A peer whose description or policy alone changed keeps its session; one whose session settings
   * changed (AS, password, timers, …) gets a new one; others feel nothing. Throws `VIP_CONFIGURATION_INVALID`, and then
   * nothing has changed.
   */
  setPeers(peers: readonly BgpPeerOptions[]): void {
    const wanted = resolvePeers(peers, this.#options.localAs, this.#options.listen !== undefined);
    if (this.#closing !== undefined || this.#destroyed) return;
    const before = new Map(this.#peers);
    this.#peers.clear();
    for (const config of wanted) {
      const existing = before.get(config.address);
      before.delete(config.address);
      if (existing === undefined) {
        this.#add(config);
      } else if (changeOf(existing.config, config) === 'session') {
        this.#remove(existing, 'changed');
        this.#add(config);
      } else {
        this.#peers.set(config.address, existing);
        existing.reconfigure(config);
      }
    }
    for (const gone of before.values()) this.#remove(gone, 'removed');
    this.#stateChanged();
  }

  /** What BFD says: the peer is gone. Its session ends at once (Cease, BFD down); unknown addresses are ignored. */
  peerDown(address: string, reason: string): void {
    const peer = this.#peers.get(address);
    peer?.fail(
      failure('VIP_BGP_PEER_DOWN', `peer ${peer.config.name} was declared down: ${reason}`),
      farewells.bfdDown(),
    );
  }

  /** What BFD says: the peer is there again. A wait after a failure ends. */
  peerUp(address: string): void {
    this.#peers.get(address)?.retryNow();
  }

  /**
   * Drains for `drainMs`, then ends every session with Cease (administrative shutdown): peers drop the routes at once,
   * graceful restart or not. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /**
   * Ends everything at once and without a word, as a crash would: peers with graceful restart keep the routes until this
   * speaker is back (`gracefulRestart.restarting`) or their time is over; the others drop them.
   */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#closing ??= Promise.resolve();
    this.#cancelTimers();
    for (const peer of this.#peers.values()) peer.destroy();
    void this.#listener?.close();
    this.#states.set(this.peers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(): Promise<void> {
    const { listen, transport, gracefulRestart, clock, peers } = this.#options;
    if (listen !== undefined) {
      this.#listener = await transport.listen({ ...listen, onConnection: (connection) => this.#accept(connection) });
    }
    try {
      for (const config of peers) this.#add(config);
    } catch (error) {
      this.destroy();
      throw error;
    }
    if (!this.#routes.complete && gracefulRestart !== undefined) {
      this.#completion = clock.timer(gracefulRestart.routesCompleteWithinMs, () => this.routesComplete());
    }
    this.#stateChanged();
  }

  async #close(): Promise<void> {
    const { drainMs, clock } = this.#options;
    if (drainMs > 0 && this.#routes.size > 0) {
      this.#changed(...this.#routes.drain(undefined));
      await sleep(clock, drainMs, { keepAlive: true });
    }
    if (this.#destroyed) return;
    await Promise.all([...this.#peers.values()].map((peer) => peer.stop(farewells.shutdown())));
    await this.#listener?.close();
    this.#cancelTimers();
    this.#destroyed = true;
    this.#states.set(this.peers);
  }

  #accept(connection: BgpConnection): void {
    const peer = this.#peers.get(connection.remoteAddress);
    const refused: BgpConnectionRefusal | undefined =
      peer === undefined ? 'unknown-peer' : this.#closing !== undefined ? 'closing' : peer.accept(connection);
    if (refused === undefined) return;
    connection.destroy();
    notify(this.#options.observer, {
      type: 'vip.bgp-connection-refused',
      remote: connection.remoteAddress,
      reason: refused,
    });
  }

  #add(config: ResolvedPeer): void {
    this.#setPassword(config, config.session.password);
    const { localAs, routerId, gracefulRestart, transport, clock, random, logger, observer } = this.#options;
    const peer = new BgpPeer(config, {
      ...{ localAs, routerId, gracefulRestart, transport, clock, random, logger, observer },
      routes: this.#routes,
      isRestarting: () => this.#isRestarting(),
      onChange: () => this.#stateChanged(),
    });
    this.#peers.set(config.address, peer);
    peer.start();
  }

  /** Peers that come later than the restart time have nothing left of before. */
  #isRestarting(): boolean {
    const { gracefulRestart, clock } = this.#options;
    if (gracefulRestart?.restarting !== true) return false;
    return clock.monotonicMs() - this.#startedMs < 1000 * gracefulRestart.restartTimeSeconds;
  }

  #remove(peer: BgpPeer, why: 'changed' | 'removed'): void {
    this.#setPassword(peer.config, undefined);
    peer.stop(farewells[why]()).catch((error: unknown) => {
      this.#options.logger.error('a BGP peer did not stop', { peer: peer.config.address, error: describeError(error) });
    });
  }

  #setPassword(config: ResolvedPeer, password: string | undefined): void {
    try {
      this.#listener?.setPassword(config.address, password);
    } catch (cause) {
      throw new VipError(
        'VIP_CONFIGURATION_INVALID',
        `peer ${config.name}: the kernel does not take its password: ${describeError(cause)}`,
        { cause },
      );
    }
  }

  #changed(...keys: readonly (string | undefined)[]): void {
    for (const key of keys) {
      if (key === undefined) continue;
      for (const peer of this.#peers.values()) peer.session?.touch(key);
    }
  }

  /** Peers change in bursts; who watches sees the last of each. */
  #stateChanged(): void {
    if (this.#destroyed) return;
    this.#stateTimer ??= this.#options.clock.timer(0, () => {
      this.#stateTimer = undefined;
      this.#states.set(this.peers);
    });
  }

  #cancelTimers(): void {
    this.#completion?.cancel();
    this.#stateTimer?.cancel();
    this.#stateTimer = undefined;
  }
}
