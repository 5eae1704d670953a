import { Cidr, ipBytes } from '../../../core/index.js';
import { ipText } from '../../../internal/native/sockaddr.js';
import type { BgpFamily } from './constants.js';

/** A network as the wire has it: its length in bits, and only the octets that these bits need. */
export interface BgpPrefix {
  readonly family: BgpFamily;
  readonly length: number;
  /** `ceil(length / 8)` octets; those of a received one are a view of the message, with whatever host bits it had. */
  readonly octets: Uint8Array;
}

const addressBytes: Readonly<Record<BgpFamily, number>> = { ipv4: 4, ipv6: 16 };

/** Reads prefixes to the end of `bytes`; undefined when one is too long or cut short. */
export function decodePrefixes(bytes: Uint8Array, family: BgpFamily): readonly BgpPrefix[] | undefined {
  const widest = addressBytes[family] * 8;
  const prefixes: BgpPrefix[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes[at] ?? 0;
    const end = at + 1 + ((length + 7) >> 3);
    if (length > widest || end > bytes.length) return undefined;
    prefixes.push({ family, length, octets: bytes.subarray(at + 1, end) });
    at = end;
  }
  return prefixes;
}

export function encodePrefix(prefix: BgpPrefix): Buffer {
  return Buffer.concat([Buffer.from([prefix.length]), prefix.octets]);
}

/** Bytes of its encoding. */
export function prefixBytes(prefix: BgpPrefix): number {
  return 1 + prefix.octets.length;
}

/** Parses `203.0.113.10/32`; an address alone is a host route. Throws `CORE_ADDRESS_MALFORMED`. */
export function parsePrefix(text: string): BgpPrefix {
  const cidr = Cidr.parse(text);
  const octets = ipBytes(cidr.address).subarray(0, (cidr.prefixLength + 7) >> 3);
  return { family: cidr.family === 4 ? 'ipv4' : 'ipv6', length: cidr.prefixLength, octets };
}

/** Canonical text, host bits cleared. */
export function prefixText(prefix: BgpPrefix): string {
  const bytes = new Uint8Array(addressBytes[prefix.family]);
  bytes.set(prefix.octets);
  const whole = prefix.length >> 3;
  if (whole < bytes.length) bytes[whole] = (bytes[whole] ?? 0) & (0xff << (8 - (prefix.length & 7))) & 0xff;
  // An IPv4-mapped IPv6 network would be folded to IPv4 by the canonical form; no route has one.
  return `${ipText(bytes)}/${String(prefix.length)}`;
}
