/** Classic BPF, as `attachFilter` takes it. */

/** Code, how many instructions to skip if true, if false, operand: `struct sock_filter`. */
export type BpfInstruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

export const BPF_LD_BYTE_ABSOLUTE = 0x30;
export const BPF_AND = 0x54;
export const BPF_JUMP_IF_EQUAL = 0x15;
export const BPF_JUMP_IF_GREATER_OR_EQUAL = 0x35;
/** The operand is how many bytes pass; none: the packet is dropped. */
export const BPF_RETURN = 0x06;
/** For `BPF_RETURN`. */
export const wholePacket = 0xffffffff;

export function bpfProgram(instructions: readonly BpfInstruction[]): Uint8Array {
  const bytes = Buffer.alloc(8 * instructions.length);
  instructions.forEach(([code, ifTrue, ifFalse, operand], index) => {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(ifTrue, 8 * index + 2);
    bytes.writeUInt8(ifFalse, 8 * index + 3);
    bytes.writeUInt32LE(operand >>> 0, 8 * index + 4);
  });
  return bytes;
}
