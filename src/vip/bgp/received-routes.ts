import type { BgpFamily } from './codec/constants.js';
import type { BgpUpdate } from './codec/decode-update.js';
import { prefixText } from './codec/prefix.js';

/** Counts what a peer sends and keeps nothing of it, but for the names of networks up to a limit that is to be enforced. */
export class ReceivedRoutes {
  readonly #limit: number | undefined;
  /** Only with a limit, and never more than it: a route sent twice must not count twice. */
  readonly #networks = new Set<string>();
  readonly endOfRibFrom = new Set<BgpFamily>();
  announcements = 0;
  withdrawals = 0;

  constructor(limit: number | undefined) {
    this.#limit = limit;
  }

  /** False when the limit is exceeded. */
  count(update: BgpUpdate): boolean {
    this.announcements += update.announced.length;
    this.withdrawals += update.withdrawn.length;
    if (update.endOfRib !== undefined) this.endOfRibFrom.add(update.endOfRib);
    if (this.#limit === undefined) return true;
    for (const prefix of update.withdrawn) this.#networks.delete(prefixText(prefix));
    for (const prefix of update.announced) {
      this.#networks.add(prefixText(prefix));
      if (this.#networks.size > this.#limit) return false;
    }
    return true;
  }
}
