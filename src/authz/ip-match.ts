/** IP blocks, compared as numbers: an address is parsed once for each request and then only masked. */
import { Cidr, ipBytes, tryParseIp } from '../core/index.js';

/** An address as four 32-bit words, signed; IPv4 uses the last one and `isV4`. */
export class IpWords {
  isV4 = true;
  first = 0;
  second = 0;
  third = 0;
  last = 0;
}

/** Fills in `into`, or returns false for what is not an address. IPv4-mapped IPv6 is IPv4. Allocates nothing for IPv4. */
export function parseIpWords(text: string, into: IpWords): boolean {
  const v4 = parseIpv4(text);
  if (v4 !== undefined) {
    setWords(into, true, 0, 0, 0, v4);
    return true;
  }
  const canonical = tryParseIp(text);
  if (canonical === undefined) return false;
  const bytes = ipBytes(canonical);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) setWords(into, true, 0, 0, 0, view.getInt32(0));
  else setWords(into, false, view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12));
  return true;
}

function setWords(into: IpWords, isV4: boolean, first: number, second: number, third: number, last: number): void {
  into.isV4 = isV4;
  into.first = first | 0;
  into.second = second | 0;
  into.third = third | 0;
  into.last = last | 0;
}

/** Dotted decimal without leading zeros; undefined for anything else. */
function parseIpv4(text: string): number | undefined {
  if (text.length > 15) return undefined;
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let index = 0; index <= text.length; index += 1) {
    const code = index === text.length ? 46 : text.charCodeAt(index);
    if (code === 46) {
      if (octet < 0) return undefined;
      value = value * 256 + octet;
      dots += 1;
      octet = -1;
    } else {
      const digit = code - 48;
      if (digit < 0 || digit > 9 || octet === 0) return undefined;
      octet = octet < 0 ? digit : octet * 10 + digit;
      if (octet > 255) return undefined;
    }
  }
  return dots === 4 ? value : undefined;
}

interface Block {
  readonly address: Readonly<IpWords>;
  readonly mask: Readonly<IpWords>;
}

/** Why `text` is no IP or IP block, or undefined when it is one. Host bits may be set: `10.1.2.3/8` means `10.0.0.0/8`. */
export function ipBlockDefect(text: string): string | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const parsed = new IpWords();
  if (!parseIpWords(address, parsed) || rest.length > 0)
    return 'write an address such as 10.0.0.1 or a block such as 10.0.0.0/8';
  const widest = parsed.isV4 ? 32 : 128;
  if (length !== undefined && (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > widest)) {
    return `the prefix length must be 0 to ${String(widest)}`;
  }
  return undefined;
}

function parseBlock(text: string): Block {
  const [addressText = '', length] = text.split('/');
  const address = new IpWords();
  // Only what `ipBlockDefect` has nothing against comes here; Cidr says what is wrong otherwise.
  if (!parseIpWords(addressText, address)) throw new TypeError(`not an IP block: ${Cidr.parse(text).toString()}`);
  const { isV4 } = address;
  const bits = length === undefined ? (isV4 ? 32 : 128) : Number(length);
  const maskAt = (from: number): number => {
    const kept = Math.min(32, Math.max(0, bits - from));
    return kept === 0 ? 0 : 0xffffffff << (32 - kept);
  };
  const mask = new IpWords();
  if (isV4) setWords(mask, true, 0, 0, 0, maskAt(0));
  else setWords(mask, false, maskAt(0), maskAt(32), maskAt(64), maskAt(96));
  return { address, mask };
}

export class IpBlockMatcher {
  readonly #blocks: readonly Block[];

  constructor(blocks: readonly string[]) {
    this.#blocks = blocks.map(parseBlock);
  }

  test(ip: Readonly<IpWords>): boolean {
    for (const { address, mask } of this.#blocks) {
      if (
        address.isV4 === ip.isV4 &&
        ((address.last ^ ip.last) & mask.last) === 0 &&
        ((address.first ^ ip.first) & mask.first) === 0 &&
        ((address.second ^ ip.second) & mask.second) === 0 &&
        ((address.third ^ ip.third) & mask.third) === 0
      ) {
        return true;
      }
    }
    return false;
  }
}
