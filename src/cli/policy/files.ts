/** Reads policy manifests and policy tests from files and directories; every object knows its file and the lines of its fields. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { LineCounter, isMap, isScalar, isSeq, parseAllDocuments } from 'yaml';
import type { Document, Node } from 'yaml';
import type { WrappedManifest } from '../../authz/index.js';

/** A parsed document with its place. */
export interface LocatedDocument extends Required<Pick<WrappedManifest, 'file' | 'line' | 'lineOf' | 'manifest'>> {
  readonly file: string;
  readonly line: number;
  readonly lineOf: (path: string) => number | undefined;
}

const yamlFile = /\.(ya?ml|json)$/;
const testFile = /\.test\.ya?ml$/;
/** YAML aliases may blow a small file up to a huge document. */
const maxAliasCount = 100;

/** Policy kinds; other kinds in the same files are none of ours. */
const policyKinds: readonly string[] = [
  'ProxyPolicy',
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
];

/** Every manifest and test file below `path` (a file or a directory), sorted by name. */
export function findFiles(path: string): { readonly manifests: readonly string[]; readonly tests: readonly string[] } {
  const files = statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, withFileTypes: true })
        .filter(
          (entry) =>
            entry.isFile() && yamlFile.test(entry.name) && !entry.parentPath.split(/[\\/]/).includes('node_modules'),
        )
        .map((entry) => join(entry.parentPath, entry.name))
        .sort()
    : [path];
  return {
    manifests: files.filter((file) => !testFile.test(file)),
    tests: files.filter((file) => testFile.test(file)),
  };
}

/** Parses all documents of a file. Throws an error that names file and line for what is no YAML. */
export function readDocuments(file: string, shownAs = relative('.', file)): readonly LocatedDocument[] {
  const counter = new LineCounter();
  const documents = parseAllDocuments(readFileSync(file, 'utf8'), { lineCounter: counter, uniqueKeys: true });
  const located: LocatedDocument[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const [problem] = document.errors;
    if (problem !== undefined) {
      const { line } = counter.linePos(problem.pos[0]);
      throw new Error(`${shownAs}:${String(line)}: expected YAML, but ${problem.message.split('\n')[0] ?? ''}`);
    }
    const manifest: unknown = document.toJS({ maxAliasCount });
    if (manifest === null || manifest === undefined) continue;
    const lineOf = (path: string): number | undefined => {
      const node = nodeAt(document, path);
      return node?.range === null || node?.range === undefined ? undefined : counter.linePos(node.range[0]).line;
    };
    located.push({ file: shownAs, line: lineOf('') ?? 1, lineOf, manifest });
  }
  return located;
}

/** The policies in `paths`; documents of other kinds are left out. */
export function readPolicies(paths: readonly string[]): readonly LocatedDocument[] {
  return readManifests(paths).filter(({ manifest }) => isPolicy(manifest));
}

/** Every document in `paths`, policies and others. */
export function readManifests(paths: readonly string[]): readonly LocatedDocument[] {
  const files = new Set(paths.flatMap((path) => findFiles(path).manifests));
  return [...files].flatMap((file) => readDocuments(file));
}

export function isPolicy(manifest: unknown): boolean {
  const { kind, spec } = manifest as { kind?: unknown; spec?: { type?: unknown } | null };
  if (typeof kind !== 'string' || !policyKinds.includes(kind)) return false;
  // ProxyPolicy has many types; only this one is about authorization. One without a type is a mistake worth reporting.
  return kind !== 'ProxyPolicy' || spec?.type === undefined || spec.type === 'MeshAuthorization';
}

/** The node at a path such as `spec.rules[0].to[0]`, or the nearest one above it that exists. */
function nodeAt(document: Document, path: string): Node | undefined {
  let node: unknown = document.contents;
  for (const key of path.match(/[^.[\]]+/g) ?? []) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
      next = pair?.value ?? undefined;
      // For a mapping the line of its key is what an editor should show.
      if (pair !== undefined && isScalar(pair.key) && !isScalar(next)) {
        node = next ?? pair.key;
        continue;
      }
    } else if (isSeq(node)) {
      next = node.items[Number(key)];
    }
    if (next === undefined || next === null) break;
    node = next;
  }
  return (node as Node | null) ?? undefined;
}
