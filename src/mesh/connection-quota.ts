/**
 * How many connections may be open: in all, and by one source, so that a single pod (or a stolen one) cannot take every
 * place from the others.
 */
export interface ConnectionQuotaOptions {
  /** In all. At least 1. */
  readonly maxConnections: number;
  /** By one source. At least 1. */
  readonly maxConnectionsPerSource: number;
}

export class ConnectionQuota {
  readonly #options: ConnectionQuotaOptions;
  readonly #bySource = new Map<string, number>();
  #open = 0;

  constructor(options: ConnectionQuotaOptions) {
    for (const [name, value] of Object.entries(options) as [string, number][]) {
      if (!Number.isInteger(value) || value < 1) {
        throw new RangeError(`expected ${name} to be a whole number from 1, got ${String(value)}`);
      }
    }
    this.#options = options;
  }

  get open(): number {
    return this.#open;
  }

  /** A place for `source`, to be released once it is over; or, as text, why there is none. */
  take(source: string): Disposable | string {
    const { maxConnections, maxConnectionsPerSource } = this.#options;
    const own = this.#bySource.get(source) ?? 0;
    if (this.#open >= maxConnections) return `all ${String(maxConnections)} connections are taken`;
    if (own >= maxConnectionsPerSource) return `the source has ${String(own)} connections open, as many as it may`;
    this.#open += 1;
    this.#bySource.set(source, own + 1);
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        this.#open -= 1;
        const left = (this.#bySource.get(source) ?? 1) - 1;
        if (left === 0) this.#bySource.delete(source);
        else this.#bySource.set(source, left);
      },
    };
  }
}
