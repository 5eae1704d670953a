import type { Clock, Random, Timer } from '../../../core/index.js';
import { notification } from '../codec/notification.js';
import type { BgpNotification } from '../codec/notification.js';
import { fsmTable } from './table.js';
import type { BgpFsmAction, BgpFsmEventType, BgpFsmState, BgpFsmTransition } from './table.js';

/** An event with what belongs to it. */
export interface BgpFsmEvent {
  readonly type: BgpFsmEventType;
  /** Of `stop`, `automatic-stop` and the error events: what the peer is told. */
  readonly notification?: BgpNotification | undefined;
  /** Of `open-received`: what was negotiated. Hold time 0 means neither timer. */
  readonly holdTimeMs?: number | undefined;
  readonly keepaliveMs?: number | undefined;
}

/** What the machine makes happen; the world around it is behind this. Calls of `handle` from within wait their turn. */
export interface BgpFsmHost {
  dial(): void;
  sendOpen(): void;
  sendKeepalive(): void;
  /** Sends it; the connection is dropped right afterwards. */
  notify(what: BgpNotification): void;
  dropConnection(): void;
  /** Something failed: stay Idle for a while. */
  damp(event: BgpFsmEvent): void;
  sessionUp(): void;
  sessionDown(event: BgpFsmEvent): void;
  /** The message that made the event is for the routes' side. */
  deliver(): void;
  resendRoutes(): void;
  /** After every event, also when the state stays. */
  transitioned(from: BgpFsmState, to: BgpFsmState, event: BgpFsmEvent): void;
}

export interface BgpFsmOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly host: BgpFsmHost;
  /** ConnectRetryTime. */
  readonly connectRetryMs: number;
  /** The hold time while no OPEN has come. Default 240,000 (RFC 4271 section 8.2.2). */
  readonly largeHoldMs?: number | undefined;
}

type TimerName = 'connect-retry' | 'hold' | 'keepalive';

/**
 * Late by more than this, a hold timer was held up by this process and not by the peer, whose messages may lie unread in
 * the kernel: it gets one more moment.
 */
const stallMs = 500;

/** Runs `fsmTable`: it has no knowledge of its own but the timers (RFC 4271 section 10, with its jitter). */
export class BgpFsm {
  readonly #options: BgpFsmOptions;
  readonly #timers = new Map<TimerName, Timer>();
  readonly #queue: BgpFsmEvent[] = [];
  #busy = false;
  #state: BgpFsmState = 'idle';
  #retryCount = 0;
  #holdTimeMs = 0;
  #keepaliveMs = 0;

  constructor(options: BgpFsmOptions) {
    this.#options = options;
  }

  get state(): BgpFsmState {
    return this.#state;
  }

  /** ConnectRetryCounter: failures since the last start. */
  get retryCount(): number {
    return this.#retryCount;
  }

  /** The timers that run, for tests. */
  get runningTimers(): readonly string[] {
    return [...this.#timers.keys()].sort();
  }

  handle(event: BgpFsmEvent): void {
    this.#queue.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#step(next);
    } finally {
      this.#busy = false;
    }
  }

  /** Stops the timers for good; nothing is sent. */
  dispose(): void {
    this.#stopTimers();
    this.#state = 'idle';
    this.#queue.length = 0;
  }

  #step(event: BgpFsmEvent): void {
    const from = this.#state;
    const transition = fsmTable[from][event.type];
    if (transition === undefined) return;
    if (event.type === 'open-received') {
      this.#holdTimeMs = event.holdTimeMs ?? 0;
      this.#keepaliveMs = event.keepaliveMs ?? 0;
    }
    this.#state = transition.next;
    for (const action of transition.actions) this.#act(action, event, transition);
    this.#options.host.transitioned(from, transition.next, event);
  }

  #act(action: BgpFsmAction, event: BgpFsmEvent, transition: BgpFsmTransition): void {
    const { host } = this.#options;
    switch (action) {
      case 'start-connect-retry':
        this.#arm('connect-retry', this.#jittered(this.#options.connectRetryMs), 'connect-retry-expires');
        return;
      case 'dial':
        host.dial();
        return;
      case 'send-open':
        host.sendOpen();
        return;
      case 'start-large-hold':
        this.#armHold(this.#options.largeHoldMs ?? 240_000);
        return;
      case 'start-session-timers':
        this.#armHold(this.#holdTimeMs);
        this.#armKeepalive();
        return;
      case 'send-keepalive':
        host.sendKeepalive();
        return;
      case 'restart-keepalive':
        this.#armKeepalive();
        return;
      case 'restart-hold':
        this.#armHold(this.#holdTimeMs);
        return;
      case 'notify': {
        const what =
          transition.notification === undefined ? event.notification : notification(...transition.notification);
        if (what !== undefined) host.notify(what);
        return;
      }
      case 'stop-timers':
        this.#stopTimers();
        return;
      case 'drop-connection':
        host.dropConnection();
        return;
      case 'reset-retry-counter':
        this.#retryCount = 0;
        return;
      case 'count-retry':
        this.#retryCount += 1;
        return;
      case 'damp':
        host.damp(event);
        return;
      case 'session-up':
        host.sessionUp();
        return;
      case 'session-down':
        host.sessionDown(event);
        return;
      case 'deliver':
        host.deliver();
        return;
      case 'resend-routes':
        host.resendRoutes();
        return;
    }
  }

  #armKeepalive(): void {
    if (this.#keepaliveMs > 0) this.#arm('keepalive', this.#jittered(this.#keepaliveMs), 'keepalive-expires');
  }

  #armHold(delayMs: number): void {
    if (delayMs === 0) return;
    const { clock } = this.#options;
    const dueMs = clock.monotonicMs() + delayMs;
    this.#timers.get('hold')?.cancel();
    this.#timers.set(
      'hold',
      clock.timer(delayMs, () => {
        if (clock.monotonicMs() - dueMs > stallMs) this.#arm('hold', 50, 'hold-expires');
        else this.#fire('hold', 'hold-expires');
      }),
    );
  }

  #arm(name: TimerName, delayMs: number, event: BgpFsmEventType): void {
    this.#timers.get(name)?.cancel();
    this.#timers.set(
      name,
      this.#options.clock.timer(delayMs, () => this.#fire(name, event)),
    );
  }

  #fire(name: TimerName, type: BgpFsmEventType): void {
    this.#timers.delete(name);
    this.handle({ type });
  }

  #stopTimers(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /** Three quarters to all of it. */
  #jittered(delayMs: number): number {
    return delayMs * (0.75 + 0.25 * this.#options.random.fraction());
  }
}
