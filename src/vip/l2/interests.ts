import type { Announcement } from './announcement.js';
import type { Probe } from './probe.js';

/** What is going on for one address. */
export interface Interest {
  readonly probes: Set<Probe>;
  announcement: Announcement | undefined;
}

/** The addresses whose packets matter, each for as long as something goes on for it. */
export class Interests {
  readonly #byAddress = new Map<string, Interest>();
  readonly #onChange: () => void;

  /** `onChange`: the set of addresses is another now. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get addresses(): readonly string[] {
    return [...this.#byAddress.keys()];
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
    this.#onChange();
    return made;
  }

  /** Forgets the address when nothing goes on for it any more. */
  release(address: string): void {
    const interest = this.#byAddress.get(address);
    if (interest === undefined || interest.probes.size > 0 || interest.announcement !== undefined) return;
    this.#byAddress.delete(address);
    this.#onChange();
  }
}
