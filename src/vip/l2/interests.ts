import type { Clock, Timer } from '../../core/index.js';
import type { Announcement } from './announcement.js';
import type { Probe } from './probe.js';

/** What is going on for one address. */
export interface Interest {
  readonly probes: Set<Probe>;
  announcement: Announcement | undefined;
}

const narrowAfterMs = 100;

/**
 * The addresses whose packets matter, each for as long as something goes on for it, and the filters that follow. Many that
 * come, or go, at about the same time make one change of the filters, which cost the kernel a while.
 */
export class Interests implements Disposable {
  readonly #byAddress = new Map<string, Interest>();
  readonly #clock: Clock;
  readonly #watch: (addresses: readonly string[]) => void;
  #isStale = false;
  #closed = false;
  #narrowing: Timer | undefined;

  /** `watch` sets the filters. */
  constructor(clock: Clock, watch: (addresses: readonly string[]) => void) {
    this.#clock = clock;
    this.#watch = watch;
  }

  get all(): readonly Interest[] {
    return [...this.#byAddress.values()];
  }

  find(address: string): Interest | undefined {
    return this.#byAddress.get(address);
  }

  at(address: string): Interest {
    const known = this.#byAddress.get(address);
    if (known !== undefined) return known;
    const made: Interest = { probes: new Set(), announcement: undefined };
    this.#byAddress.set(address, made);
    if (!this.#isStale) queueMicrotask(() => this.flush());
    this.#isStale = true;
    return made;
  }

  /** Forgets the address when nothing goes on for it any more. */
  release(address: string): void {
    const interest = this.#byAddress.get(address);
    if (interest === undefined || interest.probes.size > 0 || interest.announcement !== undefined) return;
    this.#byAddress.delete(address);
    if (this.#closed) return;
    // Until then the filter lets through what nobody looks at any more.
    this.#narrowing ??= this.#clock.timer(narrowAfterMs, () => {
      this.#isStale = true;
      this.flush();
    });
  }

  /** Makes sure that the filters let through what concerns the addresses: before anything is asked. */
  flush(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#narrowing?.cancel();
    this.#narrowing = undefined;
    this.#watch([...this.#byAddress.keys()]);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#isStale = false;
    this.#narrowing?.cancel();
  }
}
