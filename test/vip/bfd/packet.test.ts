import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { bfdPacketBytes, decodeBfdPacket, encodeBfdPacket } from '../../../src/vip/bfd/packet.js';
import type { BfdDecodeReason, BfdState } from '../../../src/vip/bfd/packet.js';
import { mutate } from '../mutate.js';
import { arbitraryPacket } from './arbitrary.js';
import { bfdCorpus, samplePacket } from './corpus.js';

function changed(offset: number, change: (byte: number) => number): Uint8Array {
  const bytes = encodeBfdPacket(samplePacket);
  bytes[offset] = change(bytes[offset] ?? 0);
  return bytes;
}

const zeroed = (from: number, to: number): Uint8Array => encodeBfdPacket(samplePacket).fill(0, from, to);

describe('a control packet', () => {
  it('is laid out as RFC 5880 section 4.1 draws it', () => {
    const bytes = encodeBfdPacket({ ...samplePacket, state: 'init', diagnostic: 3, poll: true, detectMultiplier: 5 });
    expect(Buffer.from(bytes).toString('hex')).toBe('23a00518112233445566778800' + '0186a0' + '000186a0' + '00000000');
  });

  it('comes back as it was', () => {
    fc.assert(
      fc.property(arbitraryPacket, (packet) => {
        expect(decodeBfdPacket(encodeBfdPacket(packet))).toEqual({ ok: true, value: packet });
      }),
    );
  });

  it('may be followed by bytes beyond its length, which say nothing', () => {
    const padded = new Uint8Array(60);
    padded.set(encodeBfdPacket(samplePacket));
    expect(decodeBfdPacket(padded)).toEqual({ ok: true, value: samplePacket });
  });
});

describe('what is refused (RFC 5880 section 6.8.6)', () => {
  const cases: readonly (readonly [BfdDecodeReason, string, Uint8Array])[] = [
    ['truncated', '23 bytes', encodeBfdPacket(samplePacket).subarray(0, 23)],
    ['truncated', 'nothing', new Uint8Array(0)],
    ['version-unsupported', 'version 0', changed(0, (byte) => byte & 0x1f)],
    ['version-unsupported', 'version 2', changed(0, (byte) => (byte & 0x1f) | 0x40)],
    ['length-too-short', 'a length of 23', changed(3, () => 23)],
    ['length-too-short', 'a length of 0', changed(3, () => 0)],
    ['length-too-short', '25 with authentication', Buffer.concat([changedFlags(0x04, 25), Buffer.alloc(1)])],
    ['length-beyond-datagram', 'a length of 25 in 24 bytes', changed(3, () => 25)],
    ['detect-multiplier-zero', 'a multiplier of 0', changed(2, () => 0)],
    ['multipoint', 'the multipoint bit', changed(1, (byte) => byte | 0x01)],
    ['my-discriminator-zero', 'no discriminator', zeroed(4, 8)],
    ['your-discriminator-zero', 'Up towards nobody', zeroed(8, 12)],
    ['authentication-unsupported', 'authentication', bfdCorpus().at(-1) ?? new Uint8Array(0)],
    ['poll-and-final', 'both bits', changed(1, (byte) => byte | 0x30)],
  ];

  test.each(cases)('%s: %s', (reason, _, bytes) => {
    expect(decodeBfdPacket(bytes)).toEqual({ ok: false, reason });
  });

  test.each<BfdState>(['down', 'admin-down'])('not: %s towards nobody, which is how a session begins', (state) => {
    const bytes = encodeBfdPacket({ ...samplePacket, state, yourDiscriminator: 0 });
    expect(decodeBfdPacket(bytes)).toMatchObject({ ok: true, value: { state, yourDiscriminator: 0 } });
  });
});

function changedFlags(bit: number, length: number): Uint8Array {
  const bytes = changed(1, (byte) => byte | bit);
  bytes[3] = length;
  return bytes;
}

describe('any bytes', () => {
  it('are decoded or refused, never thrown at', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const decoded = decodeBfdPacket(bytes);
        if (!decoded.ok) return;
        // What was taken says exactly what its first 24 bytes say, apart from the length of what follows.
        const again = encodeBfdPacket(decoded.value);
        again[3] = bytes[3] ?? 0;
        expect(again).toEqual(bytes.slice(0, bfdPacketBytes));
      }),
      { numRuns: 5000 },
    );
  });

  it('made from real packets by mutation never stall it', () => {
    const corpus = bfdCorpus();
    const counts = new Map<string, number>();
    const endMs = performance.now() + 1500;
    for (let round = 0; performance.now() < endMs; round += 1) {
      for (const bytes of mutate(corpus, round, 500)) {
        const decoded = decodeBfdPacket(bytes);
        const what = decoded.ok ? 'ok' : decoded.reason;
        counts.set(what, (counts.get(what) ?? 0) + 1);
      }
    }
    // Every reason was met, so the mutations reach every rule.
    const reasons = [...counts.keys()].sort();
    expect(reasons).toEqual(
      [
        ...['authentication-unsupported', 'detect-multiplier-zero', 'length-beyond-datagram', 'length-too-short'],
        ...['multipoint', 'my-discriminator-zero', 'ok', 'poll-and-final', 'truncated', 'version-unsupported'],
        'your-discriminator-zero',
      ].sort(),
    );
  });
});
