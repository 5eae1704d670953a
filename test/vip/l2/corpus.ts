/** Real packets to mutate: what the Linux kernel, arping and this implementation send, as a packet socket gives them. */
import { decodeArp, decodeNeighborMessage, encodeArp, encodeNeighborMessage } from '../../../src/vip/l2/index.js';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const senderMac = '02:00:00:00:00:01';
const zero = '00:00:00:00:00:00';

/** Sent by the Linux kernel (a question, its answer) and by arping (`-U`, `-U -P`, with the padding of the Ethernet frame). */
const foreignArp = [
  hex('0001 0800 06 04 0001 020000000001 0a140001 000000000000 0a140002'),
  hex('0001 0800 06 04 0002 020000000002 0a140002 020000000001 0a140001'),
  hex('0001 0800 06 04 0001 020000000002 0a140002 ffffffffffff 0a14004d 00000000000000000000000000000000'),
  hex('0001 0800 06 04 0002 020000000002 0a140002 ffffffffffff 0a140002 00000000000000000000000000000000'),
];

/** Sent by the Linux kernel: duplicate detection with a nonce (RFC 7527), its answer, a question, its answer. */
const foreignNd = [
  hex(`6000000000203aff 00000000000000000000000000000000 ff0200000000000000000001ff000100
       8700 a164 00000000 fd200000000000000000000000000100 0e01 fbce7dcf527b`),
  hex(`6000000000203aff fd200000000000000000000000000100 ff020000000000000000000000000001
       8800 585c 20000000 fd200000000000000000000000000100 0201 020000000002`),
  hex(`6000000000203aff fd200000000000000000000000000001 ff0200000000000000000001ff000002
       8700 7d57 00000000 fd200000000000000000000000000002 0101 020000000001`),
  hex(`6000000000203aff fd200000000000000000000000000002 fd200000000000000000000000000001
       8800 1c3a 60000000 fd200000000000000000000000000002 0201 020000000002`),
];

export function arpCorpus(): readonly Uint8Array[] {
  const own = (['request', 'reply'] as const).flatMap((operation) => [
    encodeArp({ operation, senderMac, senderIp: '192.0.2.10', targetMac: zero, targetIp: '192.0.2.10' }),
    encodeArp({ operation, senderMac, senderIp: '0.0.0.0', targetMac: zero, targetIp: '192.0.2.10' }),
  ]);
  return [...own, ...foreignArp];
}

export function neighborCorpus(): readonly Uint8Array[] {
  return [
    encodeNeighborMessage({
      ...{ type: 'solicitation', source: '::', destination: 'ff02::1:ff00:100', target: 'fd20::100' },
    }),
    encodeNeighborMessage({
      ...{ type: 'solicitation', source: 'fd20::1', destination: 'fd20::100', target: 'fd20::100' },
      linkAddress: senderMac,
    }),
    encodeNeighborMessage({
      ...{ type: 'advertisement', source: 'fd20::100', destination: 'ff02::1', target: 'fd20::100' },
      ...{ isRouter: false, isSolicited: false, isOverride: true, linkAddress: senderMac },
    }),
    ...foreignNd,
  ];
}

/** `ok`, or why not. */
export function judgeArp(bytes: Uint8Array): string {
  const decoded = decodeArp(bytes);
  return decoded.ok ? 'ok' : decoded.reason;
}

/** `ok`, or why not. Every second packet gets the right checksum, which would else keep mutations from the rules behind it. */
export function judgeNeighbor(bytes: Uint8Array): string {
  if (bytes.length >= 44 && ((bytes[43] ?? 0) & 1) === 0)
    repairChecksum(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const decoded = decodeNeighborMessage(bytes);
  return decoded.ok ? 'ok' : decoded.reason;
}

/** RFC 1071, over the pseudo-header and what the payload length covers. */
export function repairChecksum(packet: Buffer): void {
  const end = Math.min(packet.length, 40 + packet.readUInt16BE(4));
  packet.writeUInt16BE(0, 42);
  let sum = end - 40 + 58;
  for (let at = 8; at < end; at += 2) sum += ((packet[at] ?? 0) << 8) | (at + 1 < end ? (packet[at + 1] ?? 0) : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 42);
}
