/** Fields that must not come after the body, since what was judged and framed would change (RFC 9110 section 6.5.1). */
const forbidden = new Set([
  'authorization',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'max-forwards',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Trailer fields as pairs in order; undefined when one of them is not allowed there. */
export function trailerPairs(rawTrailers: readonly string[]): [string, string][] | undefined {
  const pairs: [string, string][] = [];
  for (let index = 0; index < rawTrailers.length; index += 2) {
    const name = rawTrailers[index] ?? '';
    if (forbidden.has(name.toLowerCase())) return undefined;
    pairs.push([name, rawTrailers[index + 1] ?? '']);
  }
  return pairs;
}
