import type { Clock } from '../../core/index.js';
import type { BgpFailure } from './failure-words.js';

export type PastFailure = BgpFailure & { readonly at: number };

/** A session that lasted this long has shown that the peer is sound. */
const soundAfterMs = 30_000;

/** What became of a peer so far: sessions, failures, and the words for the last of them. */
export class PeerHistory {
  readonly #clock: Clock;
  #sessions = 0;
  #sessionSinceMs = 0;
  #lastError: PastFailure | undefined;
  #sessionEnd: PastFailure | undefined;
  /** A session has ended, and what is recorded next is why. */
  #reasonDue = false;
  /** Since the last session. */
  failures = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many there were. */
  get sessions(): number {
    return this.#sessions;
  }

  get lastError(): PastFailure | undefined {
    return this.#lastError;
  }

  /** Why the last session ended. */
  get sessionEnd(): PastFailure | undefined {
    return this.#sessionEnd;
  }

  sessionBegan(): void {
    this.#sessions += 1;
    this.#sessionSinceMs = this.#clock.monotonicMs();
  }

  /** True when it had lasted long enough to forget earlier failures. `reasonFollows`: the next record says why it ended. */
  sessionEnded(reasonFollows: boolean): boolean {
    this.#reasonDue = reasonFollows;
    const isSound = this.#clock.monotonicMs() - this.#sessionSinceMs >= soundAfterMs;
    if (isSound) this.failures = 0;
    return isSound;
  }

  record(what: BgpFailure, duringSession: boolean): void {
    this.#lastError = { ...what, at: this.#clock.now() };
    if (duringSession || this.#reasonDue) this.#sessionEnd = this.#lastError;
    this.#reasonDue = false;
  }
}
