/**
 * A socket filter (classic BPF) that drops datagrams which came too far: TTL or hop limit below a least value. IP_MINTTL does
 * this for TCP only; on a UDP socket the kernel ignores it.
 */
import {
  BPF_JUMP_IF_GREATER_OR_EQUAL,
  BPF_LD_BYTE_ABSOLUTE,
  BPF_RETURN,
  bpfProgram,
  wholePacket,
} from '../../internal/native/bpf.js';

/** Offsets from here on count from the network header. */
const SKF_NET_OFF = -0x100000;
const ttlOffset = { 4: 8, 6: 7 } as const;

/** Instructions for `attachFilter`. */
export function leastTtlFilter(family: 4 | 6, leastTtl: number): Uint8Array {
  return bpfProgram([
    [BPF_LD_BYTE_ABSOLUTE, 0, 0, SKF_NET_OFF + ttlOffset[family]],
    [BPF_JUMP_IF_GREATER_OR_EQUAL, 0, 1, leastTtl],
    [BPF_RETURN, 0, 0, wholePacket],
    [BPF_RETURN, 0, 0, 0],
  ]);
}

/** For sockets that only send. */
export function dropEverythingFilter(): Uint8Array {
  return bpfProgram([[BPF_RETURN, 0, 0, 0]]);
}
