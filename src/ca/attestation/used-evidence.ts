import { z } from 'zod';
import type { Clock } from '../../core/index.js';
import { CaError } from '../errors.js';
import { SerialQueue } from '../serial-queue.js';
import type { CaStore } from '../store.js';

export interface UsedEvidenceOptions {
  /** Already open. Default: kept in memory only, and forgotten with the process. */
  readonly store?: Pick<CaStore, 'read' | 'write'> | undefined;
  readonly clock: Clock;
  /** Entries at most, 1 or more; beyond them nothing is accepted. Default 50 000. */
  readonly maxEntries?: number | undefined;
  /** Of them for one node, so that none can fill the list for all. Default 100. */
  readonly maxPerNode?: number | undefined;
}

/** Kept this long past the end of the evidence, so that a clock set back does not make it fresh again. */
const rememberMs = 24 * 60 * 60 * 1000;

const documentSchema = z.strictObject({
  format: z.literal('meshwright-used-evidence/1'),
  used: z.array(z.strictObject({ digest: z.string(), key: z.string(), node: z.string(), untilMs: z.number() })),
});
type Entry = z.output<typeof documentSchema>['used'][number];

/** One use of evidence. */
export interface EvidenceUse {
  /** Stands for the evidence and does not reveal it. */
  readonly digest: string;
  /** Names the key that the evidence is used for. */
  readonly key: string;
  readonly node: string;
  /** When the evidence ends by itself, in ms. */
  readonly endsMs: number;
}

/**
 * Remembers what evidence was used, so that it is not accepted for a second key, also after a restart. It holds digests, never the
 * evidence. Made by `SpiffeCA.usedEvidence`.
 */
export class UsedEvidence {
  readonly #options: UsedEvidenceOptions;
  readonly #used: Map<string, Entry>;
  readonly #saves = new SerialQueue();

  private constructor(options: UsedEvidenceOptions, used: readonly Entry[]) {
    this.#options = options;
    this.#used = new Map(used.map((entry) => [entry.digest, entry]));
  }

  /** Remembers for the life of this process. */
  static inMemory(options: Omit<UsedEvidenceOptions, 'store'>): UsedEvidence {
    return new UsedEvidence(options, []);
  }

  /** Reads what the store holds. Throws `CA_STORE_CORRUPT`. */
  static async load(options: UsedEvidenceOptions): Promise<UsedEvidence> {
    const bytes = await options.store?.read('used-evidence');
    if (bytes === undefined) return new UsedEvidence(options, []);
    try {
      return new UsedEvidence(options, documentSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))).used);
    } catch (cause) {
      const message = 'the list of used evidence cannot be used: it is not of the form this program wrote';
      throw new CaError('CA_STORE_CORRUPT', message, { cause });
    }
  }

  /** Whether it was used for another key than `key`. */
  isSpent(digest: string, key: string): boolean {
    const before = this.#used.get(digest);
    return before !== undefined && before.key !== key;
  }

  /**
   * Uses evidence up: false when it was before, for another key. For the same key it may come again, since the answer may
   * have been lost, and is of use to nobody but the holder of that key. Resolves only when the store knows it.
   * Throws `CA_ATTESTATION_LIMIT`, `CA_STORE_FAILED`; the evidence counts as used then.
   */
  async use({ digest, key, node, endsMs }: EvidenceUse): Promise<boolean> {
    if (this.isSpent(digest, key)) return false;
    const before = this.#used.get(digest);
    this.#prune();
    const { maxEntries = 50_000, maxPerNode = 100, store } = this.#options;
    const ofNode = [...this.#used.values()].filter((entry) => entry.node === node).length;
    if (before === undefined && (this.#used.size >= maxEntries || ofNode >= maxPerNode)) {
      const message = `${String(ofNode)} tokens of node ${node}, and ${String(this.#used.size)} in all, were used within a day; no more are taken`;
      throw new CaError('CA_ATTESTATION_LIMIT', message, { fields: { node } });
    }
    // Before the first await, so that of two calls the second is refused.
    this.#used.set(digest, { digest, key, node, untilMs: endsMs + rememberMs });
    if (store !== undefined) await this.#saves.run(() => this.#save(store));
    return true;
  }

  #prune(): void {
    const nowMs = this.#options.clock.now();
    for (const { digest, untilMs } of this.#used.values()) if (untilMs <= nowMs) this.#used.delete(digest);
  }

  #save(store: Pick<CaStore, 'write'>): Promise<void> {
    const document = { format: 'meshwright-used-evidence/1', used: [...this.#used.values()] };
    return store.write('used-evidence', Buffer.from(JSON.stringify(document), 'utf8'));
  }
}
