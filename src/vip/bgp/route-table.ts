import type { ResolvedRoute } from './route.js';
import type { BgpRouteSource } from './session.js';

/** What there is to announce, by canonical prefix. */
export class RouteTable implements BgpRouteSource {
  readonly #routes = new Map<string, { readonly route: ResolvedRoute; readonly draining: boolean }>();
  complete: boolean;

  constructor(complete: boolean) {
    this.complete = complete;
  }

  get size(): number {
    return this.#routes.size;
  }

  keys(): Iterable<string> {
    return this.#routes.keys();
  }

  get(key: string): { readonly route: ResolvedRoute; readonly draining: boolean } | undefined {
    return this.#routes.get(key);
  }

  set(route: ResolvedRoute): string {
    this.#routes.set(route.key, { route, draining: false });
    return route.key;
  }

  /** The key, undefined when there was no such route. */
  delete(key: string): string | undefined {
    return this.#routes.delete(key) ? key : undefined;
  }

  /** Marks one, or all, as about to go; the keys that it changed. */
  drain(only: string | undefined): readonly string[] {
    const keys = only === undefined ? [...this.#routes.keys()] : [only];
    return keys.filter((key) => {
      const found = this.#routes.get(key);
      if (found === undefined || found.draining) return false;
      this.#routes.set(key, { route: found.route, draining: true });
      return true;
    });
  }
}
