/** Last good forms of manifests on disk, so that a restart with a broken file still knows them. */
import { join } from 'node:path';
import { z } from 'zod';
import { describeError } from '../core/index.js';
import type { Clock, Logger } from '../core/index.js';
import { SnapshotFileCache } from '../snapshot/index.js';
import { KubernetesError } from './errors.js';
import { classifyKind, isClusterScoped } from './kinds.js';
import type { ManifestObject } from './manifest-object.js';
import { schemaDefects } from './validate-manifest.js';

const savedSchema = z.array(
  z.object({ file: z.string(), line: z.number().int().min(1), manifest: z.record(z.string(), z.unknown()) }).strict(),
);
type Saved = z.output<typeof savedSchema>;

export class LastGoodFile {
  readonly #cache: SnapshotFileCache<Saved>;

  constructor(dataDirectory: string, options: { readonly clock: Clock; readonly logger: Logger }) {
    const path = join(dataDirectory, 'last-good-manifests');
    this.#cache = new SnapshotFileCache({
      path,
      label: 'manifests',
      parse: (value) => savedSchema.parse(value),
      ...options,
    });
  }

  /** What was saved, as far as it still is of the shape that the mesh reads. */
  async read(): Promise<readonly ManifestObject[]> {
    const saved = (await this.#cache.read())?.value ?? [];
    return saved.flatMap(({ file, line, manifest }) => {
      const { apiVersion, kind } = manifest;
      if (typeof apiVersion !== 'string' || typeof kind !== 'string') return [];
      const verdict = classifyKind(apiVersion, kind);
      if (!verdict.known || schemaDefects(verdict.kind, manifest).length > 0) return [];
      const { name, namespace } = manifest['metadata'] as { name: string; namespace?: string | null };
      const source = { file, line, lineOf: () => line };
      const scope = isClusterScoped(kind) ? '' : (namespace ?? 'default');
      return [{ kind: verdict.kind, apiVersion, namespace: scope, name, manifest, source }];
    });
  }

  /** Throws `KUBERNETES_LAST_GOOD_UNWRITABLE`. */
  async write(objects: Iterable<ManifestObject>): Promise<void> {
    const saved = Array.from(objects, ({ source, manifest }) => ({
      file: source.file,
      line: source.line,
      manifest: { ...manifest },
    }));
    try {
      await this.#cache.write(saved);
    } catch (cause) {
      const message = `the last good manifests could not be saved to ${this.#cache.path}: ${describeError(cause)}`;
      throw new KubernetesError('KUBERNETES_LAST_GOOD_UNWRITABLE', message, { cause });
    }
  }
}
