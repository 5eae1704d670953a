import {
  BPF_AND,
  BPF_JUMP_IF_EQUAL,
  BPF_LD_BYTE_ABSOLUTE,
  BPF_RETURN,
  bpfProgram,
  wholePacket,
} from '../internal/native/bpf.js';

/** A filter of a TCP socket sees segments from their TCP header on, under IPv4 and IPv6 alike. */
const flagsOffset = 13;
const SYN = 0x02;
const ACK = 0x10;

/**
 * For a listening TCP socket: drops, before it can open anything, what asks for a connection (SYN without ACK), so that its
 * sender tries again later. Everything else passes, such as the ACK that completes a handshake.
 */
export function dropOpeningFilter(): Uint8Array {
  return bpfProgram([
    [BPF_LD_BYTE_ABSOLUTE, 0, 0, flagsOffset],
    [BPF_AND, 0, 0, SYN | ACK],
    [BPF_JUMP_IF_EQUAL, 0, 1, SYN],
    [BPF_RETURN, 0, 0, 0],
    [BPF_RETURN, 0, 0, wholePacket],
  ]);
}
