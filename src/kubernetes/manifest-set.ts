/** Files of manifests -> one mesh state, each object in its newest good form. Knows nothing of disks. */
import type { MeshState } from '../mesh/index.js';
import { withoutDuplicates } from './duplicates.js';
import { policyKinds } from './kinds.js';
import { brokenKey, objectKey } from './manifest-object.js';
import type { BrokenManifest, ManifestObject } from './manifest-object.js';
import type { ManifestProblem } from './manifest-problem.js';
import type { PoolAllocation } from './ip-pools.js';
import { parseManifests } from './parse-manifests.js';
import type { ParsedManifests } from './parse-manifests.js';
import { checkPolicies, engineValidator } from './policies.js';
import type { ValidatePolicy } from './policies.js';
import { mapCheckedObjects } from './to-mesh-state.js';
import type { MappingOptions } from './to-mesh-state.js';

/** The text of a file, or why it could not be read. */
export type FileContent = { readonly text: string } | { readonly unreadable: string };

export interface LoadedSet {
  readonly state: MeshState;
  readonly problems: readonly ManifestProblem[];
  /** To be on disk before anybody is told of `state`. */
  readonly poolAllocations: readonly PoolAllocation[];
}

export class ManifestSet {
  readonly #options: MappingOptions;
  readonly #validate: ValidatePolicy;
  /** By object key: what was usable last. */
  #lastGood: ReadonlyMap<string, ManifestObject>;
  #poolAllocations: readonly PoolAllocation[];
  #parsed = new Map<string, { readonly text: string; readonly result: ParsedManifests }>();

  constructor(
    options: MappingOptions,
    lastGood: Iterable<ManifestObject> = [],
    poolAllocations: readonly PoolAllocation[] = [],
  ) {
    const { trustDomain, rootNamespace = 'istio-system', settings } = options;
    this.#options = options;
    this.#validate =
      options.validatePolicy ??
      engineValidator({ trustDomain, rootNamespace, meshwrightDialect: settings?.meshwrightDialect });
    this.#poolAllocations = poolAllocations;
    this.#lastGood = new Map(Array.from(lastGood, (object) => [objectKey(object), object] as const));
  }

  /** Every object in force, as it was last good. */
  get lastGood(): Iterable<ManifestObject> {
    return this.#lastGood.values();
  }

  /** Takes the files as they are now; a file that is not among them is deleted, and so are its objects. */
  load(files: ReadonlyMap<string, FileContent>): LoadedSet {
    const parsed = this.#parseAll(files);
    const unique = withoutDuplicates(parsed.flatMap((each) => each.objects));
    const checked = checkPolicies(unique.objects, this.#validate);
    const broken = [...parsed.flatMap((each) => each.broken), ...unique.broken, ...checked.broken];
    const kept = this.#keep(checked.usable, broken);
    const mapped = mapCheckedObjects(kept.objects, kept.lost, {
      ...this.#options,
      poolAllocations: this.#poolAllocations,
    });
    this.#poolAllocations = mapped.poolAllocations;
    this.#lastGood = new Map(kept.objects.map((object) => [objectKey(object), object]));
    const problems = [...parsed.flatMap((each) => each.problems), ...unique.problems, ...checked.problems].map(
      (problem) => (kept.covered.has(problem) ? Object.freeze({ ...problem, keptLastGood: true }) : problem),
    );
    return { ...mapped, problems: [...problems, ...mapped.problems] };
  }

  #parseAll(files: ReadonlyMap<string, FileContent>): readonly ParsedManifests[] {
    const previous = this.#parsed;
    this.#parsed = new Map();
    const results: ParsedManifests[] = [];
    for (const [file, content] of files) {
      if ('unreadable' in content) {
        results.push(unreadableFile(file, content.unreadable, this.#had(file)));
        continue;
      }
      const { text } = content;
      const known = previous.get(file);
      const result = known?.text === text ? known.result : this.#parse(file, text);
      this.#parsed.set(file, { text, result });
      results.push(result);
    }
    return results;
  }

  #parse(file: string, text: string): ParsedManifests {
    const result = parseManifests(text, { file });
    const empty = result.objects.length + result.broken.length + result.problems.length === 0;
    return empty && this.#had(file) ? emptiedFile(file) : result;
  }

  #had(file: string): boolean {
    return [...this.#lastGood.values()].some((object) => object.source.file === file);
  }

  /** Puts last good forms in the place of broken ones. */
  #keep(usable: readonly ManifestObject[], broken: readonly BrokenManifest[]): Kept {
    const objects = new Map(usable.map((object) => [objectKey(object), object]));
    const usableKeys = new Set(objects.keys());
    const covered = new Set<ManifestProblem>();
    const lost: BrokenManifest[] = [];
    const cover = (one: BrokenManifest): void => one.problems.forEach((problem) => covered.add(problem));
    // Whatever was in a file that does not parse, and is nowhere else now, may be in the part that does not parse.
    const unparsed = new Set(broken.filter((one) => !one.parsed).map((one) => one.source.file));
    const keptOf = new Map<string, ManifestObject[]>();
    for (const [key, object] of this.#lastGood) {
      const { file } = object.source;
      if (!unparsed.has(file) || objects.has(key)) continue;
      objects.set(key, object);
      keptOf.set(file, [...(keptOf.get(file) ?? []), object]);
    }
    const spare = new Map([...keptOf].map(([file, kept]) => [file, kept.filter(isPolicyKind).length]));
    for (const one of broken) {
      const key = brokenKey(one);
      // What could be read of text that does not parse is not enough to take the place of something that does.
      const replaces = key !== undefined && (one.parsed || !usableKeys.has(key));
      const good = replaces ? this.#lastGood.get(key) : undefined;
      const { file } = one.source;
      if (key !== undefined && good !== undefined) {
        objects.set(key, good);
        if (isPolicyKind(good)) spare.set(file, (spare.get(file) ?? 0) - 1);
        cover(one);
      } else if (!one.parsed && (one.mayBePolicy ? (spare.get(file) ?? 0) > 0 : keptOf.has(file))) {
        // It cannot say which object it is; there is one of this file that it can be.
        spare.set(file, (spare.get(file) ?? 0) - 1);
        cover(one);
      } else lost.push(one);
    }
    return { objects: [...objects.values()], lost, covered };
  }
}

interface Kept {
  readonly objects: readonly ManifestObject[];
  /** Broken, without a last good form. */
  readonly lost: readonly BrokenManifest[];
  /** Problems of objects whose last good form is used. */
  readonly covered: ReadonlySet<ManifestProblem>;
}

function isPolicyKind(object: ManifestObject): boolean {
  return policyKinds.includes(object.kind);
}

/** One that never was read may hold a policy for anything. */
function unreadableFile(file: string, reason: string, had: boolean): ParsedManifests {
  return brokenFile(file, !had, {
    expected: 'a file that can be read',
    got: reason,
    fix: 'give the controller leave to read it, or remove it',
  });
}

/** Editors and copies empty a file before they write it; who means to delete objects deletes the file. */
function emptiedFile(file: string): ParsedManifests {
  return brokenFile(file, false, {
    expected: 'manifests, as there were before',
    got: 'an empty file',
    fix: 'delete the file to delete its objects',
  });
}

function brokenFile(
  file: string,
  mayBePolicy: boolean,
  details: Pick<ManifestProblem, 'expected' | 'got' | 'fix'>,
): ParsedManifests {
  const source = { file, line: 1, lineOf: () => 1 };
  const problem: ManifestProblem = Object.freeze({
    severity: 'error',
    file,
    line: 1,
    object: 'the file',
    field: '',
    keptLastGood: false,
    ...details,
  });
  const one: BrokenManifest = {
    kind: undefined,
    namespace: undefined,
    name: undefined,
    manifest: undefined,
    source,
    parsed: false,
    mayBePolicy,
    reason: `expected ${details.expected}, got ${details.got}`,
    problems: [problem],
  };
  return { objects: [], broken: [one], problems: [problem] };
}
