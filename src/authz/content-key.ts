/** What tells whether a manifest is the one that was compiled before. */

/** Objects known to be frozen all through; frozen once is frozen for good. */
const deepFrozen = new WeakSet<object>();

/** Manifests are not deeper than this; what is may be a cycle. */
const maxDepth = 64;

/** Whether nothing reachable from `value` can change any more. */
export function isDeepFrozen(value: unknown, depth = 0): boolean {
  if (typeof value === 'function' || depth > maxDepth) return false;
  if (typeof value !== 'object' || value === null) return true;
  if (deepFrozen.has(value)) return true;
  if (!Object.isFrozen(value)) return false;
  for (const name in value) if (!isDeepFrozen((value as Record<string, unknown>)[name], depth + 1)) return false;
  if (depth === 0) deepFrozen.add(value);
  return true;
}

/**
 * Freezes a manifest all through and returns it. Engines compiled from frozen manifests recognise them by identity, so
 * that recompiling after one of thousands changed does not read the others again.
 */
export function freezeManifest<T>(manifest: T): T {
  if (typeof manifest === 'object' && manifest !== null && !Object.isFrozen(manifest)) {
    Object.freeze(manifest);
    for (const item of Object.values(manifest)) freezeManifest(item);
  }
  return manifest;
}

/** The content of a manifest as one text; undefined for what has none (a cycle). */
export function contentKey(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
