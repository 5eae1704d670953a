/**
 * For how long a verified source stays verified.
 *
 * A stream outlives the token and the TLS session it was opened with. What keeps it alive is evidence, kept per peer
 * node (its newest certificate) and per (principal, node) (its newest token): a fresh token pushed on a session, or a
 * newer session of the same peer, extends every open stream of that source. A stream whose evidence ends is closed. A
 * token is evidence for as long as the key that signed it is published: when that is withdrawn, the token counts no more.
 *
 * Validity is wall time. Each wait is capped, so a clock that jumps forward is noticed within `maxWaitMs`.
 */
import { notify, systemClock } from '../core/index.js';
import type { Clock, Timer } from '../core/index.js';

/** Which source a connection depends on. `principal` is undefined where the peer's certificate alone is the evidence. */
export interface EvidenceKey {
  readonly node: string;
  readonly principal?: string | undefined;
}

/** Why evidence is no more. */
export type EvidenceEnd = 'expired' | 'withdrawn';

interface Entry {
  /** Until when, by the key that signed it; `''` for what does not depend on a key. */
  readonly untilMs: Map<string, number>;
  /** The evidence this one depends on as well: a token is worth nothing without its node's certificate. */
  readonly parent: Entry | undefined;
}

interface Dependent {
  readonly entry: Entry;
  readonly onEnd: (end: EvidenceEnd) => void;
  timer: Timer | undefined;
}

const maxWaitMs = 30_000;
const sweepAtEntries = 10_000;

export class EvidenceStore {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #dependents = new Set<Dependent>();
  #sweepAt = sweepAtEntries;

  constructor(options: { readonly clock?: Clock | undefined } = {}) {
    this.#clock = options.clock ?? systemClock;
  }

  /** A session of `node` with a certificate valid until then was verified. Never shortens what is known. */
  recordPeer(node: string, notAfter: Date): void {
    extend(this.#entry({ node }), '', notAfter);
  }

  /** A token of `principal`, bound to a key of `node` and signed by `keyId`, was verified. Never shortens what is known. */
  recordToken(node: string, principal: string, expiresAt: Date, keyId: string): void {
    extend(this.#entry({ node, principal }), keyId, expiresAt);
  }

  /** From now on only these keys sign tokens: what rests on another alone ends at once. */
  keepTokenKeys(keyIds: ReadonlySet<string>): void {
    for (const { untilMs } of this.#entries.values()) {
      for (const keyId of untilMs.keys()) if (keyId !== '' && !keyIds.has(keyId)) untilMs.delete(keyId);
    }
    for (const dependent of [...this.#dependents]) {
      if (validUntil(dependent.entry) <= this.#clock.now()) this.#end(dependent, 'withdrawn');
      else this.#arm(dependent);
    }
  }

  /** Until when the source is verified; 0 for a source that never was. */
  expiresAtMs(key: EvidenceKey): number {
    const entry = this.#entries.get(keyOf(key));
    return entry === undefined ? 0 : validUntil(entry);
  }

  /** Calls `onEnd` once, when the evidence for `key` has run out or was withdrawn. Disposing stops the watch. */
  watch(key: EvidenceKey, onEnd: (end: EvidenceEnd) => void): Disposable {
    const dependent: Dependent = { entry: this.#entry(key), onEnd, timer: undefined };
    this.#dependents.add(dependent);
    this.#arm(dependent);
    return {
      [Symbol.dispose]: () => {
        dependent.timer?.cancel();
        this.#dependents.delete(dependent);
      },
    };
  }

  /** How many connections are being watched, for status and leak tests. */
  get watching(): number {
    return this.#dependents.size;
  }

  #arm(dependent: Dependent): void {
    const leftMs = validUntil(dependent.entry) - this.#clock.now();
    dependent.timer?.cancel();
    dependent.timer = this.#clock.timer(Math.max(0, Math.min(leftMs, maxWaitMs)), () => {
      if (!this.#dependents.has(dependent)) return;
      if (validUntil(dependent.entry) > this.#clock.now()) {
        this.#arm(dependent);
        return;
      }
      this.#end(dependent, 'expired');
    });
  }

  #end(dependent: Dependent, end: EvidenceEnd): void {
    dependent.timer?.cancel();
    this.#dependents.delete(dependent);
    notify(() => dependent.onEnd(end), { type: 'evidence-expired' });
  }

  #entry(key: EvidenceKey): Entry {
    const id = keyOf(key);
    const known = this.#entries.get(id);
    if (known !== undefined) return known;
    if (this.#entries.size >= this.#sweepAt) this.#sweep();
    const parent = key.principal === undefined ? undefined : this.#entry({ node: key.node });
    const entry: Entry = { untilMs: new Map(), parent };
    this.#entries.set(id, entry);
    return entry;
  }

  /** Forgets what expired and nobody depends on, so that a long life with many principals stays bounded. */
  #sweep(): void {
    const now = this.#clock.now();
    const used = new Set<Entry>();
    for (const dependent of this.#dependents) {
      for (let entry: Entry | undefined = dependent.entry; entry !== undefined; entry = entry.parent) used.add(entry);
    }
    for (const entry of this.#entries.values())
      if (entry.parent !== undefined && validUntil(entry) > now) used.add(entry.parent);
    for (const [id, entry] of this.#entries) if (!used.has(entry) && validUntil(entry) <= now) this.#entries.delete(id);
    this.#sweepAt = Math.max(sweepAtEntries, 2 * this.#entries.size);
  }
}

function keyOf(key: EvidenceKey): string {
  // A node name has no newline: it is a SPIFFE path segment.
  return key.principal === undefined ? key.node : `${key.node}\n${key.principal}`;
}

function extend({ untilMs }: Entry, keyId: string, until: Date): void {
  untilMs.set(keyId, Math.max(untilMs.get(keyId) ?? 0, until.getTime()));
}

function validUntil({ untilMs, parent }: Entry): number {
  let latest = 0;
  for (const each of untilMs.values()) latest = Math.max(latest, each);
  return parent === undefined ? latest : Math.min(latest, validUntil(parent));
}
