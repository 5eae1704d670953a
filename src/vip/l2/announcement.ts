import type { Clock, Random, Timer } from '../../core/index.js';
import type { AnnounceReason } from './events.js';
import type { AnnounceTimings } from './timings.js';

export interface AnnouncementParts {
  readonly timings: AnnounceTimings;
  readonly clock: Clock;
  readonly random: Random;
  /** Sends one announcement, now or in its turn, or withholds it (not the owner, link down), which is false. */
  readonly send: (reason: AnnounceReason) => boolean;
  /** A conflict, answered or not. */
  readonly onConflict: (conflict: { readonly mac: string; readonly defended: boolean }) => void;
  /** A conflict for the owner to decide: not defended, or it goes on in spite of it. At most one a second. */
  readonly onPersistentConflict: (conflict: { readonly mac: string }) => void;
  /** A burst asked for was not sent at once. */
  readonly onRateLimited: (reason: AnnounceReason) => void;
}

/** Bursts that may start at once, and how fast that allowance comes back. */
const triggersAtOnce = 8;
const triggerEveryMs = 1000;
const reportEveryMs = 1000;
/** After a packet that the kernel did not take, as when a queue is full: a second would be long for clients. */
const retryMs = 50;
const maxRetries = 5;

/**
 * When one address is announced: at once and a few times more, then slowly for as long as it lasts; in defence against
 * another station (RFC 5227 section 2.4); and anew when something says that neighbours may have forgotten. Knows no
 * packets.
 */
export class Announcement {
  readonly #parts: AnnouncementParts;
  #timer: Timer | undefined;
  #left = 0;
  #retries = 0;
  #triggers = triggersAtOnce;
  #triggersAtMs: number;
  #lastConflictMs = Number.NEGATIVE_INFINITY;
  #lastDefenceMs = Number.NEGATIVE_INFINITY;
  #lastReportMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(parts: AnnouncementParts) {
    this.#parts = parts;
    this.#triggersAtMs = parts.clock.monotonicMs();
  }

  /** Announces now and starts the burst over. Too many of these: the one that is due within the burst interval has to do. */
  trigger(reason: AnnounceReason): void {
    if (this.#stopped) return;
    const { onRateLimited, send, timings } = this.#parts;
    if (this.#takeTrigger()) {
      this.#left = timings.burst;
      this.#arm();
      send(reason);
      return;
    }
    onRateLimited(reason);
    if (this.#left > 0) return;
    this.#left = 1;
    this.#arm();
  }

  /** What became of a packet. One that failed is tried again soon, a few times. */
  delivered(ok: boolean): void {
    if (ok || this.#stopped || this.#retries === maxRetries) {
      this.#retries = 0;
      return;
    }
    this.#retries += 1;
    // One more: the regular ones keep their number.
    this.#left += 1;
    this.#arm(retryMs);
  }

  /** Another station uses the address. */
  conflict(mac: string): void {
    if (this.#stopped) return;
    const { clock, onConflict, onPersistentConflict, send, timings } = this.#parts;
    const nowMs = clock.monotonicMs();
    const persists = nowMs - this.#lastConflictMs < timings.defendIntervalMs;
    this.#lastConflictMs = nowMs;
    let defended = false;
    if (nowMs - this.#lastDefenceMs >= timings.defendIntervalMs) {
      defended = send('defence');
      if (defended) this.#lastDefenceMs = nowMs;
    }
    onConflict({ mac, defended });
    if ((defended && !persists) || nowMs - this.#lastReportMs < reportEveryMs) return;
    this.#lastReportMs = nowMs;
    onPersistentConflict({ mac });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #arm(delayMs = this.#intervalMs()): void {
    this.#timer?.cancel();
    this.#timer = this.#parts.clock.timer(delayMs, () => {
      const reason = this.#left > 0 ? 'burst' : 'repeat';
      this.#left = Math.max(0, this.#left - 1);
      this.#arm();
      this.#parts.send(reason);
    });
  }

  #intervalMs(): number {
    const { random, timings } = this.#parts;
    if (this.#left > 0) return timings.burstIntervalMs;
    return timings.minRepeatMs + random.fraction() * (timings.maxRepeatMs - timings.minRepeatMs);
  }

  #takeTrigger(): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#triggers = Math.min(triggersAtOnce, this.#triggers + (nowMs - this.#triggersAtMs) / triggerEveryMs);
    this.#triggersAtMs = nowMs;
    if (this.#triggers < 1) return false;
    this.#triggers -= 1;
    return true;
  }
}
