import type { LinkPart, VipParts } from './parts.js';

/** One link per interface, opened when it is first wanted, closed when nobody wants it any more. */
export class LinkPool {
  readonly #open: VipParts['openLink'];
  readonly #links = new Map<string, { readonly opening: Promise<LinkPart>; users: number }>();

  constructor(open: VipParts['openLink']) {
    this.#open = open;
  }

  /** Give it back by `release`, once. Rejects as `L2Link.open` does; the next call tries again. */
  async use(name: string): Promise<LinkPart> {
    const known = this.#links.get(name);
    if (known !== undefined) {
      known.users += 1;
      return known.opening;
    }
    const entry = { opening: this.#open(name), users: 1 };
    this.#links.set(name, entry);
    try {
      return await entry.opening;
    } catch (error) {
      if (this.#links.get(name) === entry) this.#links.delete(name);
      throw error;
    }
  }

  async release(name: string): Promise<void> {
    const entry = this.#links.get(name);
    if (entry === undefined) return;
    entry.users -= 1;
    if (entry.users > 0) return;
    this.#links.delete(name);
    await (await entry.opening).close();
  }

  destroy(): void {
    for (const { opening } of this.#links.values()) {
      opening.then(
        (link) => link.destroy(),
        () => undefined,
      );
    }
    this.#links.clear();
  }
}
