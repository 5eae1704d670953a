/** Finds what an earlier compilation made of manifests that have not changed since. */
import type { CompiledManifest } from './compile.js';
import { hasContent } from './content-key.js';
import type { Content } from './content-key.js';

/** What a manifest was when it was compiled: frozen all through, or its content. Undefined: cannot be told again. */
export type ManifestState = 'frozen' | Content | undefined;

/** Between two compilations few manifests come or go at once. */
const maxShift = 8;

/**
 * What `earlier` has for each of `manifests`; each is given out once at most, so that one that is there twice is noticed.
 * A generator, so that the caller can pause.
 */
export function* reuseManifests(
  earlier: readonly CompiledManifest[],
  manifests: readonly unknown[],
): Generator<void, readonly (CompiledManifest | undefined)[]> {
  const found: (CompiledManifest | undefined)[] = [];
  const used = new Uint8Array(earlier.length);
  const missed: number[] = [];
  const take = (place: number, input: unknown): boolean => {
    const known = earlier[place];
    if (known === undefined || used[place] === 1 || !isSame(known, input)) return false;
    used[place] = 1;
    found.push(known);
    return true;
  };
  // Most stand where they stood, or moved as far as the one before them did.
  let shift = 0;
  for (let index = 0; index < manifests.length; index += 1) {
    const input = manifests[index];
    if (index % 256 === 255) yield;
    if (take(index + shift, input)) continue;
    let moved = false;
    for (let by = 1; by <= maxShift && !moved; by += 1) {
      for (const next of [shift + by, shift - by]) {
        if (!take(index + next, input)) continue;
        shift = next;
        moved = true;
        break;
      }
    }
    if (moved) continue;
    missed.push(index);
    found.push(undefined);
  }
  if (missed.length === 0) return found;
  const left = new Map<unknown, CompiledManifest>();
  for (let place = 0; place < earlier.length; place += 1) {
    const known = earlier[place];
    if (known === undefined || used[place] === 1) continue;
    left.set(known.input, known);
    const name = nameOf(known.input);
    if (name !== undefined) left.set(name, known);
  }
  const given = new Set<CompiledManifest>();
  for (const index of missed) {
    const input = manifests[index];
    const known = left.get(input) ?? left.get(nameOf(input));
    if (known === undefined || given.has(known) || !isSame(known, input)) continue;
    given.add(known);
    found[index] = known;
  }
  return found;
}

function isSame({ state, input: known }: CompiledManifest, input: unknown): boolean {
  return state === 'frozen' ? known === input : state !== undefined && hasContent(input, state);
}

/** Only a hint where to look; whatever is found is compared. */
function nameOf(input: unknown): string | undefined {
  const { manifest = input } = (input ?? {}) as { manifest?: unknown };
  const { kind, metadata } = (manifest ?? {}) as { kind?: unknown; metadata?: { namespace?: unknown; name?: unknown } };
  if (typeof metadata?.name !== 'string') return undefined;
  return `${String(kind)} ${String(metadata.namespace)}/${metadata.name}`;
}
