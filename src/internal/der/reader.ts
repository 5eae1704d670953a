/**
 * DER decoding (X.690), the reading half: strict, bounded by its input, no recursion of its own. A caller walks the
 * structure it expects; anything else is a `DerError`, which the calling module wraps in an error of its own.
 */
export class DerError extends Error {}

export interface DerElement {
  /** The identifier octet, class and constructed bit included. Tags above 30 are refused. */
  readonly tag: number;
  /** The contents octets. */
  readonly contents: Uint8Array;
  /** The whole element: identifier, length and contents. */
  readonly encoded: Uint8Array;
}

/** Reads elements one after another from `bytes`. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** The identifier octet that comes next, `undefined` at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /** Reads one element, of `tag` when given. */
  read(tag?: number): DerElement {
    const start = this.#offset;
    const found = this.#octet();
    if ((found & 0x1f) === 0x1f) throw new DerError('a tag number above 30');
    if (tag !== undefined && found !== tag) throw new DerError(`expected tag ${hex(tag)}, found ${hex(found)}`);
    const length = this.#length();
    const from = this.#offset;
    if (length > this.#bytes.length - from) throw new DerError('an element runs past the end of its input');
    this.#offset = from + length;
    return {
      tag: found,
      contents: this.#bytes.subarray(from, from + length),
      encoded: this.#bytes.subarray(start, from + length),
    };
  }

  /** Reads one element when the next one is of `tag`; otherwise reads nothing. */
  readOptional(tag: number): DerElement | undefined {
    return this.nextTag === tag ? this.read(tag) : undefined;
  }

  /** Reads one element of `tag` and gives a reader over its contents. */
  enter(tag: number): DerReader {
    return new DerReader(this.read(tag).contents);
  }

  /** Throws when anything is left. */
  end(): void {
    if (!this.atEnd) throw new DerError(`${String(this.#bytes.length - this.#offset)} bytes too many`);
  }

  #octet(): number {
    const octet = this.#bytes[this.#offset];
    if (octet === undefined) throw new DerError('the input ends early');
    this.#offset += 1;
    return octet;
  }

  #length(): number {
    const first = this.#octet();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    // Four octets hold any input we accept; 0 would be BER's indefinite form.
    if (count === 0 || count > 4) throw new DerError('an indefinite or oversized length');
    let length = 0;
    for (let index = 0; index < count; index += 1) length = length * 256 + this.#octet();
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError('a length that is not minimal');
    return length;
  }
}

/** The dotted form of an object identifier's contents octets. */
export function oidFromDer(contents: Uint8Array): string {
  if (contents.length === 0 || contents.length > 64 || (contents[contents.length - 1] ?? 0x80) > 0x7f) {
    throw new DerError('an object identifier that does not end');
  }
  const arcs: number[] = [];
  let value = 0;
  let fresh = true;
  for (const octet of contents) {
    if (fresh && octet === 0x80) throw new DerError('an object identifier that is not minimal');
    value = value * 128 + (octet & 0x7f);
    if (!Number.isSafeInteger(value)) throw new DerError('an object identifier that is too large');
    fresh = octet < 0x80;
    if (fresh) {
      if (arcs.length === 0)
        arcs.push(Math.min(2, Math.floor(value / 40)), value - 40 * Math.min(2, Math.floor(value / 40)));
      else arcs.push(value);
      value = 0;
    }
  }
  return arcs.join('.');
}

/** The bytes of a bit string without unused bits. */
export function wholeBits(contents: Uint8Array): Uint8Array {
  if (contents[0] !== 0) throw new DerError('expected a bit string of whole bytes');
  return contents.subarray(1);
}

const hex = (octet: number): string => `0x${octet.toString(16).padStart(2, '0')}`;
