import { readEnrolment } from './annotations.js';
import type { ManifestObject } from './manifest-object.js';
import type { MappingContext } from './mapping-context.js';
import type { RunningPod } from './pod.js';
import type { ReplicatedManifest } from './schemas.js';
import { matchesSelector } from './selector.js';

interface Owner {
  readonly object: ManifestObject;
  readonly manifest: ReplicatedManifest;
  readonly enrols: boolean;
}

/** Deployments and ReplicaSets, and which pods they own. */
export class OwnerIndex {
  readonly #owners = new Map<string, Owner>();

  constructor(context: MappingContext) {
    for (const kind of ['Deployment', 'ReplicaSet'] as const) {
      for (const { object, manifest } of context.all<ReplicatedManifest>(kind)) {
        const template = manifest.spec?.template?.metadata?.annotations ?? {};
        const own = readEnrolment(object, manifest.metadata.annotations ?? {}, context.problems);
        const path = ['spec', 'template', 'metadata', 'annotations'];
        const inTemplate = readEnrolment(object, template, context.problems, path);
        this.#owners.set(key(kind, object.namespace, object.name), { object, manifest, enrols: own || inTemplate });
      }
    }
  }

  /** Whether an owner of `pod`, however far up, is annotated in its metadata or its pod template. */
  enrols(pod: RunningPod): boolean {
    const { namespace } = pod.object;
    const references = pod.meta.ownerReferences ?? [];
    let referenced = false;
    for (const { kind, name } of references) {
      const owner = this.#owners.get(key(kind, namespace, name));
      if (owner === undefined) continue;
      referenced = true;
      if (owner.enrols || this.#parentEnrols(owner)) return true;
    }
    // Written by hand there is often no ownerReference, or one to a ReplicaSet that is not among the manifests.
    return referenced ? false : this.#selectedByEnrolled(pod);
  }

  #parentEnrols({ object, manifest }: Owner): boolean {
    const references = manifest.metadata.ownerReferences ?? [];
    for (const { kind, name } of references) {
      if (this.#owners.get(key(kind, object.namespace, name))?.enrols === true) return true;
    }
    return false;
  }

  #selectedByEnrolled(pod: RunningPod): boolean {
    for (const { object, manifest, enrols } of this.#owners.values()) {
      if (!enrols || object.namespace !== pod.object.namespace) continue;
      if (matchesSelector(pod.labels, manifest.spec?.selector)) return true;
    }
    return false;
  }
}

function key(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace}/${name}`;
}
