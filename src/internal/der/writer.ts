/** DER encoding (X.690), the writing half: only what certificates and requests need. Values are finished byte strings. */

/** One tag-length-value. `tag` is the identifier octet, class and constructed bit included. */
export function derValue(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const length = contents.reduce((sum, part) => sum + part.length, 0);
  const head = lengthOctets(length);
  const out = new Uint8Array(1 + head.length + length);
  out[0] = tag;
  out.set(head, 1);
  let offset = 1 + head.length;
  for (const part of contents) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

export const derSequence = (...parts: readonly Uint8Array[]): Uint8Array => derValue(0x30, ...parts);
export const derSet = (...parts: readonly Uint8Array[]): Uint8Array => derValue(0x31, ...parts);
export const derOctetString = (bytes: Uint8Array): Uint8Array => derValue(0x04, bytes);
export const derBoolean = (value: boolean): Uint8Array => derValue(0x01, Uint8Array.of(value ? 0xff : 0));
export const derUtf8String = (text: string): Uint8Array => derValue(0x0c, Buffer.from(text, 'utf8'));
/** `[number] EXPLICIT`. */
export const derExplicit = (number: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  derValue(0xa0 | number, ...parts);
/** `[number] IMPLICIT` over a primitive type. */
export const derImplicit = (number: number, bytes: Uint8Array): Uint8Array => derValue(0x80 | number, bytes);

/** A bit string of whole bytes, or with `unusedBits` at the end of the last one. */
export const derBitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
  derValue(0x03, Uint8Array.of(unusedBits), bytes);

/** A non-negative integer from big-endian bytes; leading zeros are dropped and the sign bit kept clear. */
export function derUnsignedInteger(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const magnitude = bytes.length === 0 ? Uint8Array.of(0) : bytes.subarray(start);
  return (magnitude[0] ?? 0) > 0x7f ? derValue(0x02, Uint8Array.of(0), magnitude) : derValue(0x02, magnitude);
}

/** An object identifier from its dotted form. */
export function derOid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return derValue(0x06, Uint8Array.from(bytes));
}

/** RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050; whole seconds, UTC. */
export function derTime(date: Date): Uint8Array {
  const digits = date
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '');
  const year = date.getUTCFullYear();
  return year >= 1950 && year < 2050
    ? derValue(0x17, Buffer.from(digits.slice(2), 'ascii'))
    : derValue(0x18, Buffer.from(digits, 'ascii'));
}

function lengthOctets(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left & 0xff);
  return Uint8Array.of(0x80 | bytes.length, ...bytes);
}
