/** DER primitive values (X.690) to what JavaScript calls them. Everything here throws `DerError`. */
import { DerError } from './reader.js';
import type { DerElement } from './reader.js';

/** Identifier octets of the universal types that certificates use. */
export const derTag = Object.freeze({
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
});

/** BOOLEAN: DER knows 0xff and 0x00 only. */
export function readBoolean(contents: Uint8Array): boolean {
  if (contents.length !== 1 || (contents[0] !== 0xff && contents[0] !== 0)) throw new DerError('expected a boolean');
  return contents[0] === 0xff;
}

/** The contents of an INTEGER that must not be negative, without the sign byte; zero is one zero byte. */
export function readUnsigned(contents: Uint8Array): Uint8Array {
  const [first, second] = contents;
  if (first === undefined) throw new DerError('an integer has at least one byte');
  if (first >= 0x80) throw new DerError('expected an integer that is not negative');
  if (first === 0 && second !== undefined) {
    if (second < 0x80) throw new DerError('an integer is not in its shortest form');
    return contents.subarray(1);
  }
  return contents;
}

/** An INTEGER from 0 to 2^31-1. */
export function readSmallUnsigned(contents: Uint8Array): number {
  const bytes = readUnsigned(contents);
  if (bytes.length > 4) throw new DerError('an integer is larger than expected');
  const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  if (value > 0x7fffffff) throw new DerError('an integer is larger than expected');
  return value;
}

/** The bits of a named-bit BIT STRING of at most 32 bits, as the set of the positions that are one. */
export function readNamedBits(contents: Uint8Array): ReadonlySet<number> {
  const [unused, ...bytes] = contents;
  if (unused === undefined || unused > 7 || bytes.length > 4 || (bytes.length === 0 && unused !== 0)) {
    throw new DerError('expected a bit string of at most 32 bits');
  }
  const bits = new Set<number>();
  bytes.forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit += 1) if ((byte & (0x80 >> bit)) !== 0) bits.add(8 * index + bit);
  });
  const used = 8 * bytes.length - unused;
  for (const bit of bits) if (bit >= used) throw new DerError('an unused bit is set');
  return bits;
}

/** A certificate's time (RFC 5280, 4.1.2.5): UTCTime or GeneralizedTime, whole seconds, in UTC. Milliseconds since the epoch. */
export function readTime(element: DerElement): number {
  const text = Buffer.from(element.contents).toString('latin1');
  const pattern =
    element.tag === derTag.utcTime
      ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
      : element.tag === derTag.generalizedTime
        ? /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
        : undefined;
  const match = pattern?.exec(text);
  if (match === undefined || match === null) throw new DerError('expected a time as YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ');
  const [, yearText = '', ...rest] = match;
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = rest.map(Number);
  const written = Number(yearText);
  const year = yearText.length === 4 ? written : written < 50 ? 2000 + written : 1900 + written;
  const date = new Date(Date.UTC(2000, month - 1, day, hour, minute, second));
  date.setUTCFullYear(year, month - 1, day);
  const round =
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!round) throw new DerError('expected a time that exists');
  return date.getTime();
}
