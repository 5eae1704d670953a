import { SnapshotError } from './errors.js';
import { decode } from './encoded-content.js';

export interface OfferedSnapshot {
  readonly sequence: bigint;
  readonly hash: string;
  readonly encodedBytes: number;
  readonly contentBytes: number;
}

/** Collects the chunks of one offered snapshot. Past `maxBytes` it keeps none of them, only count, so that it can be refused. */
export class IncomingSnapshot {
  readonly offer: OfferedSnapshot;
  readonly #maxBytes: number;
  readonly #chunks: Uint8Array[] = [];
  #received = 0;

  constructor(offer: OfferedSnapshot, maxBytes: number) {
    this.offer = offer;
    this.#maxBytes = maxBytes;
  }

  get complete(): boolean {
    return this.#received === this.offer.encodedBytes;
  }

  /** Throws `SNAPSHOT_CORRUPT` for more than was announced: the two ends are out of step. */
  add(chunk: Uint8Array): void {
    this.#received += chunk.length;
    if (chunk.length === 0 || this.#received > this.offer.encodedBytes) {
      throw new SnapshotError('SNAPSHOT_CORRUPT', 'expected chunks of the announced length, got more or an empty one');
    }
    if (!this.#tooLarge) this.#chunks.push(chunk);
  }

  /** The content, parsed. Throws `SNAPSHOT_TOO_LARGE`, `SNAPSHOT_CORRUPT`. */
  async value(): Promise<unknown> {
    if (this.#tooLarge) {
      const { encodedBytes, contentBytes } = this.offer;
      const message = `expected a snapshot of at most ${String(this.#maxBytes)} bytes, got ${String(contentBytes)} (${String(encodedBytes)} encoded)`;
      throw new SnapshotError('SNAPSHOT_TOO_LARGE', message);
    }
    return decode(Buffer.concat(this.#chunks), this.offer);
  }

  get #tooLarge(): boolean {
    return this.offer.encodedBytes > this.#maxBytes || this.offer.contentBytes > this.#maxBytes;
  }
}
