import type { TunnelLimits } from './limits.js';

/** Counts connections that have not proven who they are, in all and by address, so that they stay few. */
export class Admission {
  readonly #limits: Pick<TunnelLimits, 'maxPendingHandshakes' | 'maxPendingHandshakesPerAddress'>;
  readonly #byAddress = new Map<string, number>();
  #pending = 0;

  constructor(limits: Pick<TunnelLimits, 'maxPendingHandshakes' | 'maxPendingHandshakesPerAddress'>) {
    this.#limits = limits;
  }

  get pending(): number {
    return this.#pending;
  }

  /** A place for a connection from `address`, to be given back by calling the result; or why there is none. */
  admit(address: string): (() => void) | string {
    const { maxPendingHandshakes, maxPendingHandshakesPerAddress } = this.#limits;
    const ofAddress = this.#byAddress.get(address) ?? 0;
    if (this.#pending >= maxPendingHandshakes)
      return `${String(this.#pending)} handshakes are pending (maxPendingHandshakes)`;
    if (ofAddress >= maxPendingHandshakesPerAddress) {
      return `${String(ofAddress)} handshakes are pending from ${address} (maxPendingHandshakesPerAddress)`;
    }
    this.#pending += 1;
    this.#byAddress.set(address, ofAddress + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#pending -= 1;
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    };
  }
}

/** A token bucket: `burst` at once, refilled at `perSecond`. */
export class RateLimit {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #atMs: number;

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes one; false when there is none left. */
  take(nowMs: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
