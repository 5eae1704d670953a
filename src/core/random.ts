import { randomBytes } from 'node:crypto';

/** Randomness, injected so that tests can repeat. Keys and serials always come from the operating system. */
export interface Random {
  /** `length` unpredictable bytes. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1), for jitter and balancing only. */
  fraction(): number;
}

/** The operating system's generator. */
export const systemRandom: Random = Object.freeze({
  bytes: (length: number) => randomBytes(length),
  fraction: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
});
