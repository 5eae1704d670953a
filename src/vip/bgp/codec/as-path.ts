/** AS_PATH and AS4_PATH: segments of AS numbers. */

export interface AsPathSegment {
  readonly type: 'set' | 'sequence';
  /** 1 to 255 AS numbers. */
  readonly asns: readonly number[];
}

const segmentCodes = Object.freeze({ set: 1, sequence: 2 });

/**
 * Segments of AS numbers of `width` octets; undefined when malformed as RFC 7606 section 7.2 has it: an unknown segment
 * type (confederations included: this speaker is in none), an empty segment, or one that overruns.
 */
export function decodeAsPath(value: Buffer, width: 2 | 4): readonly AsPathSegment[] | undefined {
  const segments: AsPathSegment[] = [];
  for (let at = 0; at < value.length;) {
    const code = value[at];
    const count = value[at + 1] ?? 0;
    const end = at + 2 + count * width;
    if ((code !== segmentCodes.set && code !== segmentCodes.sequence) || count === 0 || end > value.length)
      return undefined;
    const asns: number[] = [];
    for (let asn = at + 2; asn < end; asn += width) asns.push(value.readUIntBE(asn, width));
    segments.push({ type: code === segmentCodes.set ? 'set' : 'sequence', asns });
    at = end;
  }
  return segments;
}

export function encodeAsPath(segments: readonly AsPathSegment[], width: 2 | 4): Buffer {
  return Buffer.concat(
    segments.map(({ type, asns }) => {
      const out = Buffer.alloc(2 + asns.length * width);
      out[0] = segmentCodes[type];
      out[1] = asns.length;
      asns.forEach((asn, index) => out.writeUIntBE(asn, 2 + index * width, width));
      return out;
    }),
  );
}
