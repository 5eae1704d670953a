import { brokenFrom, objectKey, problemAt } from './manifest-object.js';
import type { BrokenManifest, ManifestObject } from './manifest-object.js';
import type { ManifestProblem } from './manifest-problem.js';

export interface UniqueObjects {
  readonly objects: readonly ManifestObject[];
  /** Policies of which there are two: nobody can say which one is meant, so what they target is denied. */
  readonly broken: readonly BrokenManifest[];
  readonly problems: readonly ManifestProblem[];
}

/** One object for each kind, namespace and name: the first. A second policy that says something else counts as broken. */
export function withoutDuplicates(objects: readonly ManifestObject[]): UniqueObjects {
  const byKey = new Map<string, ManifestObject>();
  const broken: BrokenManifest[] = [];
  const problems: ManifestProblem[] = [];
  for (const object of objects) {
    const key = objectKey(object);
    const first = byKey.get(key);
    if (first === undefined) {
      byKey.set(key, object);
      continue;
    }
    const place = `${first.source.file}:${String(first.source.line)}`;
    const problem = problemAt(object, ['metadata', 'name'], {
      expected: 'every object once',
      got: `a second one; the first is at ${place}`,
      fix: 'remove or rename one of the two; until then only one is used',
    });
    problems.push(problem);
    if (JSON.stringify(object.manifest['spec']) === JSON.stringify(first.manifest['spec'])) continue;
    const duplicate = brokenFrom(object, `it is defined a second time, differently from ${place}`, [problem]);
    if (duplicate.mayBePolicy) broken.push(duplicate);
  }
  return { objects: [...byKey.values()], broken, problems };
}
