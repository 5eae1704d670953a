/** Which addresses the pools gave out, on disk: a restart must not move a VIP. */
import { join } from 'node:path';
import { z } from 'zod';
import { describeError, tryParseIp } from '../core/index.js';
import type { Clock, Logger } from '../core/index.js';
import { SnapshotFileCache } from '../snapshot/index.js';
import type { PoolAllocation } from './ip-pools.js';

const savedSchema = z.array(
  z
    .object({ vip: z.string(), pool: z.string(), address: z.string().refine((text) => tryParseIp(text) === text) })
    .strict()
    .readonly(),
);

export class AllocationFile {
  readonly #cache: SnapshotFileCache<z.output<typeof savedSchema>>;
  readonly #logger: Logger;
  #saved = '';

  constructor(dataDirectory: string, options: { readonly clock: Clock; readonly logger: Logger }) {
    this.#logger = options.logger;
    this.#cache = new SnapshotFileCache({
      path: join(dataDirectory, 'ip-allocations'),
      label: 'ip-allocations',
      parse: (value) => savedSchema.parse(value),
      ...options,
    });
  }

  async read(): Promise<readonly PoolAllocation[]> {
    const allocations = (await this.#cache.read())?.value ?? [];
    this.#saved = JSON.stringify(allocations);
    return allocations;
  }

  /** Writes when something changed. A disk that refuses is logged: addresses may then move at the next start. */
  async save(allocations: readonly PoolAllocation[]): Promise<void> {
    const text = JSON.stringify(allocations);
    if (text === this.#saved) return;
    try {
      await this.#cache.write([...allocations]);
      this.#saved = text;
    } catch (error) {
      this.#logger.error('addresses given out of pools not saved; they may move at the next start', {
        reason: describeError(error),
      });
    }
  }
}
