interface Curve {
  readonly p: bigint;
  readonly b: bigint;
}

/** y² = x³ - 3x + b over the integers modulo p: NIST SP 800-186, sections 3.2.1.3 and 3.2.1.4. */
const curves = Object.freeze({
  'P-256': {
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  'P-384': {
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
}) satisfies Readonly<Record<string, Curve>>;

/**
 * Whether (x, y), big-endian, is a point of `curve`. Both curves have cofactor 1, so such a point is a public key; the one
 * point that is none, at infinity, has no coordinates. A public key is no secret: time may depend on it.
 */
export function isOnCurve(curve: keyof typeof curves, xBytes: Uint8Array, yBytes: Uint8Array): boolean {
  const { p, b } = curves[curve];
  const x = toInteger(xBytes);
  const y = toInteger(yBytes);
  return x < p && y < p && (y * y - (x * x * x - 3n * x + b)) % p === 0n;
}

function toInteger(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`);
}
