/**
 * Mutations of real packets, from a seed: what a broken or hostile neighbour might send. For the fuzz tests of decoders, and
 * for the soak (`npm run bench -- vip-fuzz`).
 */

/** Values that lengths and counts go wrong at. */
const edges = [
  0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 19, 20, 23, 24, 25, 26, 31, 32, 63, 64, 127, 128, 129, 191, 192, 254, 255,
];

/** A generator of small state (mulberry32): fast, and the same everywhere for a seed. */
export function seededFraction(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` mutations of packets of `corpus`. Each is its own copy. */
export function* mutate(corpus: readonly Uint8Array[], seed: number, count: number): Generator<Uint8Array> {
  const fraction = seededFraction(seed);
  const below = (limit: number): number => Math.floor(fraction() * limit);
  const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T;
  for (let made = 0; made < count; made += 1) {
    // Not `slice`, which of a Buffer gives a view: the corpus itself would change.
    let bytes: Uint8Array = new Uint8Array(pick(corpus));
    for (let left = 1 + below(4); left > 0; left -= 1) bytes = mutateOnce(bytes, below, pick, corpus);
    yield bytes;
  }
}

function mutateOnce(
  bytes: Uint8Array,
  below: (limit: number) => number,
  pick: <T>(values: readonly T[]) => T,
  corpus: readonly Uint8Array[],
): Uint8Array {
  const at = below(Math.max(1, bytes.length));
  switch (below(9)) {
    case 0: // One bit.
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
      return bytes;
    case 1: // One byte, at random or at an edge.
      if (at < bytes.length) bytes[at] = below(2) === 0 ? below(256) : pick(edges);
      return bytes;
    case 2: // Two bytes, as a length.
      if (at + 1 < bytes.length) bytes.set(below(2) === 0 ? [0, pick(edges)] : [0xff, 0xff - below(8)], at);
      return bytes;
    case 3: // Cut off.
      return bytes.slice(0, at);
    case 4: // Something follows.
      return concat(
        bytes,
        Uint8Array.from({ length: 1 + below(64) }, () => below(256)),
      );
    case 5: // A run of zeros.
      return bytes.fill(0, at, at + 1 + below(8));
    case 6: // A part said twice.
      return concat(bytes.slice(0, at), bytes.slice(Math.max(0, at - below(16))));
    case 7: // A part left out.
      return concat(bytes.slice(0, at), bytes.slice(at + 1 + below(8)));
    default: {
      // The head of one with the tail of another.
      const other = pick(corpus);
      return concat(bytes.slice(0, at), other.slice(below(Math.max(1, other.length))));
    }
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
