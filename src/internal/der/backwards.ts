/**
 * DER written from its end: by the time a length is due, what it counts is there already, so nothing is copied twice.
 * For what is written often; `writer.ts` reads better for everything else.
 */
export class DerBackwards {
  readonly #bytes: Uint8Array;
  #start: number;

  /** Writing more than `maxBytes` throws `RangeError`. */
  constructor(maxBytes: number) {
    this.#bytes = new Uint8Array(maxBytes);
    this.#start = maxBytes;
  }

  /** A place to give to `close` later. */
  get mark(): number {
    return this.#start;
  }

  /** Begins anew. What `finish` returned stays as it is. */
  reset(): void {
    this.#start = this.#bytes.length;
  }

  /** Puts `bytes` before what is there. */
  raw(bytes: Uint8Array): void {
    this.#start -= bytes.length;
    this.#bytes.set(bytes, this.#start);
  }

  octet(value: number): void {
    this.raw(Uint8Array.of(value));
  }

  /** Puts the head before all that was written since `mark`, which becomes the contents of one element. */
  close(tag: number, mark: number): void {
    const length = mark - this.#start;
    if (length < 0x80) this.raw(Uint8Array.of(tag, length));
    else if (length < 0x100) this.raw(Uint8Array.of(tag, 0x81, length));
    else if (length < 0x10000) this.raw(Uint8Array.of(tag, 0x82, length >> 8, length & 0xff));
    else throw new RangeError(`expected an element of less than 64 KiB, got ${String(length)} bytes`);
  }

  /** A non-negative integer from big-endian bytes, at least one. */
  unsignedInteger(magnitude: Uint8Array): void {
    const { mark } = this;
    let first = 0;
    while (first < magnitude.length - 1 && magnitude[first] === 0) first += 1;
    this.raw(magnitude.subarray(first));
    if ((magnitude[first] ?? 0) > 0x7f) this.octet(0);
    this.close(0x02, mark);
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(this.#start);
  }
}
