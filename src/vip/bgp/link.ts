import type { Clock, Random, Timer } from '../../core/index.js';
import { BgpFramer, encodeKeepalive, encodeMessage } from './codec/framing.js';
import type { BgpFrame } from './codec/framing.js';
import { messageTypes } from './codec/constants.js';
import type { BgpDecodeReason } from './codec/decoded.js';
import type { BgpUpdate } from './codec/decode-update.js';
import { decodeMessage } from './codec/message.js';
import type { BgpMessage } from './codec/message.js';
import { encodeNotificationBody } from './codec/notification.js';
import type { BgpNotification } from './codec/notification.js';
import { encodeOpen } from './codec/open.js';
import type { BgpOpen } from './codec/open.js';
import type { BgpFamily } from './codec/constants.js';
import { BgpFsm } from './fsm/fsm.js';
import type { BgpFsmEvent, BgpFsmHost } from './fsm/fsm.js';
import type { BgpFsmState } from './fsm/table.js';
import type { BgpNegotiated, OpenRefusal } from './negotiation.js';
import type { BgpConnection, BgpDialCallbacks } from './transport/transport.js';

/** What a link asks of the peer that it belongs to. */
export interface BgpLinkOwner {
  readonly internal: boolean;
  dial(callbacks: BgpDialCallbacks): { cancel(): void };
  ownOpen(): BgpOpen;
  negotiate(open: BgpOpen): BgpNegotiated | OpenRefusal;
  /** Collision detection (RFC 4271 section 6.8): may end other links, or this one by its `fsm`. */
  openAccepted(link: BgpLink): void;
  notified(link: BgpLink, direction: 'sent' | 'received', what: BgpNotification): void;
  malformed(link: BgpLink, reason: BgpDecodeReason): void;
  openRefused(link: BgpLink, refusal: OpenRefusal): void;
  connectionFailed(link: BgpLink, error: Error | undefined): void;
  damp(link: BgpLink, event: BgpFsmEvent): void;
  sessionUp(link: BgpLink): void;
  sessionDown(link: BgpLink, event: BgpFsmEvent): void;
  updateReceived(link: BgpLink, update: BgpUpdate): void;
  refreshRequested(link: BgpLink, family: BgpFamily): void;
  writable(link: BgpLink): void;
  /** The peer has taken nothing for `forMs`. */
  sendStalled(link: BgpLink, forMs: number): void;
  transitioned(link: BgpLink, from: BgpFsmState, to: BgpFsmState, event: BgpFsmEvent): void;
  /** A connection is being closed; resolves when it is. */
  ending(closed: Promise<void>): void;
}

export interface BgpLinkOptions {
  readonly direction: 'outgoing' | 'incoming';
  readonly owner: BgpLinkOwner;
  readonly clock: Clock;
  readonly random: Random;
  readonly connectRetryMs: number;
  /** How long the peer's OPEN may take. */
  readonly openWaitMs: number;
}

const minSendHoldMs = 480_000;

/** One connection to a peer, or the attempt at one: state machine, framing and messages. */
export class BgpLink implements BgpFsmHost {
  readonly direction: 'outgoing' | 'incoming';
  readonly fsm: BgpFsm;
  readonly #owner: BgpLinkOwner;
  readonly #clock: Clock;
  #connection: BgpConnection | undefined;
  #dialling: { cancel(): void } | undefined;
  #framer = new BgpFramer();
  #negotiated: BgpNegotiated | undefined;
  #message: BgpMessage | undefined;
  #writable = true;
  #sendHold: Timer | undefined;

  constructor(options: BgpLinkOptions) {
    this.direction = options.direction;
    this.#owner = options.owner;
    this.#clock = options.clock;
    const { clock, random, connectRetryMs, openWaitMs } = options;
    this.fsm = new BgpFsm({ clock, random, host: this, connectRetryMs, largeHoldMs: openWaitMs });
  }

  get connection(): BgpConnection | undefined {
    return this.#connection;
  }

  /** From the peer's OPEN on, until the next connection. */
  get negotiated(): BgpNegotiated | undefined {
    return this.#negotiated;
  }

  /** False while the kernel takes no more; `owner.writable` follows. */
  get isWritable(): boolean {
    return this.#writable;
  }

  /** Takes an established connection: OPEN goes out. */
  attach(connection: BgpConnection): void {
    this.#dialling = undefined;
    this.#connection = connection;
    this.#framer = new BgpFramer();
    this.#negotiated = undefined;
    this.#setWritable(true);
    connection.start({
      data: (chunk) => this.#receive(connection, chunk),
      drained: () => {
        this.#setWritable(true);
        if (this.#connection === connection) this.#owner.writable(this);
      },
      closed: (error) => {
        if (this.#connection !== connection) return;
        this.#owner.connectionFailed(this, error);
        this.fsm.handle({ type: 'tcp-fails' });
      },
    });
    this.fsm.handle({ type: 'tcp-established' });
  }

  send(messages: readonly Uint8Array[]): void {
    if (messages.length === 0 || this.#connection === undefined) return;
    this.#setWritable(this.#connection.write(Buffer.concat(messages)));
  }

  /** Ends without a word, as a crash would. */
  destroy(): void {
    this.fsm.dispose();
    this.#setWritable(true);
    this.#dialling?.cancel();
    this.#dialling = undefined;
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  /** The peer has restarted and does not know this connection any more: it goes without a word (RFC 4724 section 4.2). */
  supersede(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
    this.fsm.handle({ type: 'tcp-fails' });
  }

  // What the state machine asks for.

  dial(): void {
    this.#dialling = this.#owner.dial({
      connected: (connection) => this.attach(connection),
      failed: (error) => {
        this.#dialling = undefined;
        this.#owner.connectionFailed(this, error);
        this.fsm.handle({ type: 'tcp-fails' });
      },
    });
  }

  sendOpen(): void {
    this.send([encodeOpen(this.#owner.ownOpen())]);
  }

  sendKeepalive(): void {
    // Behind unsent bytes a keepalive would say nothing; they are the sign of life.
    if (this.#writable) this.send([encodeKeepalive()]);
  }

  notify(what: BgpNotification): void {
    if (this.#connection === undefined) return;
    this.send([encodeMessage(messageTypes.notification, encodeNotificationBody(what))]);
    this.#owner.notified(this, 'sent', what);
  }

  dropConnection(): void {
    this.#dialling?.cancel();
    this.#dialling = undefined;
    this.#setWritable(true);
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) this.#owner.ending(connection.end());
  }

  damp(event: BgpFsmEvent): void {
    this.#owner.damp(this, event);
  }

  sessionUp(): void {
    this.#owner.sessionUp(this);
  }

  sessionDown(event: BgpFsmEvent): void {
    this.#owner.sessionDown(this, event);
  }

  deliver(): void {
    if (this.#message?.type === 'update') this.#owner.updateReceived(this, this.#message.update);
  }

  resendRoutes(): void {
    if (this.#message?.type !== 'route-refresh') return;
    const { family } = this.#message.refresh;
    if (family !== undefined) this.#owner.refreshRequested(this, family);
  }

  transitioned(from: BgpFsmState, to: BgpFsmState, event: BgpFsmEvent): void {
    this.#owner.transitioned(this, from, to, event);
  }

  /** A peer that takes nothing for so long is none, even if it goes on to talk (RFC 9687). */
  #setWritable(writable: boolean): void {
    this.#writable = writable;
    if (writable) {
      this.#sendHold?.cancel();
      this.#sendHold = undefined;
    } else {
      const sendHoldMs = Math.max(minSendHoldMs, 2 * (this.#negotiated?.holdTimeMs ?? 0));
      this.#sendHold ??= this.#clock.timer(sendHoldMs, () => this.#owner.sendStalled(this, sendHoldMs));
    }
  }

  #receive(connection: BgpConnection, chunk: Buffer): void {
    this.#framer.push(chunk);
    // A message may end the connection: what came behind it is then no longer read.
    while (this.#connection === connection) {
      const frame = this.#framer.next();
      if (frame === undefined) return;
      if (!frame.ok) {
        this.#owner.malformed(this, frame.reason);
        this.fsm.handle({ type: 'header-error', notification: frame.notification });
        return;
      }
      this.#handle(frame.value);
    }
  }

  #handle(frame: BgpFrame): void {
    const message = decodeMessage(frame, {
      fourOctetAs: this.#negotiated?.fourOctetAs ?? true,
      internal: this.#owner.internal,
    });
    if (!message.ok) {
      this.#owner.malformed(this, message.reason);
      const type = frame.type === messageTypes.open ? 'open-error' : 'update-error';
      this.fsm.handle({ type, notification: message.notification });
      return;
    }
    this.#message = message.value;
    this.#dispatch(message.value);
    this.#message = undefined;
  }

  #dispatch(message: BgpMessage): void {
    switch (message.type) {
      case 'open':
        this.#opened(message.open);
        return;
      case 'keepalive':
        this.fsm.handle({ type: 'keepalive-received' });
        return;
      case 'update':
        this.fsm.handle({ type: 'update-received' });
        return;
      case 'route-refresh':
        this.fsm.handle({ type: 'refresh-received' });
        return;
      case 'notification': {
        const { notification } = message;
        this.#owner.notified(this, 'received', notification);
        const isVersion = notification.code === 2 && notification.subcode === 1;
        this.fsm.handle({ type: isVersion ? 'notification-version-error' : 'notification-received' });
        return;
      }
    }
  }

  #opened(open: BgpOpen): void {
    if (this.fsm.state !== 'open-sent') {
      this.fsm.handle({ type: 'open-received' });
      return;
    }
    const outcome = this.#owner.negotiate(open);
    if ('notification' in outcome) {
      this.#owner.openRefused(this, outcome);
      this.fsm.handle({ type: 'open-error', notification: outcome.notification });
      return;
    }
    this.#negotiated = outcome;
    this.#owner.openAccepted(this);
    // Lost the collision: the machine is elsewhere by now.
    if (this.fsm.state !== 'open-sent') return;
    const { holdTimeMs, keepaliveMs } = outcome;
    this.fsm.handle({ type: 'open-received', holdTimeMs, keepaliveMs });
  }
}
