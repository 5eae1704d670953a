/** IP blocks, compared as numbers: an address is parsed once for each request and then only masked. */
import { Cidr, ipBytes, tryParseIp } from '../core/index.js';

/** An address as four 32-bit words; IPv4 uses the last one and `isV4`. */
export interface IpWords {
  readonly isV4: boolean;
  readonly words: readonly [number, number, number, number];
}

/** Undefined for what is not an address. IPv4-mapped IPv6 is IPv4. */
export function parseIpWords(text: string): IpWords | undefined {
  const v4 = parseIpv4(text);
  if (v4 !== undefined) return { isV4: true, words: [0, 0, 0, v4] };
  const canonical = tryParseIp(text);
  if (canonical === undefined) return undefined;
  const bytes = ipBytes(canonical);
  const word = (at: number): number =>
    (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>>
    0;
  if (bytes.length === 4) return { isV4: true, words: [0, 0, 0, word(0)] };
  return { isV4: false, words: [word(0), word(4), word(8), word(12)] };
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
  readonly address: IpWords;
  readonly masks: readonly [number, number, number, number];
}

/** Why `text` is no IP or IP block, or undefined when it is one. Host bits may be set: `10.1.2.3/8` means `10.0.0.0/8`. */
export function ipBlockDefect(text: string): string | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const parsed = parseIpWords(address);
  if (parsed === undefined || rest.length > 0) return 'write an address such as 10.0.0.1 or a block such as 10.0.0.0/8';
  const widest = parsed.isV4 ? 32 : 128;
  if (length !== undefined && (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > widest)) {
    return `the prefix length must be 0 to ${String(widest)}`;
  }
  return undefined;
}

function parseBlock(text: string): Block {
  const [addressText = '', length] = text.split('/');
  const address = parseIpWords(addressText);
  // Only what `ipBlockDefect` has nothing against comes here; Cidr says what is wrong otherwise.
  if (address === undefined) throw new TypeError(`not an IP block: ${Cidr.parse(text).toString()}`);
  const bits = length === undefined ? (address.isV4 ? 32 : 128) : Number(length);
  const mask = (from: number): number => {
    const kept = Math.min(32, Math.max(0, bits - from));
    return kept === 0 ? 0 : (0xffffffff << (32 - kept)) >>> 0;
  };
  return { address, masks: address.isV4 ? [0, 0, 0, mask(0)] : [mask(0), mask(32), mask(64), mask(96)] };
}

export class IpBlockMatcher {
  readonly #blocks: readonly Block[];

  constructor(blocks: readonly string[]) {
    this.#blocks = blocks.map(parseBlock);
  }

  test(ip: IpWords): boolean {
    for (const { address, masks } of this.#blocks) {
      if (address.isV4 !== ip.isV4) continue;
      const mine = address.words;
      const theirs = ip.words;
      if (
        ((mine[0] ^ theirs[0]) & masks[0]) === 0 &&
        ((mine[1] ^ theirs[1]) & masks[1]) === 0 &&
        ((mine[2] ^ theirs[2]) & masks[2]) === 0 &&
        ((mine[3] ^ theirs[3]) & masks[3]) === 0
      ) {
        return true;
      }
    }
    return false;
  }
}
