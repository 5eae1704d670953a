import { notify } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import type { VipManagerEvent } from './events.js';
import type { VipState, VipStatus } from './vip-status.js';

/** What a status says of the moment; name and mode are its owner's. */
export interface VipReport {
  readonly state: VipState;
  readonly reason: string;
  readonly owner?: string | undefined;
}

interface Reader {
  readonly news: Map<string, VipStatus>;
  wake: () => void;
}

/** The present status of every address, and who wants to hear of changes. */
export class StatusBoard {
  readonly #clock: Clock;
  readonly #observer: Observer<VipManagerEvent>;
  readonly #logger: Logger;
  readonly #statuses = new Map<string, VipStatus>();
  readonly #readers = new Set<Reader>();

  constructor(clock: Clock, observer: Observer<VipManagerEvent>, logger: Logger) {
    this.#clock = clock;
    this.#observer = observer;
    this.#logger = logger;
  }

  get all(): readonly VipStatus[] {
    return [...this.#statuses.values()];
  }

  get(address: string): VipStatus | undefined {
    return this.#statuses.get(address);
  }

  set(address: string, whose: Pick<VipStatus, 'name' | 'mode' | 'device'>, report: VipReport): void {
    const before = this.#statuses.get(address);
    const isSame =
      before?.state === report.state &&
      before.reason === report.reason &&
      before.owner === report.owner &&
      before.name === whose.name;
    if (isSame) return;
    const { name, mode, device } = whose;
    const { state, reason, owner } = report;
    const since = before?.state === state ? before.since : this.#clock.now();
    const status: VipStatus = Object.freeze({
      ...{ name, address, mode, state, since, reason },
      ...(owner === undefined ? {} : { owner }),
      ...(device === undefined ? {} : { device }),
    });
    this.#statuses.set(address, status);
    for (const reader of this.#readers) {
      reader.news.set(address, status);
      reader.wake();
    }
    if (before?.state !== state) {
      const level = state === 'conflicted' ? 'warn' : 'info';
      this.#logger[level]('virtual IP', { vip: name, address, mode, state, reason, from: before?.state });
      notify(this.#observer, { type: 'vip.state', status, from: before?.state });
    }
  }

  /** Forgets an address; readers have its last status. */
  forget(address: string): void {
    this.#statuses.delete(address);
  }

  /** All statuses now, then each change: the newest per address, where a reader is slow. */
  async *changes(signal: AbortSignal | undefined): AsyncGenerator<VipStatus, void, undefined> {
    const reader: Reader = { news: new Map(this.#statuses), wake: () => undefined };
    this.#readers.add(reader);
    const onAbort = (): void => reader.wake();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      while (signal?.aborted !== true) {
        const [next] = reader.news;
        if (next !== undefined) {
          reader.news.delete(next[0]);
          yield next[1];
          continue;
        }
        await new Promise<void>((resolve) => {
          reader.wake = resolve;
        });
      }
    } finally {
      this.#readers.delete(reader);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
