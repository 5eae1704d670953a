import { notify } from '../../core/index.js';
import type { Clock, Observer, Timer } from '../../core/index.js';
import type { BgpFamily } from './codec/constants.js';
import type { BgpEvent } from './events.js';
import type { BgpLink } from './link.js';
import type { BgpNegotiated } from './negotiation.js';
import type { ResolvedPeer } from './peer-options.js';
import { applyPolicy } from './policy.js';
import type { BgpNotAnnounced, OutgoingRoute } from './policy.js';
import { ReceivedRoutes } from './received-routes.js';
import { RibOut } from './rib-out.js';
import type { ResolvedRoute } from './route.js';

/** Where sessions read what there is to announce. */
export interface BgpRouteSource {
  keys(): Iterable<string>;
  get(key: string): { readonly route: ResolvedRoute; readonly draining: boolean } | undefined;
  /** False while a restarted speaker still gathers its routes: End-of-RIB waits for it. */
  readonly complete: boolean;
}

export interface BgpSessionOptions {
  readonly link: BgpLink;
  readonly negotiated: BgpNegotiated;
  readonly localAddress: string;
  readonly localAs: number;
  /** The peer as configured now; its policy may change while the session lasts. */
  readonly peer: () => ResolvedPeer;
  readonly routes: BgpRouteSource;
  readonly clock: Clock;
  readonly observer: Observer<BgpEvent>;
  /** The number of routes that the peer has may have changed. */
  readonly onChange: () => void;
}

/** An Established session: what goes out, in as few UPDATEs as may be, and the counting of what comes in. */
export class BgpSession {
  readonly negotiated: BgpNegotiated;
  readonly localAddress: string;
  readonly link: BgpLink;
  readonly received: ReceivedRoutes;
  readonly #options: BgpSessionOptions;
  readonly #rib = new RibOut();
  readonly #leftOut = new Map<string, BgpNotAnnounced>();
  #endOfRibDue: readonly BgpFamily[];
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: BgpSessionOptions) {
    this.#options = options;
    this.link = options.link;
    this.negotiated = options.negotiated;
    this.localAddress = options.localAddress;
    this.received = new ReceivedRoutes(options.peer().session.maxPrefixes);
    this.#endOfRibDue = options.negotiated.families;
    this.touchAll();
  }

  /** Routes that the peer has. */
  get announced(): number {
    return this.#rib.size;
  }

  /** Routes that the peer should have and cannot: nobody decided so, something is missing. */
  get leftOut(): readonly { readonly prefix: string; readonly why: BgpNotAnnounced }[] {
    return [...this.#leftOut].map(([prefix, why]) => ({ prefix, why }));
  }

  touch(key: string): void {
    this.#rib.touch(key);
    this.#schedule();
  }

  /** Looks at every route again; what is as the peer has it is not sent again. Also sends an End-of-RIB that waited. */
  touchAll(): void {
    this.#rib.touchAll(this.#options.routes.keys());
    this.#schedule();
  }

  /** ROUTE-REFRESH: sends all of a family again. */
  refresh(family: BgpFamily): void {
    this.#rib.forget(family, this.#options.routes.keys());
    this.#schedule();
  }

  /** Sends what waits, as far as the kernel takes it. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const { link, peer, routes, observer } = this.#options;
    if (this.#closed || !link.isWritable) return;
    if (this.#rib.hasWork) {
      const flushed = this.#rib.flush((key) => this.#wanted(key), { fourOctetAs: this.negotiated.fourOctetAs });
      link.send(flushed.messages);
      this.#options.onChange();
      if (flushed.messages.length > 0) {
        const { announced, withdrawn, messages } = flushed;
        const counts = { announced, withdrawn, messages: messages.length };
        notify(observer, { type: 'vip.bgp-update-sent', peer: peer().address, ...counts });
      }
    }
    if (this.#endOfRibDue.length > 0 && routes.complete) {
      link.send(this.#rib.endOfRib(this.#endOfRibDue));
      this.#endOfRibDue = [];
      notify(observer, { type: 'vip.bgp-end-of-rib', peer: peer().address, direction: 'sent' });
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #wanted(key: string): OutgoingRoute | undefined {
    const outcome = this.#outcome(key);
    if (outcome === 'no-next-hop' || outcome === 'family-not-negotiated') this.#leftOut.set(key, outcome);
    else this.#leftOut.delete(key);
    return typeof outcome === 'object' ? outcome : undefined;
  }

  #outcome(key: string): OutgoingRoute | BgpNotAnnounced | undefined {
    const found = this.#options.routes.get(key);
    if (found === undefined) return undefined;
    return applyPolicy(found.route, {
      peer: this.#options.peer(),
      localAs: this.#options.localAs,
      families: this.negotiated.families,
      localAddress: this.localAddress,
      draining: found.draining,
    });
  }

  /** What is announced and withdrawn in one go leaves together. */
  #schedule(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = this.#options.clock.timer(0, () => this.flush());
  }
}
