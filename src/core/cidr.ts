import { CoreError } from './errors.js';
import { ipBytes, ipFamily, parseIp } from './ip-address.js';
import type { IpFamily } from './ip-address.js';

/** An IP block such as `10.0.0.0/8`. A bare address is the block of that one address. Host bits must be zero. */
export class Cidr {
  readonly address: string;
  readonly prefixLength: number;
  readonly family: IpFamily;
  readonly #bytes: Uint8Array;

  private constructor(address: string, prefixLength: number) {
    this.address = address;
    this.prefixLength = prefixLength;
    this.family = ipFamily(address);
    this.#bytes = ipBytes(address);
    Object.freeze(this);
  }

  /** Throws `CORE_ADDRESS_MALFORMED` for anything but `address` or `address/length` without host bits. */
  static parse(text: string): Cidr {
    const [addressText = '', lengthText, ...rest] = text.split('/');
    const address = parseIp(addressText);
    const widest = ipFamily(address) === 4 ? 32 : 128;
    const malformed = (why: string): CoreError =>
      new CoreError(
        'CORE_ADDRESS_MALFORMED',
        `expected an IP block such as 10.0.0.0/8, got ${JSON.stringify(text)}: ${why}`,
      );
    if (rest.length > 0) throw malformed('more than one slash');
    if (lengthText === undefined) return new Cidr(address, widest);
    if (!/^(0|[1-9]\d{0,2})$/.test(lengthText) || Number(lengthText) > widest) {
      throw malformed(`the prefix length must be 0 to ${String(widest)}`);
    }
    const cidr = new Cidr(address, Number(lengthText));
    if (!cidr.#hostBitsAreZero()) throw malformed('bits are set beyond the prefix length');
    return cidr;
  }

  /** Whether the canonical or any valid `address` is inside; an address of the other family never is. */
  contains(address: string): boolean {
    const canonical = parseIp(address);
    if (ipFamily(canonical) !== this.family) return false;
    const bytes = ipBytes(canonical);
    const whole = this.prefixLength >> 3;
    for (let index = 0; index < whole; index += 1) if (bytes[index] !== this.#bytes[index]) return false;
    const bits = this.prefixLength & 7;
    if (bits === 0) return true;
    const shift = 8 - bits;
    return (bytes[whole] ?? 0) >> shift === (this.#bytes[whole] ?? 0) >> shift;
  }

  toString(): string {
    return `${this.address}/${String(this.prefixLength)}`;
  }

  #hostBitsAreZero(): boolean {
    return this.#bytes.every((byte, index) => {
      const kept = Math.min(8, Math.max(0, this.prefixLength - 8 * index));
      return (byte & (0xff >> kept)) === 0;
    });
  }
}
