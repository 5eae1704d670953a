import { randomFillSync } from 'node:crypto';

const serialBytes = 16;
/** Drawn many at a time: one call of the generator costs as much for all of them. A serial number is no secret. */
const drawn = new Uint8Array(256 * serialBytes);
let used = drawn.length;

/** 128 random bits (CA/Browser Forum asks for 64), never given out twice. */
export function newSerialNumber(): Uint8Array {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += serialBytes;
  return drawn.slice(used - serialBytes, used);
}
