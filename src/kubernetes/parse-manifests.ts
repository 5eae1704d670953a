import { CoreError } from '../core/index.js';
import { classifyKind, isClusterScoped, policyKinds } from './kinds.js';
import type { BrokenManifest, ManifestObject, ManifestSource } from './manifest-object.js';
import { formatFieldPath, showValue } from './manifest-problem.js';
import type { FieldPath, ManifestProblem } from './manifest-problem.js';
import { schemaDefects } from './validate-manifest.js';
import { readYamlDocuments } from './yaml-documents.js';
import type { YamlDocument } from './yaml-documents.js';

export interface ParseManifestsOptions {
  /** What problems call the text; usually its path. */
  readonly file: string;
  /** Longer texts are refused. Default 8 MiB (in UTF-16 units). */
  readonly maxLength?: number | undefined;
}

export interface ParsedManifests {
  readonly objects: readonly ManifestObject[];
  /** What could not be used; pass it to `toMeshState` so that what it targets is denied. */
  readonly broken: readonly BrokenManifest[];
  readonly problems: readonly ManifestProblem[];
}

const maxListDepth = 4;

/**
 * Reads a file of manifests: YAML with any number of documents, or JSON; `List` kinds are taken apart. Never throws for
 * what the text says: each object of a kind that the mesh reads is either in `objects`, or in `broken` with its problems.
 * Kinds that the mesh does not read are noted with severity `info`.
 *
 * Refused: duplicate keys, more than 100 aliases in a document or aliases that expand beyond that, nesting deeper than 64.
 * Throws `CORE_OPTION_INVALID` for a bad option.
 *
 * @example
 * const { objects, broken, problems } = parseManifests(await readFile(path, 'utf8'), { file: path });
 * const { state } = toMeshState(objects, { trustDomain: 'cluster.local', broken });
 */
export function parseManifests(text: string, options: ParseManifestsOptions): ParsedManifests {
  const maxLength = options.maxLength ?? 8 * 1024 * 1024;
  if (!(maxLength > 0))
    throw new CoreError('CORE_OPTION_INVALID', `expected maxLength above 0, got ${String(maxLength)}`);
  const reader = new ManifestReader(options.file);
  if (text.length > maxLength)
    reader.refuseText(text, `at most ${String(maxLength)} characters`, `${String(text.length)}`);
  else
    readYamlDocuments(text, { maxDepth: 64, maxAliases: 100 }).forEach((document, index) =>
      reader.document(document, index),
    );
  return { objects: reader.objects, broken: reader.broken, problems: reader.problems };
}

class ManifestReader {
  readonly objects: ManifestObject[] = [];
  readonly broken: BrokenManifest[] = [];
  readonly problems: ManifestProblem[] = [];
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  refuseText(text: string, expected: string, got: string): void {
    const source: ManifestSource = { file: this.#file, line: 1, lineOf: () => 1 };
    this.#refuse({ value: undefined, source, parsed: false, mayBePolicy: namesPolicy(text), where: 'the file' }, [
      { line: 1, field: '', expected, got, fix: 'split the file' },
    ]);
  }

  document(document: YamlDocument, index: number): void {
    const where = `document ${String(index + 1)}`;
    const source: ManifestSource = { file: this.#file, line: document.line, lineOf: (path) => document.lineOf(path) };
    if (document.errors.length > 0) {
      const defects = document.errors.slice(0, 10).map(({ line, message }) => ({
        line,
        field: '',
        expected: 'valid YAML without duplicate keys',
        got: message,
        fix: 'correct the syntax',
      }));
      const mayBePolicy = namesPolicy(document.text);
      this.#refuse({ value: document.value, source, parsed: false, mayBePolicy, where }, defects);
      return;
    }
    if (document.value === null || document.value === undefined) return;
    this.#object(document.value, source, where, 0, undefined);
  }

  #object(value: unknown, source: ManifestSource, where: string, depth: number, listed: ListedAs | undefined): void {
    const fields = asRecord(value);
    const apiVersion = fields?.['apiVersion'] ?? listed?.apiVersion;
    const kind = fields?.['kind'] ?? listed?.kind;
    const refuse = (path: FieldPath, expected: string, got: unknown, fix: string): void => {
      const shown = typeof got === 'string' && fields === undefined ? got : showValue(got);
      const defect = { line: source.lineOf(path), field: formatFieldPath(path), expected, got: shown, fix };
      const mayBePolicy = namesPolicy(JSON.stringify(value));
      this.#refuse({ value, source, parsed: true, mayBePolicy, where }, [defect]);
    };
    if (fields === undefined)
      return refuse([], 'a mapping with apiVersion, kind and metadata', value, 'write an object');
    if (typeof kind !== 'string') return refuse(['kind'], 'the kind as text', kind, 'add kind, such as Service');
    if (typeof apiVersion !== 'string') {
      return refuse(['apiVersion'], 'the API version as text', apiVersion, 'add apiVersion, such as v1');
    }
    if (kind.endsWith('List') && Array.isArray(fields['items'])) {
      if (depth >= maxListDepth) return refuse(['items'], 'lists nested less deeply', 'a list in a list', 'flatten it');
      const as = kind === 'List' ? undefined : { apiVersion, kind: kind.slice(0, -'List'.length) };
      fields['items'].forEach((item: unknown, index) => {
        const itemWhere = `${where}, items[${String(index)}]`;
        this.#object(item, itemSource(source, index), itemWhere, depth + 1, as);
      });
      return;
    }
    const verdict = classifyKind(apiVersion, kind);
    if (!verdict.known) {
      if (verdict.malformed) return refuse(['apiVersion'], verdict.expected, apiVersion, 'correct apiVersion');
      this.#note(fields, source, `${apiVersion} ${kind}`);
      return;
    }
    const defects = schemaDefects(verdict.kind, fields).map((defect) => ({
      ...defect,
      line: source.lineOf(defect.path),
      field: formatFieldPath(defect.path),
    }));
    if (defects.length > 0) {
      const mayBePolicy = policyKinds.includes(kind);
      this.#refuse({ value: { apiVersion, kind, ...fields }, source, parsed: true, mayBePolicy, where }, defects);
      return;
    }
    const { name, namespace } = fields['metadata'] as { name: string; namespace?: string | null };
    this.objects.push({
      kind: verdict.kind,
      apiVersion,
      namespace: isClusterScoped(kind) ? '' : (namespace ?? 'default'),
      name,
      manifest: { apiVersion, kind, ...fields },
      source,
    });
  }

  #note(fields: Readonly<Record<string, unknown>>, source: ManifestSource, kind: string): void {
    const { name, namespace } = identity(fields);
    this.problems.push({
      severity: 'info',
      file: this.#file,
      line: source.line,
      object: `${kind.slice(kind.lastIndexOf(' ') + 1)} ${namespace ?? '?'}/${name ?? '?'}`,
      field: '',
      expected: 'a kind that the mesh reads',
      got: kind.slice(0, 200),
      fix: 'nothing to do: the object is left alone',
      keptLastGood: false,
    });
  }

  #refuse(
    what: {
      readonly value: unknown;
      readonly source: ManifestSource;
      readonly parsed: boolean;
      readonly mayBePolicy: boolean;
      readonly where: string;
    },
    defects: readonly Pick<ManifestProblem, 'line' | 'field' | 'expected' | 'got' | 'fix'>[],
  ): void {
    const { kind, namespace, name } = identity(what.value);
    const own = namespace === '' ? '' : `${namespace ?? '?'}/`;
    const object = kind === undefined || name === undefined ? what.where : `${kind} ${own}${name}`;
    const problems = defects.map(({ line, field, expected, got, fix }) =>
      Object.freeze({
        severity: 'error' as const,
        file: this.#file,
        line,
        object,
        field,
        expected,
        got,
        fix,
        keptLastGood: false,
      }),
    );
    this.problems.push(...problems);
    const [first] = defects;
    this.broken.push({
      kind,
      namespace,
      name,
      manifest: what.value,
      source: what.source,
      parsed: what.parsed,
      mayBePolicy: what.mayBePolicy,
      reason: first === undefined ? 'malformed' : `${first.field} expected ${first.expected}, got ${first.got}`.trim(),
      problems,
    });
  }
}

interface ListedAs {
  readonly apiVersion: string;
  readonly kind: string;
}

function itemSource(list: ManifestSource, index: number): ManifestSource {
  const prefix: FieldPath = ['items', index];
  return { file: list.file, line: list.lineOf(prefix), lineOf: (path) => list.lineOf([...prefix, ...path]) };
}

/** The object's name as far as it can be read. A missing namespace is `default`, a malformed one unknown. */
function identity(value: unknown): Pick<BrokenManifest, 'kind' | 'namespace' | 'name'> {
  const fields = asRecord(value);
  const metadata = asRecord(fields?.['metadata']);
  const kind = typeof fields?.['kind'] === 'string' ? fields['kind'].slice(0, 100) : undefined;
  const name = typeof metadata?.['name'] === 'string' ? metadata['name'].slice(0, 253) : undefined;
  const written = metadata?.['namespace'] ?? undefined;
  let namespace: string | undefined;
  if (kind !== undefined && isClusterScoped(kind)) namespace = '';
  else if (metadata !== undefined && written === undefined) namespace = 'default';
  else if (typeof written === 'string') namespace = written.slice(0, 253);
  return { kind, namespace, name };
}

function namesPolicy(text: string): boolean {
  return policyKinds.some((kind) => text.includes(kind));
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
