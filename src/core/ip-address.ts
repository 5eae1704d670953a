import { isIPv4, isIPv6 } from 'node:net';
import { CoreError } from './errors.js';

/**
 * IP addresses as canonical text: IPv4 dotted; IPv6 compressed and lower case (RFC 5952), without a zone. An
 * IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is folded to IPv4, so one host never has two names in an index.
 */

export type IpFamily = 4 | 6;

/** Parses and canonicalises `text`. Throws `CORE_ADDRESS_MALFORMED`. */
export function parseIp(text: string): string {
  const canonical = tryParseIp(text);
  if (canonical === undefined) {
    throw new CoreError('CORE_ADDRESS_MALFORMED', `expected an IPv4 or IPv6 address, got ${JSON.stringify(text)}`);
  }
  return canonical;
}

/** As `parseIp`, but `undefined` for what is not an address. */
export function tryParseIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  return formatIpv6(ipv6Bytes(text));
}

/** 4 or 6 for a canonical address. */
export function ipFamily(address: string): IpFamily {
  return address.includes(':') ? 6 : 4;
}

/** The 4 or 16 bytes of a canonical (or any valid) address. Throws `CORE_ADDRESS_MALFORMED`. */
export function ipBytes(address: string): Uint8Array {
  const canonical = parseIp(address);
  if (!canonical.includes(':')) return Uint8Array.from(canonical.split('.'), Number);
  return ipv6Bytes(canonical);
}

function ipv6Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  // A dotted tail (`::ffff:1.2.3.4`) is rewritten as two groups first.
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain =
    dotted === null
      ? text
      : `${dotted[1] ?? ''}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`;
  const [head = '', tail] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups =
    tail === undefined ? left : [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  groups.forEach((group, index) => {
    const value = Number.parseInt(group, 16);
    bytes[2 * index] = value >> 8;
    bytes[2 * index + 1] = value & 0xff;
  });
  return bytes;
}

function formatIpv6(bytes: Uint8Array): string {
  if (bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff) {
    return bytes.subarray(12).join('.');
  }
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0));
  let start = -1;
  let length = 1;
  for (let index = 0; index < 8; index += 1) {
    let end = index;
    while (end < 8 && groups[end] === 0) end += 1;
    if (end - index > length) {
      start = index;
      length = end - index;
    }
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (start < 0) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}
