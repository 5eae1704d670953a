import { notify } from '../../core/index.js';
import type { Clock, Logger, Observer, Random } from '../../core/index.js';
import type { BgpFamily } from './codec/constants.js';
import type { BgpDecodeReason } from './codec/decoded.js';
import type { BgpUpdate } from './codec/decode-update.js';
import { ceaseSubcodes, describeNotification, notification } from './codec/notification.js';
import type { BgpNotification } from './codec/notification.js';
import type { BgpOpen } from './codec/open.js';
import { collisionWinner } from './collision.js';
import type { BgpConnectionRefusal, BgpEvent } from './events.js';
import {
  connectFailed,
  connectTimedOut,
  connectionLost,
  failure,
  holdTimeExpired,
  notificationReceived,
  openTimedOut,
  sendStalled,
} from './failure-words.js';
import type { BgpFailure } from './failure-words.js';
import type { BgpFsmEvent } from './fsm/fsm.js';
import type { BgpFsmState } from './fsm/table.js';
import { IdleHold } from './idle-hold.js';
import { BgpLink } from './link.js';
import type { BgpLinkOwner } from './link.js';
import { negotiate, ownOpen } from './negotiation.js';
import type { BgpNegotiated, OpenRefusal } from './negotiation.js';
import type { ResolvedPeer } from './peer-options.js';
import { PeerHistory } from './peer-history.js';
import { describePeer } from './peer-state.js';
import type { BgpPeerState } from './peer-state.js';
import { BgpSession } from './session.js';
import type { BgpRouteSource } from './session.js';
import { ShownState, isLive } from './shown-state.js';
import type { ResolvedGracefulRestart } from './speaker-options.js';
import type { BgpConnection, BgpDialCallbacks, BgpTransport, TcpHints } from './transport/transport.js';

export interface BgpPeerDependencies {
  readonly localAs: number;
  readonly routerId: string;
  readonly gracefulRestart: ResolvedGracefulRestart | undefined;
  /** This process has just followed another one. */
  readonly isRestarting: () => boolean;
  readonly transport: BgpTransport;
  readonly routes: BgpRouteSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observer: Observer<BgpEvent>;
  readonly onChange: () => void;
}

const maxIncoming = 2;

/** One neighbour: the connection that is dialled, those that it dials, and at most one session. */
export class BgpPeer implements BgpLinkOwner {
  readonly #deps: BgpPeerDependencies;
  #config: ResolvedPeer;
  readonly #outgoing: BgpLink;
  readonly #incoming = new Set<BgpLink>();
  readonly #hold: IdleHold;
  readonly #history: PeerHistory;
  readonly #endings = new Set<Promise<void>>();
  #session: BgpSession | undefined;
  #enabled = false;
  readonly #shown: ShownState;
  /** The kernel's counters when the last dial began, and the one before it. */
  #hints: { readonly last: TcpHints | undefined; readonly before: TcpHints | undefined } = {
    last: undefined,
    before: undefined,
  };

  constructor(config: ResolvedPeer, deps: BgpPeerDependencies) {
    this.#config = config;
    this.#deps = deps;
    this.#shown = new ShownState(deps.clock);
    this.#history = new PeerHistory(deps.clock);
    this.#hold = new IdleHold(config.session.idleHoldMs, deps.clock, deps.random, () => this.#restart());
    this.#outgoing = this.#newLink('outgoing');
  }

  get config(): ResolvedPeer {
    return this.#config;
  }

  get internal(): boolean {
    return this.#config.session.remoteAs === this.#deps.localAs;
  }

  get session(): BgpSession | undefined {
    return this.#session;
  }

  get state(): BgpPeerState {
    return describePeer({
      config: this.#config,
      shown: this.#shown.current,
      since: this.#shown.since,
      history: this.#history,
      heldUntil: this.#hold.until,
      session: this.#session,
      ownRestartTimeSeconds: this.#deps.gracefulRestart?.restartTimeSeconds,
    });
  }

  start(): void {
    if (this.#enabled) return;
    this.#enabled = true;
    this.#outgoing.fsm.handle({ type: this.#config.session.passive ? 'start-passive' : 'start' });
  }

  /** Ends everything, telling the peer why; resolves when its connections are closed. */
  async stop(why: BgpNotification): Promise<void> {
    this.#enabled = false;
    this.#hold.cancel();
    for (const link of this.#links()) link.fsm.handle({ type: 'stop', notification: why });
    await Promise.all(this.#endings);
    this.#show('stop');
  }

  /** Ends everything without a word. */
  destroy(): void {
    this.#enabled = false;
    this.#hold.cancel();
    this.#session?.close();
    this.#session = undefined;
    for (const link of this.#links()) link.destroy();
    this.#incoming.clear();
  }

  /** Takes a configuration whose `session` part is the same. */
  reconfigure(config: ResolvedPeer): void {
    this.#config = config;
    this.#session?.touchAll();
    this.#deps.onChange();
  }

  /** A connection that the peer dialled. Says why it is not taken. */
  accept(connection: BgpConnection): BgpConnectionRefusal | undefined {
    const { localAddress, ttl, minTtl } = this.#config.session;
    if (!this.#enabled || this.#hold.isHolding || this.#incoming.size >= maxIncoming) return 'peer-idle';
    if (localAddress !== undefined && localAddress !== connection.localAddress) return 'wrong-local-address';
    connection.applyTtl({ ttl, minTtl });
    const link = this.#newLink('incoming');
    this.#incoming.add(link);
    link.fsm.handle({ type: 'restart-passive' });
    link.attach(connection);
    return undefined;
  }

  /** The system itself ends the session; it is tried again after a while. */
  fail(what: BgpFailure, why: BgpNotification): void {
    const live = this.#links().filter(({ fsm }) => isLive(fsm.state));
    if (live.length === 0) return;
    this.#record(what);
    for (const link of live) link.fsm.handle({ type: 'automatic-stop', notification: why });
  }

  /** Something outside saw that the peer is there: no more waiting. */
  retryNow(): void {
    if (!this.#hold.isHolding) return;
    this.#hold.reset();
    this.#hold.cancel();
    this.#restart();
  }

  // What links ask for.

  dial(callbacks: BgpDialCallbacks): { cancel(): void } {
    const { port, localAddress, password, ttl, minTtl } = this.#config.session;
    this.#hints = { last: this.#deps.transport.hints(), before: this.#hints.last };
    return this.#deps.transport.dial(
      { address: this.#config.address, port, localAddress, password, ttl, minTtl },
      callbacks,
    );
  }

  ownOpen(): BgpOpen {
    const { gracefulRestart, localAs, routerId } = this.#deps;
    // The first session after a restart says so; forwarding was kept then if it was, and before every later session.
    const restarting = this.#deps.isRestarting() && this.#history.sessions === 0;
    const forwardingPreserved =
      gracefulRestart?.forwardingPreserved === true && (restarting || this.#history.sessions > 0);
    const capability =
      gracefulRestart === undefined || !this.#config.session.gracefulRestart
        ? undefined
        : {
            restarting,
            restartTimeSeconds: gracefulRestart.restartTimeSeconds,
            families: this.#config.session.families.map((family) => ({ family, forwardingPreserved })),
          };
    return ownOpen(this.#config, { as: localAs, routerId }, capability);
  }

  negotiate(open: BgpOpen): BgpNegotiated | OpenRefusal {
    return negotiate(open, this.#config, { as: this.#deps.localAs, routerId: this.#deps.routerId });
  }

  openAccepted(link: BgpLink): void {
    for (const other of this.#links()) {
      if (other === link || other.negotiated === undefined) continue;
      if (other.fsm.state === 'established') {
        // With graceful restart a peer that dials again has restarted, and knows nothing of the session that we still see.
        if (other.negotiated.gracefulRestart === undefined) {
          link.fsm.handle({ type: 'collision-dump' });
          return;
        }
        other.supersede();
      } else if (other.fsm.state === 'open-confirm') {
        const loser = this.#loserOf(link, other);
        loser.fsm.handle({ type: 'collision-dump' });
        if (loser === link) return;
      }
    }
  }

  notified(_link: BgpLink, direction: 'sent' | 'received', what: BgpNotification): void {
    const { code, subcode } = what;
    const meaning = describeNotification(what);
    notify(this.#deps.observer, {
      type: 'vip.bgp-notification',
      peer: this.#config.address,
      ...{ direction, code, subcode, meaning },
    });
    // The loser of a collision is no failure, whoever decided it.
    if (direction === 'received' && !(code === 6 && subcode === ceaseSubcodes.collision)) {
      this.#record(notificationReceived(this.#config, what, this.#deps.localAs));
    }
  }

  malformed(_link: BgpLink, reason: BgpDecodeReason): void {
    notify(this.#deps.observer, { type: 'vip.bgp-malformed', peer: this.#config.address, reason });
    this.#record(
      failure('VIP_BGP_PROTOCOL_ERROR', `peer ${this.#config.name} sent a message that breaks the protocol: ${reason}`),
    );
  }

  openRefused(_link: BgpLink, refusal: OpenRefusal): void {
    this.#record(failure(refusal.code, refusal.message));
  }

  connectionFailed(link: BgpLink, error: Error | undefined): void {
    if (link.fsm.state === 'connect') this.#record(connectFailed(this.#config, error ?? new Error('closed')));
    else this.#record(connectionLost(this.#config, link.fsm.state === 'established', error));
  }

  damp(link: BgpLink, event: BgpFsmEvent): void {
    if (event.type === 'hold-expires') {
      const { negotiated } = link;
      this.#record(
        negotiated === undefined
          ? openTimedOut(this.#config, this.#hints.last, this.#deps.transport.hints())
          : holdTimeExpired(this.#config, negotiated.holdTimeMs),
      );
    } else if (isSaidByDamp(event)) {
      this.#record(
        failure(
          'VIP_BGP_PROTOCOL_ERROR',
          `peer ${this.#config.name} broke the protocol: ${event.type} came out of turn`,
        ),
      );
    }
    this.#history.failures += 1;
    // Another connection of this peer may do well: a collision ends one of two.
    const others = this.#links().filter((other) => other !== link);
    if (others.some(({ fsm }) => isLive(fsm.state))) return;
    this.#holdIdle(event.notification?.code === 6 && event.notification.subcode === ceaseSubcodes.maximumPrefixes);
  }

  sessionUp(link: BgpLink): void {
    const { connection, negotiated } = link;
    if (connection === undefined || negotiated === undefined) return;
    const { localAs, routes, clock, observer, onChange } = this.#deps;
    this.#session = new BgpSession({
      ...{ link, negotiated, localAs, routes, clock, observer, onChange },
      localAddress: connection.localAddress,
      peer: () => this.#config,
    });
    this.#history.sessionBegan();
  }

  sessionDown(link: BgpLink, event: BgpFsmEvent): void {
    if (this.#session?.link !== link) return;
    if (this.#history.sessionEnded(isSaidByDamp(event))) this.#hold.reset();
    this.#session.close();
    this.#session = undefined;
  }

  updateReceived(_link: BgpLink, update: BgpUpdate): void {
    const session = this.#session;
    if (session === undefined) return;
    const peer = this.#config.address;
    for (const { fault, action } of update.errors) {
      notify(this.#deps.observer, { type: 'vip.bgp-attribute-fault', peer, fault, action });
    }
    const counts = { announced: update.announced.length, withdrawn: update.withdrawn.length };
    if (update.endOfRib === undefined)
      notify(this.#deps.observer, { type: 'vip.bgp-update-received', peer, ...counts });
    else notify(this.#deps.observer, { type: 'vip.bgp-end-of-rib', peer, direction: 'received' });
    if (session.received.count(update)) {
      this.#deps.onChange();
      return;
    }
    const limit = this.#config.session.maxPrefixes ?? 0;
    this.fail(
      failure(
        'VIP_BGP_PREFIX_LIMIT',
        `peer ${this.#config.name} announced more than ${String(limit)} networks, the limit set by maxPrefixes; ` +
          'this speaker needs none: export nothing to it on the peer',
      ),
      notification(6, ceaseSubcodes.maximumPrefixes),
    );
  }

  refreshRequested(_link: BgpLink, family: BgpFamily): void {
    this.#session?.refresh(family);
  }

  writable(link: BgpLink): void {
    if (this.#session?.link === link) this.#session.flush();
  }

  sendStalled(_link: BgpLink, forMs: number): void {
    this.fail(sendStalled(this.#config, forMs), notification(8, 0));
  }

  transitioned(link: BgpLink, from: BgpFsmState, to: BgpFsmState, event: BgpFsmEvent): void {
    if (event.type === 'connect-retry-expires' && from === 'connect') {
      const { connectRetryMs } = this.#config.session;
      // By now the next dial has begun: what counts is what happened between the two.
      this.#record(connectTimedOut(this.#config, connectRetryMs, this.#hints.before, this.#hints.last));
    }
    // A connection that the peer dialled ends for good; only the own one is tried again.
    if (link.direction === 'incoming' && from !== 'idle' && from !== 'active' && (to === 'idle' || to === 'active')) {
      link.destroy();
      this.#incoming.delete(link);
    }
    this.#show(event.type);
    if (to === 'established' && from !== 'established') {
      this.#history.failures = 0;
      for (const other of this.#links()) if (other !== link) other.fsm.handle({ type: 'collision-dump' });
    }
    const abandoned = this.#enabled && !this.#hold.isHolding && this.#links().every(({ fsm }) => fsm.state === 'idle');
    if (abandoned) this.#holdIdle(false);
  }

  ending(closed: Promise<void>): void {
    this.#endings.add(closed);
    void closed.then(() => this.#endings.delete(closed));
  }

  #links(): readonly BgpLink[] {
    return [this.#outgoing, ...this.#incoming];
  }

  #newLink(direction: 'outgoing' | 'incoming'): BgpLink {
    const { clock, random } = this.#deps;
    const { connectRetryMs, holdTimeSeconds } = this.#config.session;
    // RFC 4271 suggests four minutes, in which a silent peer looks like one that is coming up.
    const openWaitMs = Math.min(240_000, Math.max(10_000, 1000 * holdTimeSeconds));
    return new BgpLink({ direction, owner: this, clock, random, connectRetryMs, openWaitMs });
  }

  #loserOf(link: BgpLink, other: BgpLink): BgpLink {
    // Two that the peer dialled: the newer one is what it now has.
    if (link.direction === other.direction) return other;
    const kept = collisionWinner({
      localRouterId: this.#deps.routerId,
      remoteRouterId: link.negotiated?.remoteRouterId ?? '0.0.0.0',
      localAs: this.#deps.localAs,
      remoteAs: this.#config.session.remoteAs,
    });
    notify(this.#deps.observer, { type: 'vip.bgp-collision', peer: this.#config.address, kept });
    return link.direction === kept ? other : link;
  }

  #restart(): void {
    if (!this.#enabled) return;
    this.#outgoing.fsm.handle({ type: this.#config.session.passive ? 'restart-passive' : 'restart' });
  }

  /** Keeps the peer Idle: nothing is dialled or taken until the time is over. */
  #holdIdle(longest: boolean): void {
    if (!this.#enabled) return;
    this.#hold.begin(longest);
    if (this.#outgoing.fsm.state !== 'idle') this.#outgoing.fsm.handle({ type: 'collision-dump' });
  }

  #record(what: BgpFailure): void {
    this.#history.record(what, this.#session !== undefined);
    this.#deps.logger.warn(what.message, { peer: this.#config.address, code: what.code });
    notify(this.#deps.observer, { type: 'vip.bgp-peer-error', peer: this.#config.address, ...what });
    this.#deps.onChange();
  }

  /** Reports the state of the most advanced connection when it is another. */
  #show(cause: BgpFsmEvent['type']): void {
    const from = this.#shown.update(this.#links().map(({ fsm }) => fsm.state));
    if (from !== undefined) {
      const to = this.#shown.current;
      this.#deps.logger.info(`BGP peer ${this.#config.name}: ${from} -> ${to}`, { peer: this.#config.address, cause });
      notify(this.#deps.observer, { type: 'vip.bgp-peer-state', peer: this.#config.address, from, to, cause });
    }
    this.#deps.onChange();
  }
}

/** Failures that have no words before the state machine has judged them. */
function isSaidByDamp({ type }: BgpFsmEvent): boolean {
  return type === 'hold-expires' || (type.endsWith('-received') && type !== 'notification-received');
}
