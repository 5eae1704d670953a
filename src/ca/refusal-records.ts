import { describeError } from '../core/index.js';
import type { Clock, Logger } from '../core/index.js';
import { TokenBuckets } from '../internal/token-bucket.js';
import type { AuditEntry } from './audit-record.js';

export interface RefusalRecordsOptions {
  readonly record: (entry: AuditEntry) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const burst = 50;
const perSecond = 1;
const summaryMs = 60_000;

interface Untold {
  count: number;
  readonly first: AuditEntry;
}

/**
 * Refusals in the audit log, where anybody who can reach the port may cause them: of one caller (or of all who are not
 * known, together) 50 at once and one a second are recorded one by one, further ones as one record a minute that counts them. Otherwise
 * a stranger could fill the disk, and make every certificate wait for the log.
 */
export class RefusalRecords {
  readonly #options: RefusalRecordsOptions;
  readonly #limit: TokenBuckets;
  readonly #untold = new Map<string, Untold>();

  constructor(options: RefusalRecordsOptions) {
    this.#options = options;
    this.#limit = new TokenBuckets({ burst, perSecond }, options.clock);
  }

  /** Never rejects: refused it is all the same. */
  async add(entry: AuditEntry): Promise<void> {
    const { who } = entry;
    if (this.#limit.take(who)) {
      await this.#record(entry);
      return;
    }
    const untold = this.#untold.get(who);
    if (untold !== undefined) {
      untold.count += 1;
      return;
    }
    this.#untold.set(who, { count: 1, first: entry });
    this.#options.clock.timer(summaryMs, () => {
      const { count, first } = this.#untold.get(who) ?? { count: 0, first: entry };
      this.#untold.delete(who);
      void this.#record({
        ...first,
        why: `${String(count)} further refusals within a minute, the first: ${first.why ?? ''}`,
      });
    });
  }

  async #record(entry: AuditEntry): Promise<void> {
    try {
      await this.#options.record(entry);
    } catch (error) {
      this.#options.logger.error('audit record lost', { reason: describeError(error) });
    }
  }
}
