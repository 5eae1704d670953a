/** Which public keys a certificate is issued for: judged here from the bytes, so held against what OpenSSL says. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpiffeCA } from 'meshwright/ca';
import { agent, codeOf, openssl } from './support.js';

const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
const issue = (publicKey: Uint8Array | string): Promise<unknown> => ca.issueX509Svid({ spiffeId: agent, publicKey });
const spkiOf = (namedCurve: string): Buffer =>
  generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'der', type: 'spki' });
const ed25519 = (): Buffer => generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' });

async function accepts(spki: Uint8Array): Promise<boolean> {
  try {
    await issue(spki);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'CA_KEY_REFUSED' });
    return false;
  }
}

function opensslAccepts(spki: Buffer): boolean {
  try {
    createPublicKey({ key: spki, format: 'der', type: 'spki' });
    return true;
  } catch {
    return false;
  }
}

describe.each([
  ['P-256', 27, 32],
  ['P-384', 24, 48],
] as const)('a point of %s', (curve, at, size) => {
  it('is accepted when it is on the curve', async () => {
    for (let count = 0; count < 100; count += 1) expect(await accepts(spkiOf(curve))).toBe(true);
  });

  it('is refused when any bit of it is changed', async () => {
    const bits = fc.integer({ min: 0, max: 16 * size - 1 });
    await fc.assert(
      fc.asyncProperty(bits, async (bit) => {
        const spki = spkiOf(curve);
        const byte = at + (bit >> 3);
        spki[byte] = (spki[byte] ?? 0) ^ (0x80 >> (bit & 7));
        expect(opensslAccepts(spki)).toBe(false);
        expect(await accepts(spki)).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  it.each(['00', 'ff'])('is refused with coordinates of %s bytes only', async (octet) => {
    const spki = spkiOf(curve);
    spki.fill(Buffer.from(octet, 'hex'), at);
    expect(await accepts(spki)).toBe(false);
  });

  it('is refused compressed, hybrid, at infinity, cut short, or with bytes after it', async () => {
    const spki = spkiOf(curve);
    const pem = createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({ format: 'pem', type: 'spki' });
    const converted = (form: string): string =>
      openssl({ key: pem }, 'ec', '-pubin', '-in', '{key}', '-conv_form', form);
    for (const form of ['compressed', 'hybrid']) {
      expect(await codeOf(() => issue(converted(form)))).toBe('CA_KEY_REFUSED');
    }
    await issue(converted('uncompressed'));
    expect(await accepts(spki.subarray(0, -1))).toBe(false);
    expect(await accepts(Buffer.concat([spki, Buffer.of(0)]))).toBe(false);
    const infinity = Buffer.concat([spki.subarray(0, at - 1), Buffer.of(0)]);
    expect(await accepts(infinity)).toBe(false);
  });

  it('is refused on a curve given by its parameters', async () => {
    const name = curve === 'P-256' ? 'prime256v1' : 'secp384r1';
    const args = ['-name', name, '-param_enc', 'explicit', '-genkey', '-noout'];
    const key = openssl({}, 'ecparam', ...args);
    const pem = openssl({ key }, 'ec', '-in', '{key}', '-pubout', '-param_enc', 'explicit');
    expect(pem.length).toBeGreaterThan(400);
    expect(await codeOf(() => issue(pem))).toBe('CA_KEY_REFUSED');
  });
});

it('a coordinate that is not reduced is refused', async () => {
  // x = 0 has a point on P-256; x = p is the same number modulo p, and no encoding of it.
  const y = '66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4';
  const p = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
  const spki = spkiOf('P-256');
  spki.set(Buffer.from('00'.repeat(32) + y, 'hex'), 27);
  expect([opensslAccepts(spki), await accepts(spki)]).toEqual([true, true]);
  spki.set(Buffer.from(p.toString(16), 'hex'), 27);
  expect([opensslAccepts(spki), await accepts(spki)]).toEqual([false, false]);
});

it('a point under the name of the other curve is refused', async () => {
  const [small, large] = [spkiOf('P-256'), spkiOf('P-384')];
  const exchanged = Buffer.concat([small.subarray(0, 27), large.subarray(24, 24 + 64)]);
  expect(await accepts(exchanged)).toBe(false);
  expect(await accepts(Buffer.concat([large.subarray(0, 24), small.subarray(27), Buffer.alloc(32)]))).toBe(false);
});

it('an Ed25519 key has 32 bytes', async () => {
  const spki = ed25519();
  expect(await accepts(spki)).toBe(true);
  expect(await accepts(spki.subarray(0, -1))).toBe(false);
  expect(await accepts(Buffer.concat([spki, Buffer.of(0)]))).toBe(false);
});

it('what is given as bytes is copied: changing it later changes nothing', async () => {
  const spki = spkiOf('P-256');
  const asked = ca.issueX509Svid({ spiffeId: agent, publicKey: spki });
  spki.fill(0);
  const { certificates } = await asked;
  expect(Buffer.from(certificates[0] ?? []).includes(Buffer.alloc(64))).toBe(false);
});

it('any bytes are accepted only when OpenSSL takes them as well', async () => {
  const mutated = fc
    .tuple(
      fc.constantFrom(spkiOf('P-256'), spkiOf('P-384'), ed25519()),
      fc.array(fc.tuple(fc.nat(119), fc.nat(255)), { minLength: 0, maxLength: 3 }),
      fc.integer({ min: -3, max: 3 }),
    )
    .map(([spki, changes, longer]) => {
      const bytes = longer < 0 ? Buffer.from(spki.subarray(0, longer)) : Buffer.concat([spki, Buffer.alloc(longer)]);
      for (const [index, octet] of changes) if (index < bytes.length) bytes[index] = octet;
      return bytes;
    });
  await fc.assert(
    fc.asyncProperty(fc.oneof(mutated, fc.uint8Array({ maxLength: 150 })), async (bytes) => {
      if (await accepts(bytes)) expect(opensslAccepts(Buffer.from(bytes))).toBe(true);
    }),
    { numRuns: 300 },
  );
});
