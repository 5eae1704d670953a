import { encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from './codec/encode-update.js';
import type { UpdateEncoding } from './codec/encode-update.js';
import type { BgpFamily } from './codec/constants.js';
import type { BgpPrefix } from './codec/prefix.js';
import type { OutgoingRoute } from './policy.js';

/** What one flush sends. */
export interface RibFlush {
  readonly messages: readonly Buffer[];
  readonly announced: number;
  readonly withdrawn: number;
}

/** What one peer has been told, and what it has yet to be told: only differences are sent. Lives as long as a session. */
export class RibOut {
  readonly #sent = new Map<string, { readonly prefix: BgpPrefix; readonly group: string }>();
  readonly #dirty = new Set<string>();

  /** How many routes the peer has. */
  get size(): number {
    return this.#sent.size;
  }

  get hasWork(): boolean {
    return this.#dirty.size > 0;
  }

  /** The route under `key` may have changed, come or gone. */
  touch(key: string): void {
    this.#dirty.add(key);
  }

  touchAll(keys: Iterable<string>): void {
    for (const key of this.#sent.keys()) this.#dirty.add(key);
    for (const key of keys) this.#dirty.add(key);
  }

  /** The peer asks for all of `family` again: what it has is sent as if it had not been. */
  forget(family: BgpFamily, keys: Iterable<string>): void {
    for (const [key, { prefix }] of [...this.#sent]) if (prefix.family === family) this.#sent.delete(key);
    this.touchAll(keys);
  }

  /** `wanted` gives a route as the peer is to have it, undefined for none. */
  flush(wanted: (key: string) => OutgoingRoute | undefined, encoding: UpdateEncoding): RibFlush {
    const withdrawals: BgpPrefix[] = [];
    const groups = new Map<string, OutgoingRoute[]>();
    for (const key of this.#dirty) {
      const route = wanted(key);
      const before = this.#sent.get(key);
      if (route === undefined) {
        if (before === undefined) continue;
        this.#sent.delete(key);
        withdrawals.push(before.prefix);
      } else if (before?.group !== route.group) {
        this.#sent.set(key, { prefix: route.prefix, group: route.group });
        const group = groups.get(route.group);
        if (group === undefined) groups.set(route.group, [route]);
        else group.push(route);
      }
    }
    this.#dirty.clear();
    const messages = (['ipv4', 'ipv6'] as const).flatMap((family) =>
      encodeWithdrawals(
        withdrawals.filter((prefix) => prefix.family === family),
        family,
      ),
    );
    let announced = 0;
    for (const routes of groups.values()) {
      const [first] = routes;
      if (first === undefined) continue;
      announced += routes.length;
      const prefixes = routes.map(({ prefix }) => prefix);
      messages.push(...encodeAnnouncements(prefixes, first.prefix.family, first.attributes, first.nextHop, encoding));
    }
    return { messages, announced, withdrawn: withdrawals.length };
  }

  endOfRib(families: readonly BgpFamily[]): readonly Buffer[] {
    return families.map(encodeEndOfRib);
  }
}
