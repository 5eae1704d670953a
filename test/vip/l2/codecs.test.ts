import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipText } from '../../../src/internal/native/sockaddr.js';
import { macText } from '../../../src/vip/l2/mac.js';
import { solicitedNodeAddress } from '../../../src/vip/l2/neighbor-discovery.js';
import { decodeArp, decodeNeighborMessage, encodeArp, encodeNeighborMessage } from '../../../src/vip/l2/index.js';
import type { ArpPacket, NeighborMessage } from '../../../src/vip/l2/index.js';
import { mutate } from '../mutate.js';
import { arpCorpus, judgeArp, judgeNeighbor, neighborCorpus, repairChecksum } from './corpus.js';

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const mac = bytes(6).map(macText);
const stationMac = bytes(6).map((six) => macText(Uint8Array.of((six[0] ?? 0) & 0xfe, ...six.subarray(1, 5), 1)));
const ip4 = bytes(4).map(ipText);
/** Never multicast, nor IPv4-mapped. */
const unicast6 = bytes(15).map((rest) => ipText(Uint8Array.of(0x20, ...rest)));
const multicast6 = bytes(15).map((rest) => ipText(Uint8Array.of(0xff, ...rest)));

const arp: fc.Arbitrary<ArpPacket> = fc.record({
  operation: fc.constantFrom('request', 'reply'),
  senderMac: stationMac,
  senderIp: ip4,
  targetMac: mac,
  targetIp: ip4,
});

const linkAddress = fc.option(stationMac, { nil: undefined });
const solicitation: fc.Arbitrary<NeighborMessage> = fc.oneof(
  unicast6.map((target) => ({
    ...{ type: 'solicitation' as const, source: '::', destination: solicitedNodeAddress(target), target },
  })),
  fc
    .record({ source: unicast6, destination: fc.oneof(unicast6, multicast6), target: unicast6, linkAddress })
    .map((fields) => ({ type: 'solicitation' as const, ...fields })),
);
const advertisement: fc.Arbitrary<NeighborMessage> = fc
  .record({
    ...{ source: unicast6, destination: fc.oneof(unicast6, multicast6), target: unicast6, linkAddress },
    ...{ isRouter: fc.boolean(), isSolicited: fc.boolean(), isOverride: fc.boolean() },
  })
  .map((fields) => ({
    ...{ type: 'advertisement' as const, ...fields },
    isSolicited: fields.isSolicited && !fields.destination.startsWith('ff'),
  }));
const neighbor = fc.oneof(solicitation, advertisement);

const reasons = {
  ARP: ['address-length', 'hardware-type', 'ok', 'operation', 'protocol-type', 'sender-mac', 'truncated'],
  'neighbour discovery': [
    ...['address', 'checksum', 'code', 'flags', 'hop-limit', 'link-address', 'next-header', 'ok', 'option-length'],
    ...['target', 'truncated', 'type', 'version'],
  ],
} as const;

/** Without the keys that are undefined. */
const plain = (value: object): unknown => JSON.parse(JSON.stringify(value));

describe('ARP', () => {
  test('every packet comes back as it was, padded or not', () => {
    fc.assert(
      fc.property(arp, fc.uint8Array({ maxLength: 40 }), (packet, padding) => {
        expect(decodeArp(Buffer.concat([encodeArp(packet), padding]))).toEqual({ ok: true, value: packet });
      }),
    );
  });

  test('every truncation is refused', () => {
    fc.assert(
      fc.property(arp, fc.nat(27), (packet, length) => {
        expect(decodeArp(encodeArp(packet).subarray(0, length))).toEqual({ ok: false, reason: 'truncated' });
      }),
    );
  });

  test.each([
    [0, 0x06, 'hardware-type'],
    [2, 0x86, 'protocol-type'],
    [4, 8, 'address-length'],
    [5, 16, 'address-length'],
    [7, 3, 'operation'],
    [8, 0x01, 'sender-mac'],
  ])('byte %i as %i is refused: %s', (at, value, reason) => {
    const packet = encodeArp({
      ...{ operation: 'request', senderMac: '02:00:00:00:00:01', senderIp: '192.0.2.1' },
      ...{ targetMac: '00:00:00:00:00:00', targetIp: '192.0.2.2' },
    });
    packet[at] = value;
    expect(decodeArp(packet)).toEqual({ ok: false, reason });
  });
});

describe('neighbour discovery', () => {
  test('every message comes back as it was, padded or not', () => {
    fc.assert(
      fc.property(neighbor, fc.uint8Array({ maxLength: 40 }), (message, padding) => {
        const decoded = decodeNeighborMessage(Buffer.concat([encodeNeighborMessage(message), padding]));
        expect(decoded).toEqual({ ok: true, value: plain(message) });
      }),
    );
  });

  test('every truncation is refused', () => {
    fc.assert(
      fc.property(neighbor, fc.nat(63), (message, length) => {
        const packet = encodeNeighborMessage(message);
        expect(decodeNeighborMessage(packet.subarray(0, length))).toMatchObject({ ok: false });
        expect(decodeNeighborMessage(packet.subarray(0, packet.length - 1))).toMatchObject({ ok: false });
      }),
    );
  });

  test('any one bit turned is refused, or is a bit that says nothing', () => {
    const packet = encodeNeighborMessage({
      ...{ type: 'advertisement', source: 'fd20::100', destination: 'ff02::1', target: 'fd20::100' },
      ...{ isRouter: false, isSolicited: false, isOverride: true, linkAddress: '02:00:00:00:00:01' },
    });
    const taken: number[] = [];
    for (let bit = 0; bit < 8 * packet.length; bit += 1) {
      const turned = Buffer.from(packet);
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7));
      if (decodeNeighborMessage(turned).ok) taken.push(bit);
    }
    // Traffic class and flow label, bits 4 to 31, are outside of the checksum.
    expect(taken).toEqual(Array.from({ length: 28 }, (_, index) => 4 + index));
  });

  const at = (offset: number, ...values: readonly number[]) => ({ offset, values });
  const solicit: NeighborMessage = {
    ...{ type: 'solicitation', source: 'fd20::1', destination: 'ff02::1:ff00:2', target: 'fd20::2' },
    linkAddress: '02:00:00:00:00:01',
  };
  test.each([
    ['version', at(0, 0x40)],
    ['next-header', at(6, 44)],
    ['hop-limit', at(7, 254)],
    ['truncated', at(4, 0, 23)],
    ['truncated', at(4, 0, 200)],
    ['type', at(40, 134)],
    ['code', at(41, 1)],
    ['checksum', at(42, 0, 0)],
    ['address', at(8, 0xff)],
    ['target', at(48, 0xff)],
    ['target', at(48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)],
    ['option-length', at(65, 0)],
    ['option-length', at(65, 2)],
    ['link-address', at(66, 0x03)],
    ['address', at(8, ...new Array<number>(16).fill(0))],
  ])('refused: %s', (reason, { offset, values }) => {
    const packet = encodeNeighborMessage(solicit);
    packet.set(values, offset);
    if (!['checksum', 'truncated'].includes(reason)) repairChecksum(packet);
    expect(decodeNeighborMessage(packet)).toEqual({ ok: false, reason });
  });

  test('refused: solicited, to a multicast address', () => {
    const packet = encodeNeighborMessage({
      ...{ type: 'advertisement', source: 'fd20::1', destination: 'ff02::1', target: 'fd20::1' },
      ...{ isRouter: true, isSolicited: true, isOverride: false },
    });
    expect(decodeNeighborMessage(packet)).toEqual({ ok: false, reason: 'flags' });
  });
});

describe.each([
  ['ARP', arpCorpus, judgeArp],
  ['neighbour discovery', neighborCorpus, judgeNeighbor],
] as const)('%s of others', (name, corpusOf, judge) => {
  test('is understood', () => {
    for (const packet of corpusOf()) expect(judge(packet)).toBe('ok');
  });

  test('is taken, or refused for a reason, when mutated', () => {
    const corpus = corpusOf();
    const counts = new Map<string, number>();
    const endMs = performance.now() + 1000;
    for (let round = 0; performance.now() < endMs; round += 1) {
      for (const bytes of mutate(corpus, round, 500)) {
        const reason = judge(bytes);
        counts.set(reason, (counts.get(reason) ?? 0) + 1);
      }
    }
    // Every reason was met, so the mutations reach every rule.
    expect([...counts.keys()].sort()).toEqual(reasons[name]);
  });
});
