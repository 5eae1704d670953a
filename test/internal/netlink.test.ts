import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { netlinkErrno, netlinkMessages } from '../../src/internal/native/netlink.js';
import { mutate } from '../vip/mutate.js';
import { judgeNetlink, netlinkCorpus, netlinkDatagram } from './netlink-corpus.js';

describe('a netlink datagram', () => {
  it('is taken apart into its messages', () => {
    const messages = [
      { type: 20, payload: Buffer.from([1, 2, 3]) },
      { type: 16, payload: Buffer.alloc(0) },
    ];
    expect([...netlinkMessages(netlinkDatagram(messages))]).toEqual([
      { ...messages[0], flags: 2, sequence: 1 },
      { ...messages[1], flags: 2, sequence: 2 },
    ]);
  });

  it('ends where its lengths do not add up', () => {
    const good = { type: 20, payload: Buffer.alloc(4) };
    for (const length of [0, 15, 21, 0xffffffff]) {
      const bytes = netlinkDatagram([good, good]);
      bytes.writeUInt32LE(length, 20);
      expect([...netlinkMessages(bytes)]).toHaveLength(1);
    }
  });

  it('with an error too short for a number is no success', () => {
    expect(netlinkErrno({ type: 2, payload: Buffer.alloc(3) })).toBeLessThan(0);
    expect(netlinkErrno({ type: 2, payload: Buffer.alloc(4) })).toBe(0);
  });

  it('of any bytes is judged, in bounded time', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => judgeNetlink(bytes) !== ''));
  });

  it('made from real ones by mutation never throws', () => {
    const endMs = performance.now() + 1500;
    const counts = new Set<string>();
    for (let round = 0; performance.now() < endMs; round += 1) {
      for (const bytes of mutate(netlinkCorpus(), round, 500)) counts.add(judgeNetlink(bytes));
    }
    expect([...counts]).toEqual(expect.arrayContaining(['address', 'link', 'error', 'no-message', 'not-understood']));
  });
});
