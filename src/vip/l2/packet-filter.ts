import { ipBytes, ipFamily } from '../../core/index.js';
import { advertisementType, solicitationType } from './neighbor-discovery.js';

/**
 * Classic BPF programs for packet sockets of type SOCK_DGRAM (offset 0 is the network header), so that the kernel drops
 * what does not concern our addresses before it wakes the process.
 *
 * What passes is a superset: IPv6 addresses are compared by their last four bytes. Who receives compares whole addresses.
 */

/** `struct sock_filter`. Jumps of a branch are relative and at most 255; `always` takes any. */
interface Instruction {
  readonly code: number;
  readonly k: number;
  readonly jt?: number;
  readonly jf?: number;
}

const loadWord = (offset: number): Instruction => ({ code: 0x20, k: offset });
const loadHalf = (offset: number): Instruction => ({ code: 0x28, k: offset });
const loadByte = (offset: number): Instruction => ({ code: 0x30, k: offset });
const jumpEqual = (k: number, jt: number, jf: number): Instruction => ({ code: 0x15, k, jt, jf });
const jumpAbove = (k: number, jt: number, jf: number): Instruction => ({ code: 0x25, k, jt, jf });
const jump = (count: number): Instruction => ({ code: 0x05, k: count });
const accept: Instruction = { code: 0x06, k: 0xffff };
const drop: Instruction = { code: 0x06, k: 0 };

/** The most instructions that the kernel takes (BPF_MAXINSNS). */
const maxInstructions = 4096;

/** ARP packets whose sender is one of `ips`, or probes (sender 0.0.0.0) for one of them. */
export function arpFilter(ips: readonly string[]): Buffer {
  const wanted = lastWords(ips, 4);
  return assemble(
    oneOf(14, wanted, [
      loadWord(14),
      // A request of a client that has an address is the kernel's to answer.
      jumpEqual(0, 1, 0),
      drop,
      ...oneOf(24, wanted, [drop]),
    ]),
  );
}

/** Neighbour advertisements for one of `ips`, probes (source `::`) for one of them, and either kind sent from one of them. */
export function neighborFilter(ips: readonly string[]): Buffer {
  const wanted = lastWords(ips, 6);
  const unlessEqual = (load: Instruction, ...values: readonly number[]): Instruction[] => [
    load,
    ...values.map((value, index) => jumpEqual(value, values.length - index, 0)),
    drop,
  ];
  return assemble([
    ...unlessEqual(loadHalf(6), (58 << 8) | 255),
    ...unlessEqual(loadByte(40), solicitationType, advertisementType),
    ...oneOf(20, wanted, [
      loadByte(40),
      // From here on: the target of an advertisement, or of a solicitation from `::`.
      jumpEqual(advertisementType, 6, 0),
      loadWord(8),
      jumpEqual(0, 1, 0),
      drop,
      loadWord(20),
      jumpEqual(0, 1, 0),
      drop,
      ...oneOf(60, wanted, [drop]),
    ]),
  ]);
}

function lastWords(ips: readonly string[], family: 4 | 6): readonly number[] {
  const words = ips
    .filter((ip) => ipFamily(ip) === family)
    .map((ip) => {
      const bytes = Buffer.from(ipBytes(ip));
      return bytes.readUInt32BE(bytes.length - 4);
    });
  return [...new Set(words)].sort((a, b) => a - b);
}

/** Accepts when the word at `offset` is in `sorted`, and else goes on with `otherwise`. A binary search. */
function oneOf(offset: number, sorted: readonly number[], otherwise: readonly Instruction[]): Instruction[] {
  if (sorted.length === 0) return [...otherwise];
  // Each way to a miss jumps to the end of the search, behind which `otherwise` stands.
  const search = (from: number, to: number): readonly (Instruction | 'miss')[] => {
    if (to - from <= 8) {
      const leaf = sorted.slice(from, to).flatMap((word) => [jumpEqual(word, 0, 1), accept]);
      return [...leaf, 'miss'];
    }
    const middle = (from + to) >> 1;
    const low = search(from, middle);
    const high = search(middle, to);
    return [jumpAbove(sorted[middle - 1] ?? 0, 0, 1), jump(low.length), ...low, ...high];
  };
  const body = search(0, sorted.length);
  const resolved = body.map((entry, index) => (entry === 'miss' ? jump(body.length - index - 1) : entry));
  return [loadWord(offset), ...resolved, ...otherwise];
}

function assemble(program: readonly Instruction[]): Buffer {
  // More addresses than fit: all ARP or ND passes, and the process sorts it out, within its limits.
  const fitting = program.length <= maxInstructions ? program : [accept];
  const out = Buffer.alloc(8 * fitting.length);
  fitting.forEach(({ code, k, jt = 0, jf = 0 }, index) => {
    out.writeUInt16LE(code, 8 * index);
    out.writeUInt8(jt, 8 * index + 2);
    out.writeUInt8(jf, 8 * index + 3);
    out.writeUInt32LE(k, 8 * index + 4);
  });
  return out;
}
