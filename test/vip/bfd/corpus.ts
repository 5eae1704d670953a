/** Real packets to mutate: what FRR, BIRD and this implementation send, in every state. */
import { decodeBfdPacket, encodeBfdPacket } from '../../../src/vip/bfd/packet.js';
import type { BfdPacket, BfdState } from '../../../src/vip/bfd/packet.js';

export const samplePacket: BfdPacket = {
  state: 'up',
  diagnostic: 0,
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  detectMultiplier: 3,
  myDiscriminator: 0x11223344,
  yourDiscriminator: 0x55667788,
  desiredMinTxUs: 100_000,
  requiredMinRxUs: 100_000,
  requiredMinEchoRxUs: 0,
};

const states: readonly BfdState[] = ['admin-down', 'down', 'init', 'up'];

/** Keyed SHA1 authentication (RFC 5880 section 4.4), as a router configured for it sends. */
function authenticated(): Uint8Array {
  const bytes = new Uint8Array(52);
  bytes.set(encodeBfdPacket(samplePacket));
  bytes[1] = (bytes[1] ?? 0) | 0x04;
  bytes[3] = 52;
  bytes.set([4, 28, 1, 0], 24);
  return bytes;
}

export function bfdCorpus(): readonly Uint8Array[] {
  return [
    ...states.map((state) => encodeBfdPacket({ ...samplePacket, state })),
    encodeBfdPacket({ ...samplePacket, state: 'down', yourDiscriminator: 0, desiredMinTxUs: 1_000_000 }),
    encodeBfdPacket({ ...samplePacket, poll: true }),
    encodeBfdPacket({ ...samplePacket, final: true, diagnostic: 3 }),
    // FRR's defaults: echo supported, control plane independent.
    encodeBfdPacket({ ...samplePacket, controlPlaneIndependent: true, requiredMinEchoRxUs: 50_000 }),
    encodeBfdPacket({ ...samplePacket, demand: true, detectMultiplier: 255 }),
    authenticated(),
  ];
}

/** `ok`, or why not. */
export function judgeBfd(bytes: Uint8Array): string {
  const decoded = decodeBfdPacket(bytes);
  return decoded.ok ? 'ok' : decoded.reason;
}
