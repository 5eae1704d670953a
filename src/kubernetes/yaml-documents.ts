/** YAML and JSON text -> plain values, with the line of every field. Nothing in the text can make this throw or blow up. */
import { LineCounter, isAlias, isNode, isPair, parseAllDocuments, visit } from 'yaml';
import type { Document, ParsedNode } from 'yaml';
import { describeError } from '../core/index.js';
import type { FieldPath } from './manifest-problem.js';

export interface YamlDocument {
  /** The value; what could be read of it when there are errors. */
  readonly value: unknown;
  /** Line of the first content, from 1. */
  readonly line: number;
  readonly errors: readonly { readonly line: number; readonly message: string }[];
  /** The document's own text. */
  readonly text: string;
  lineOf(path: FieldPath): number;
}

export interface YamlLimits {
  /** Nesting beyond this is refused. */
  readonly maxDepth: number;
  /** How many aliases one document may have. */
  readonly maxAliases: number;
}

type AnyDocument = Document.Parsed<ParsedNode>;

interface Parsed {
  readonly documents: readonly AnyDocument[];
  readonly lines: LineCounter;
}

/**
 * Reads every document of `text`. Duplicate keys, unknown tags and YAML warnings are errors; aliases are limited in
 * number and in what they expand to.
 */
export function readYamlDocuments(text: string, limits: YamlLimits): readonly YamlDocument[] {
  let parsed: Parsed;
  try {
    parsed = parse(text);
  } catch (error) {
    // A RangeError is the parser's recursion running out of stack: nesting without bound.
    const message = error instanceof RangeError ? tooDeepMessage(limits.maxDepth) : describeError(error);
    return [broken(text, 1, message)];
  }
  // The tree is large; it is parsed again in the rare case that a line is asked for after it was collected.
  const tree = new WeakRef(parsed);
  const reopen = (): Parsed => tree.deref() ?? parse(text);
  return parsed.documents.map((document, index) => toDocument(document, index, parsed.lines, text, limits, reopen));
}

function parse(text: string): Parsed {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    lineCounter: lines,
    uniqueKeys: true,
    merge: true,
    prettyErrors: false,
    logLevel: 'silent',
    stringKeys: true,
  });
  // An empty stream is an array with an extra property.
  return { documents: [...(parsed as readonly AnyDocument[])], lines };
}

function toDocument(
  document: AnyDocument,
  index: number,
  lines: LineCounter,
  text: string,
  limits: YamlLimits,
  reopen: () => Parsed,
): YamlDocument {
  const errors = [...document.errors, ...document.warnings].map((error) => ({
    line: lineAt(lines, error.pos[0]),
    message: error.message,
  }));
  const line = lineAt(lines, document.contents?.range[0] ?? document.range[0]);
  let value: unknown;
  try {
    const aliases = countAliases(document);
    if (aliases > limits.maxAliases) {
      errors.push({ line, message: `${String(aliases)} aliases, more than ${String(limits.maxAliases)}` });
    } else {
      const read = document.toJS({ maxAliasCount: limits.maxAliases }) as unknown;
      if (isDeeperThan(read, limits.maxDepth)) errors.push({ line, message: tooDeepMessage(limits.maxDepth) });
      else value = read;
    }
  } catch (error) {
    errors.push({ line, message: describeError(error) });
  }
  const lineOf = (path: FieldPath): number => {
    const { documents, lines: counter } = reopen();
    const reopened = documents[index];
    return reopened === undefined ? line : nodeLine(reopened, path, counter, line);
  };
  return { value, line, errors, text: text.slice(document.range[0], document.range[2]), lineOf };
}

function tooDeepMessage(maxDepth: number): string {
  return `nested more than ${String(maxDepth)} levels deep`;
}

function broken(text: string, line: number, message: string): YamlDocument {
  return { value: undefined, line, errors: [{ line, message }], text, lineOf: () => line };
}

function countAliases(document: AnyDocument): number {
  let count = 0;
  visit(document, { Alias: () => void (count += 1) });
  return count;
}

/** The line of the deepest part of `path` that exists; for a key, the line of the key itself. */
function nodeLine(document: AnyDocument, path: FieldPath, lines: LineCounter, fallback: number): number {
  let line = fallback;
  let node: unknown = document.contents;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    const items = (node as { items?: readonly unknown[] } | undefined)?.items;
    if (items === undefined) return line;
    const next: unknown =
      typeof part === 'number'
        ? items[part]
        : items.find((item) => isPair(item) && (item.key as { value?: unknown } | null)?.value === part);
    const at = isPair(next) ? next.key : next;
    if (!isNode(at)) return line;
    if (at.range) line = lineAt(lines, at.range[0]);
    node = isPair(next) ? next.value : next;
  }
  return line;
}

function lineAt(lines: LineCounter, offset: number): number {
  return Math.max(1, lines.linePos(offset).line);
}

/** Walks with an explicit stack, so that no input overflows the call stack. Aliases may be shared, never cyclic. */
function isDeeperThan(value: unknown, maxDepth: number): boolean {
  const pending: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth >= maxDepth) return true;
    for (const child of Object.values(next.value)) pending.push({ value: child as unknown, depth: next.depth + 1 });
  }
  return false;
}
