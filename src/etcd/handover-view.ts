import { decodeOffer } from './lease-records.js';
import type { LeaseKeyKind, OfferRecord } from './lease-records.js';

/** As last seen: `revision` is that of the last write, or one at which the key was absent (no record). */
interface Seen<T> {
  readonly revision: bigint;
  readonly record: T | undefined;
}

export type HandoverKind = Exclude<LeaseKeyKind, 'lease' | 'session'>;

/** Offers of leases and who answered them, as this process has seen them, and a bell for news of one lease. */
export class HandoverView {
  readonly #offers = new Map<string, Seen<OfferRecord>>();
  readonly #successors = new Map<string, Seen<Uint8Array>>();
  readonly #listeners = new Map<string, Set<() => void>>();

  offer(name: string): (OfferRecord & { readonly revision: bigint }) | undefined {
    const seen = this.#offers.get(name);
    return seen?.record === undefined ? undefined : { ...seen.record, revision: seen.revision };
  }

  /** What the owner is to write into the lease. */
  successor(name: string): { readonly value: Uint8Array; readonly revision: bigint } | undefined {
    const seen = this.#successors.get(name);
    return seen?.record === undefined ? undefined : { value: seen.record, revision: seen.revision };
  }

  saw(kind: HandoverKind, name: string, revision: bigint, value: Uint8Array | undefined): void {
    const known: Map<string, Seen<unknown>> = kind === 'offer' ? this.#offers : this.#successors;
    if (revision <= (known.get(name)?.revision ?? -1n)) return;
    const record = kind === 'offer' && value !== undefined ? decodeOffer(value) : value;
    known.set(name, { revision, record });
    this.rang(name);
  }

  /** Names that have a key of this kind, as far as we know. */
  names(kind: HandoverKind): string[] {
    return [...(kind === 'offer' ? this.#offers : this.#successors).keys()];
  }

  /** Something about the lease is new. */
  rang(name: string): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener();
  }

  /** Forgets that keys are absent. */
  trim(): void {
    for (const seen of [this.#offers, this.#successors]) {
      for (const [name, { record }] of seen) if (record === undefined) seen.delete(name);
    }
  }

  /** What `check` finds, looked at now and at every change: in the very moment that it is seen. */
  until<T>(name: string, check: () => T | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const found = check();
      if (found !== undefined) {
        resolve(found);
        return;
      }
      const listeners = this.#listeners.get(name) ?? new Set();
      this.#listeners.set(name, listeners);
      const end = (): void => {
        signal.removeEventListener('abort', onAbort);
        listeners.delete(listener);
        if (listeners.size === 0) this.#listeners.delete(name);
      };
      const onAbort = (): void => {
        end();
        reject(signal.reason as Error);
      };
      const listener = (): void => {
        const now = check();
        if (now === undefined) return;
        end();
        resolve(now);
      };
      listeners.add(listener);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
