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

/**
 * All of a manifest in one flat list. Comparing a manifest with it takes a fraction of the time of writing both out as
 * text, and finds what was changed in place.
 */
export type Content = readonly unknown[];

const object = Symbol('object');
const array = Symbol('array');
const end = Symbol('end');
const code = Symbol('code');

/** Functions are no content: the one that finds the line of a field is made anew with every reading of a file. */
function leaf(value: unknown): unknown {
  return typeof value === 'function' ? code : value;
}

/** Undefined for what is too deep to be a manifest. */
export function contentOf(manifest: unknown): Content | undefined {
  const content: unknown[] = [];
  return write(manifest, content, 0) ? content.slice() : undefined;
}

function write(value: unknown, content: unknown[], depth: number): boolean {
  if (depth > maxDepth) return false;
  if (typeof value !== 'object' || value === null) {
    content.push(leaf(value));
  } else if (Array.isArray(value)) {
    content.push(array, value.length);
    for (const item of value as readonly unknown[]) if (!write(item, content, depth + 1)) return false;
  } else {
    content.push(object);
    for (const name in value) {
      content.push(name);
      if (!write((value as Record<string, unknown>)[name], content, depth + 1)) return false;
    }
    content.push(end);
  }
  return true;
}

/** Whether `manifest` has that content: the same fields in the same order with the same values. */
export function hasContent(manifest: unknown, content: Content): boolean {
  return compare(manifest, content, 0) === content.length;
}

/** Where in `content` the value ends that begins at `at`; -1 when it is another. */
function compare(value: unknown, content: Content, at: number): number {
  if (typeof value === 'string') return content[at] === value ? at + 1 : -1;
  if (typeof value !== 'object' || value === null) return content[at] === leaf(value) ? at + 1 : -1;
  if (Array.isArray(value)) {
    const { length } = value;
    if (content[at] !== array || content[at + 1] !== length) return -1;
    let next = at + 2;
    for (let index = 0; index < length && next >= 0; index += 1) next = compare(value[index], content, next);
    return next;
  }
  if (content[at] !== object) return -1;
  let next = at + 1;
  for (const name in value) {
    if (content[next] !== name) return -1;
    next = compare((value as Record<string, unknown>)[name], content, next + 1);
    if (next < 0) return -1;
  }
  return content[next] === end ? next + 1 : -1;
}
