import type { Clock, Timer } from '../core/index.js';
import type { ResolvedHttp1Limits } from './http1-limits.js';

/** What a connection is waiting for its client to do: send a request, finish its head, go on with its body. */
export type TimedPhase = 'idle' | 'head' | 'body';

/** The one timer of a connection: at most one phase is timed at once. */
export class ConnectionTimer {
  readonly #clock: Clock;
  readonly #delaysMs: Readonly<Record<TimedPhase, number>>;
  readonly #onTimeout: (phase: TimedPhase) => void;
  #timer: Timer | undefined;
  #phase: TimedPhase | undefined;

  constructor(clock: Clock, limits: ResolvedHttp1Limits, onTimeout: (phase: TimedPhase) => void) {
    this.#clock = clock;
    this.#delaysMs = { idle: limits.idleTimeoutMs, head: limits.headTimeoutMs, body: limits.bodyStallTimeoutMs };
    this.#onTimeout = onTimeout;
  }

  /** The phase that is timed now. */
  get phase(): TimedPhase | undefined {
    return this.#phase;
  }

  /** Times `phase` from now, and no other. */
  start(phase: TimedPhase): void {
    this.#timer?.cancel();
    this.#phase = phase;
    this.#timer = this.#clock.timer(this.#delaysMs[phase], () => {
      this.#phase = undefined;
      this.#onTimeout(phase);
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#phase = undefined;
  }
}
