import { canonicalJson } from './canonical-json.js';

/** What changed between two lists of resources. */
export interface KeyedDiff<R> {
  readonly added: readonly R[];
  readonly removed: readonly R[];
  readonly changed: readonly { readonly key: string; readonly before: R; readonly after: R }[];
  readonly unchanged: number;
}

export interface KeyedDiffOptions<R> {
  /** Default: the same canonical JSON. */
  readonly equal?: ((a: R, b: R) => boolean) | undefined;
}

/**
 * Compares two lists by key, in any order. Of two entries with one key the last counts.
 *
 * @example
 * const { added, removed } = diffByKey(old.workloads, now.workloads, (each) => `${each.namespace}/${each.name}`);
 */
export function diffByKey<R>(
  before: Iterable<R>,
  after: Iterable<R>,
  keyOf: (resource: R) => string,
  options: KeyedDiffOptions<R> = {},
): KeyedDiff<R> {
  const equal = options.equal ?? ((a: R, b: R) => a === b || canonicalJson(a) === canonicalJson(b));
  const old = byKey(before, keyOf);
  const current = byKey(after, keyOf);
  const added: R[] = [];
  const changed: { key: string; before: R; after: R }[] = [];
  let unchanged = 0;
  for (const [key, now] of current) {
    if (!old.has(key)) added.push(now);
    else {
      const was = old.get(key) as R;
      if (equal(was, now)) unchanged += 1;
      else changed.push({ key, before: was, after: now });
    }
  }
  const removed = [...old].filter(([key]) => !current.has(key)).map(([, was]) => was);
  return { added, removed, changed, unchanged };
}

function byKey<R>(resources: Iterable<R>, keyOf: (resource: R) => string): Map<string, R> {
  return new Map(Array.from(resources, (resource) => [keyOf(resource), resource] as const));
}
