import type { NativeAddon } from '../../internal/native/addon.js';

/** More descriptors than sessions a machine can have: a session has one, an address at most two. */
const slots = 16_384;

/**
 * The descriptors that the thread has open, in memory that outlives it: a thread that ends does not close what it made by
 * system calls of its own, and its ports would stay taken.
 */
export class DescriptorLedger {
  readonly buffer: SharedArrayBuffer;
  /** A descriptor plus one in each used slot; 0 where free. */
  readonly #slots: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4 * slots)) {
    this.buffer = buffer;
    this.#slots = new Int32Array(buffer);
  }

  /** The addon, with every socket it makes or closes written down. */
  keeping(addon: NativeAddon): NativeAddon {
    return {
      ...addon,
      socket: (domain, type, protocol) => {
        const fd = addon.socket(domain, type, protocol);
        if (!this.#replace(0, fd + 1)) {
          addon.close(fd);
          throw new Error(`expected at most ${String(slots)} BFD sockets`);
        }
        return fd;
      },
      close: (fd) => {
        // Struck out first: once closed, the number may be somebody else's.
        this.#replace(fd + 1, 0);
        addon.close(fd);
      },
    };
  }

  /** Closes what is left, when the thread is gone. */
  closeAll(addon: NativeAddon): void {
    this.#slots.forEach((value, slot) => {
      if (value === 0) return;
      this.#slots[slot] = 0;
      addon.close(value - 1);
    });
  }

  #replace(from: number, to: number): boolean {
    const slot = this.#slots.indexOf(from);
    if (slot >= 0) this.#slots[slot] = to;
    return slot >= 0;
  }
}
