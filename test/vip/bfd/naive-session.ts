/**
 * RFC 5880 section 6.8 word for word, with its own variables and stored deadlines: slow and plain, to hold the real session
 * against. What the text leaves open is decided as the real one does: no echo, no authentication, active role, polls only
 * towards a known peer, and a peer that was forgotten is forgotten whole.
 */
import type { BfdPacket, BfdState } from '../../../src/vip/bfd/packet.js';

export interface NaiveTimers {
  readonly tx: number;
  readonly rx: number;
  readonly multiplier: number;
}

export class NaiveSession {
  sessionState: BfdState = 'down';
  remoteSessionState: BfdState = 'down';
  remoteDiscr = 0;
  localDiag = 0;
  desiredMinTx: number;
  requiredMinRx: number;
  remoteMinRx = 1;
  remoteDesiredMinTx = 0;
  remoteDetectMult = 0;
  remoteDemand = false;
  polling = false;
  pollAgain = false;
  /** Values that count, apart from those announced. */
  txInForce: number;
  rxInForce: number;
  nextTx = 0;
  lastTx: number | undefined;
  detection: number | undefined;
  lastRx = 0;
  /** A change that waits for its turn: ten milliseconds after the last packet. */
  news = false;
  readonly sent: string[] = [];
  readonly #fraction: number;
  #timers: NaiveTimers;

  constructor(timers: NaiveTimers, fraction: number) {
    this.#timers = timers;
    this.#fraction = fraction;
    this.desiredMinTx = Math.max(1_000_000, timers.tx);
    this.requiredMinRx = timers.rx;
    this.txInForce = this.desiredMinTx;
    this.rxInForce = this.requiredMinRx;
  }

  /** The next moment at which time alone does something. */
  next(): number | undefined {
    const news = this.news && this.lastTx !== undefined ? this.lastTx + 10 : undefined;
    const due = [this.#mayTransmit() ? this.nextTx : undefined, this.detection, news].filter(
      (each) => each !== undefined,
    );
    return due.length === 0 ? undefined : Math.min(...due);
  }

  time(now: number): void {
    const before = this.#said();
    if (this.detection !== undefined && this.detection <= now) {
      this.detection = undefined;
      this.remoteDiscr = 0;
      this.remoteSessionState = 'down';
      this.remoteMinRx = 1;
      this.remoteDesiredMinTx = 0;
      this.remoteDetectMult = 0;
      this.remoteDemand = false;
      this.polling = false;
      this.pollAgain = false;
      this.txInForce = this.desiredMinTx;
      this.rxInForce = this.requiredMinRx;
      if (this.sessionState === 'init' || this.sessionState === 'up') this.#become('down', 1);
    }
    this.#rearm();
    this.#transmit(before, now, false);
  }

  receive(packet: BfdPacket, now: number): void {
    const before = this.#said();
    this.remoteDiscr = packet.myDiscriminator;
    this.remoteSessionState = packet.state;
    this.remoteDemand = packet.demand;
    this.remoteMinRx = packet.requiredMinRxUs;
    this.remoteDesiredMinTx = packet.desiredMinTxUs;
    this.remoteDetectMult = packet.detectMultiplier;
    this.lastRx = now;
    if (packet.final && this.polling) {
      if (this.pollAgain) {
        this.pollAgain = false;
      } else {
        this.polling = false;
        this.txInForce = this.desiredMinTx;
        this.rxInForce = this.requiredMinRx;
      }
    }
    if (this.sessionState === 'admin-down') {
      this.#rearm();
      return;
    }
    if (packet.state === 'admin-down') {
      if (this.sessionState !== 'down') this.#become('down', 3);
    } else if (this.sessionState === 'down') {
      if (packet.state === 'down') this.#become('init', this.localDiag);
      else if (packet.state === 'init') this.#become('up', 0);
    } else if (this.sessionState === 'init') {
      if (packet.state === 'init' || packet.state === 'up') this.#become('up', 0);
    } else if (packet.state === 'down') {
      this.#become('down', 3);
    }
    this.#rearm();
    if (packet.poll) this.#note('final');
    this.#transmit(before, now, packet.poll);
  }

  configure(timers: NaiveTimers, now: number): void {
    const before = this.#said();
    this.#timers = timers;
    this.#setIntervals();
    this.#rearm();
    this.#transmit(before, now, false);
  }

  admin(down: boolean, now: number): void {
    const before = this.#said();
    if (down && this.sessionState !== 'admin-down') this.#become('admin-down', 7);
    else if (!down && this.sessionState === 'admin-down') this.#become('down', 0);
    else return;
    this.#rearm();
    this.#transmit(before, now, false);
  }

  #become(state: BfdState, diag: number): void {
    this.sessionState = state;
    this.localDiag = diag;
    this.#setIntervals();
  }

  #setIntervals(): void {
    const up = this.sessionState === 'up';
    const tx = up ? this.#timers.tx : Math.max(1_000_000, this.#timers.tx);
    const rx = this.#timers.rx;
    const changed = tx !== this.desiredMinTx || rx !== this.requiredMinRx;
    this.desiredMinTx = tx;
    this.requiredMinRx = rx;
    if (!changed) return;
    if (!up || tx < this.txInForce) this.txInForce = tx;
    if (!up || rx > this.rxInForce) this.rxInForce = rx;
    if (this.remoteDiscr === 0) return;
    if (this.polling) this.pollAgain = true;
    this.polling = true;
  }

  #mayTransmit(): boolean {
    if (this.remoteMinRx === 0) return false;
    const demandActive = this.remoteDemand && this.sessionState === 'up' && this.remoteSessionState === 'up';
    return !demandActive || this.polling;
  }

  #rearm(): void {
    const share = this.#timers.multiplier === 1 ? 0.9 - 0.15 * this.#fraction : 1 - 0.25 * this.#fraction;
    if (this.lastTx !== undefined) {
      this.nextTx = this.lastTx + (Math.max(this.txInForce, this.remoteMinRx) / 1000) * share;
    }
    if (this.remoteDiscr !== 0) {
      this.detection = this.lastRx + (this.remoteDetectMult * Math.max(this.rxInForce, this.remoteDesiredMinTx)) / 1000;
    }
  }

  #said(): string {
    const { sessionState, localDiag, desiredMinTx, requiredMinRx } = this;
    return [sessionState, localDiag, desiredMinTx, requiredMinRx, this.#timers.multiplier].join(' ');
  }

  #transmit(before: string, now: number, answered: boolean): void {
    if (answered) this.news = false;
    else if (before !== this.#said()) this.news = true;
    const due = this.#mayTransmit() && this.nextTx <= now;
    const mayTell = this.news && (this.lastTx === undefined || this.lastTx + 10 <= now);
    if (!due && !mayTell) return;
    this.news = false;
    this.#note(this.polling ? 'poll' : 'plain');
    this.lastTx = now;
    this.#rearm();
  }

  #note(kind: string): void {
    this.sent.push(`${kind} ${this.#said()} ${String(this.remoteDiscr)}`);
  }
}
