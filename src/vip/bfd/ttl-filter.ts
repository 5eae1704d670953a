/**
 * A socket filter (classic BPF) that drops datagrams which came too far: TTL or hop limit below a least value. IP_MINTTL does
 * this for TCP only; on a UDP socket the kernel ignores it.
 */

const BPF_LD_BYTE_ABSOLUTE = 0x30;
const BPF_JUMP_IF_GREATER_OR_EQUAL = 0x35;
const BPF_RETURN = 0x06;
/** Offsets from here on count from the network header. */
const SKF_NET_OFF = -0x100000;
const ttlOffset = { 4: 8, 6: 7 } as const;
const wholeDatagram = 0xffffffff;

/** Instructions for `attachFilter`. */
export function leastTtlFilter(family: 4 | 6, leastTtl: number): Uint8Array {
  return program([
    [BPF_LD_BYTE_ABSOLUTE, 0, 0, SKF_NET_OFF + ttlOffset[family]],
    [BPF_JUMP_IF_GREATER_OR_EQUAL, 0, 1, leastTtl],
    [BPF_RETURN, 0, 0, wholeDatagram],
    [BPF_RETURN, 0, 0, 0],
  ]);
}

/** For sockets that only send. */
export function dropEverythingFilter(): Uint8Array {
  return program([[BPF_RETURN, 0, 0, 0]]);
}

/** `struct sock_filter`: code, jump if true, jump if false, operand. */
function program(instructions: readonly (readonly [number, number, number, number])[]): Uint8Array {
  const bytes = Buffer.alloc(8 * instructions.length);
  instructions.forEach(([code, ifTrue, ifFalse, operand], index) => {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(ifTrue, 8 * index + 2);
    bytes.writeUInt8(ifFalse, 8 * index + 3);
    bytes.writeUInt32LE(operand >>> 0, 8 * index + 4);
  });
  return bytes;
}
