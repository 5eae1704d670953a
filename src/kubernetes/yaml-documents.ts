/** YAML and JSON text -> plain values, with the line of every field. Nothing in the text can make this throw or blow up. */
import { Composer, Lexer, LineCounter, Parser, isAlias, isNode, isPair, visit } from 'yaml';
import type { CST, Document, ParsedNode } from 'yaml';
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
    parsed = parse(text, limits.maxDepth);
  } catch (error) {
    return [broken(text, error instanceof TooDeep ? error.line : 1, describeError(error))];
  }
  // The tree is large; it is parsed again in the rare case that a line is asked for after it was collected.
  const tree = new WeakRef(parsed);
  const reopen = (): Parsed => tree.deref() ?? parse(text, limits.maxDepth);
  return parsed.documents.map((document, index) => toDocument(document, index, parsed.lines, text, limits, reopen));
}

/** As `parseAllDocuments` of the library, with nesting bounded: its composer recurses, and V8 does not survive every overflow. */
function parse(text: string, maxDepth: number): Parsed {
  const lines = new LineCounter();
  const parser = new Parser(lines.addNewLine);
  const composer = new Composer({ uniqueKeys: true, merge: true, stringKeys: true, logLevel: 'silent' });
  function* tokens(): Generator<CST.Token> {
    lines.addNewLine(0);
    for (const lexeme of new Lexer().lex(text)) {
      yield* parser.next(lexeme);
      // The document itself and a scalar in the making are on the stack too.
      if (parser.stack.length > maxDepth + 2) throw new TooDeep(lineAt(lines, parser.offset), maxDepth);
    }
    yield* parser.end();
  }
  return { documents: [...composer.compose(tokens())] as readonly AnyDocument[], lines };
}

class TooDeep extends Error {
  readonly line: number;

  constructor(line: number, maxDepth: number) {
    super(tooDeepMessage(maxDepth));
    this.line = line;
  }
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
      const defect = treeDefect(read, limits.maxDepth);
      if (defect === undefined) value = read;
      else errors.push({ line, message: defect });
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
function treeDefect(value: unknown, maxDepth: number): string | undefined {
  const pending: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next.value === 'number' && !Number.isFinite(next.value)) return `the number ${String(next.value)}`;
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth >= maxDepth) return tooDeepMessage(maxDepth);
    for (const child of Object.values(next.value)) pending.push({ value: child as unknown, depth: next.depth + 1 });
  }
  return undefined;
}
