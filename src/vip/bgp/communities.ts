import type { LargeCommunity } from './codec/attributes.js';

/** Communities as operators write them. */

/** Well-known communities (RFC 1997, 8326, 7999) by name. */
export const wellKnownCommunities: Readonly<Record<string, number>> = Object.freeze({
  'graceful-shutdown': 0xffff_0000,
  blackhole: 0xffff_029a,
  'no-export': 0xffff_ff01,
  'no-advertise': 0xffff_ff02,
  'no-export-subconfed': 0xffff_ff03,
});

/** GRACEFUL_SHUTDOWN, 65535:0 (RFC 8326): "prefer any other path, this one is about to end". */
export const gracefulShutdownCommunity = 0xffff_0000;

/** `64512:100`, or a well-known name; undefined when it is neither. */
export function parseCommunity(text: string): number | undefined {
  const known = wellKnownCommunities[text];
  if (known !== undefined) return known;
  const [high, low] = numbersOf(text, 2, 0xffff) ?? [];
  return high === undefined || low === undefined ? undefined : high * 0x1_0000 + low;
}

/** `64512:100:1`; undefined when it is not one. */
export function parseLargeCommunity(text: string): LargeCommunity | undefined {
  const [global, first, second] = numbersOf(text, 3, 0xffff_ffff) ?? [];
  return global === undefined || first === undefined || second === undefined ? undefined : [global, first, second];
}

function numbersOf(text: string, count: number, max: number): readonly number[] | undefined {
  const parts = text.split(':');
  if (parts.length !== count || !parts.every((part) => /^(0|[1-9]\d{0,9})$/.test(part))) return undefined;
  const numbers = parts.map(Number);
  return numbers.every((number) => number <= max) ? numbers : undefined;
}
