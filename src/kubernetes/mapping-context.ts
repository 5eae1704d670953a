import type { KnownKind } from './kinds.js';
import type { ManifestObject } from './manifest-object.js';
import type { ManifestProblem } from './manifest-problem.js';
import type { ObjectMeta } from './schemas.js';
import { withoutNulls } from './validate-manifest.js';

/** An object with its manifest as the type that its schema has established, and without nulls. */
export interface Typed<M> {
  readonly object: ManifestObject;
  readonly manifest: M;
}

/** What the mappers of the kinds share: objects by kind, and the problems found so far. */
export class MappingContext {
  readonly problems: ManifestProblem[] = [];
  readonly #byKind = new Map<KnownKind, Typed<unknown>[]>();

  constructor(objects: readonly ManifestObject[]) {
    for (const object of objects) {
      const list = this.#byKind.get(object.kind) ?? [];
      list.push({ object, manifest: withoutNulls(object.manifest) });
      this.#byKind.set(object.kind, list);
    }
  }

  /** The type argument must be the one that belongs to `kind` in schemas.ts. */
  all<M extends { readonly metadata: ObjectMeta }>(kind: KnownKind): readonly Typed<M>[] {
    return (this.#byKind.get(kind) ?? []) as readonly Typed<M>[];
  }
}
