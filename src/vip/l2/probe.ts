import type { Clock, Random, Timer } from '../../core/index.js';
import type { Sighting } from './sighting.js';
import type { ProbeTimings } from './timings.js';

/**
 * Whether an address may be claimed. `by`: its `owner` spoke, or another `prober` asks the same at the same time, in which
 * case neither may have it (RFC 5227 section 2.1.1).
 */
export type ProbeResult =
  { readonly free: true } | { readonly free: false; readonly mac: string; readonly by: 'owner' | 'prober' };

export interface ProbeParts {
  readonly timings: ProbeTimings;
  readonly clock: Clock;
  readonly random: Random;
  /** Sends one probe; false when it could not go out. */
  readonly send: () => boolean;
  /** Called once. `unheard`: that no answer came proves nothing, for a probe could not be sent or the link went down. */
  readonly onResult: (result: ProbeResult | 'unheard') => void;
}

/** One run of RFC 5227 section 2.1.1: wait, probe, listen. Knows no packets. */
export class Probe {
  readonly #parts: ProbeParts;
  #timer: Timer | undefined;
  #sent = 0;
  #ended = false;

  constructor(parts: ProbeParts) {
    this.#parts = parts;
  }

  start(): void {
    const { random, timings } = this.#parts;
    this.#after(random.fraction() * timings.waitMs, () => this.#probe());
  }

  /** Another station spoke of the address; what it heard before the first probe counts too. */
  sighted({ mac, kind }: Sighting): void {
    this.#end({ free: false, mac, by: kind === 'use' ? 'owner' : 'prober' });
  }

  /** What was not heard meanwhile may have been said. */
  abandon(): void {
    this.#end('unheard');
  }

  /** Ends it without a result. */
  cancel(): void {
    this.#ended = true;
    this.#timer?.cancel();
  }

  #probe(): void {
    const { random, send, timings } = this.#parts;
    if (!send()) {
      this.#end('unheard');
      return;
    }
    if (this.#ended) return;
    this.#sent += 1;
    if (this.#sent === timings.count) {
      this.#after(timings.listenMs, () => this.#end({ free: true }));
    } else {
      const span = timings.maxIntervalMs - timings.minIntervalMs;
      this.#after(timings.minIntervalMs + random.fraction() * span, () => this.#probe());
    }
  }

  #after(delayMs: number, fn: () => void): void {
    // Who waits for the answer keeps the process alive by it.
    this.#timer = this.#parts.clock.timer(delayMs, fn, { keepAlive: true });
  }

  #end(result: ProbeResult | 'unheard'): void {
    if (this.#ended) return;
    this.cancel();
    this.#parts.onResult(result);
  }
}
