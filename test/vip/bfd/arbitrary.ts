import * as fc from 'fast-check';
import type { BfdPacket, BfdState } from '../../../src/vip/bfd/packet.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });

export const arbitraryPacket: fc.Arbitrary<BfdPacket> = fc
  .record({
    state: fc.constantFrom<BfdState>('admin-down', 'down', 'init', 'up'),
    diagnostic: fc.integer({ min: 0, max: 31 }),
    poll: fc.boolean(),
    final: fc.boolean(),
    controlPlaneIndependent: fc.boolean(),
    demand: fc.boolean(),
    detectMultiplier: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    yourDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    desiredMinTxUs: u32,
    requiredMinRxUs: u32,
    requiredMinEchoRxUs: u32,
  })
  .map((packet) => ({ ...packet, final: packet.final && !packet.poll }));
