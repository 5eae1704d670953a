/**
 * A map that never changes, of which a slightly different one is made without copying it: the differences lie in a small
 * map above a large one that both share.
 */
export class LayeredMap<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  /** Undefined: taken away. */
  readonly #above: ReadonlyMap<K, V | undefined>;

  constructor(base: ReadonlyMap<K, V> = new Map(), above: ReadonlyMap<K, V | undefined> = new Map()) {
    this.#base = base;
    this.#above = above;
  }

  /** At least as many as there are. */
  get size(): number {
    return this.#base.size + this.#above.size;
  }

  get(key: K): V | undefined {
    if (this.#above.size > 0) {
      const value = this.#above.get(key);
      if (value !== undefined || this.#above.has(key)) return value;
    }
    return this.#base.get(key);
  }

  /** The map with `changes`; undefined takes a key away. */
  with(changes: ReadonlyMap<K, V | undefined>): LayeredMap<K, V> {
    if (changes.size === 0) return this;
    const above = new Map(this.#above);
    for (const [key, value] of changes) above.set(key, value);
    if (above.size <= maxShare * this.#base.size) return new LayeredMap(this.#base, above);
    const base = new Map(this.#base);
    for (const [key, value] of above) {
      if (value === undefined) base.delete(key);
      else base.set(key, value);
    }
    return new LayeredMap(base);
  }
}

/** When so much differs, one map is made of both. */
const maxShare = 0.02;
