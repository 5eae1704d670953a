/** The parts of Markdown that tests of the documents look at. */
import { readRepositoryFile, repositoryFiles } from './repository.js';

export interface CodeBlock {
  readonly file: string;
  /** The line of the opening fence, from 1. */
  readonly line: number;
  /** The info string, as `ts` or `ts needs=root`. */
  readonly info: string;
  readonly code: string;
}

/** The documents of the repository. */
export function markdownFiles(): readonly string[] {
  return repositoryFiles().filter((file) => file.endsWith('.md'));
}

export function codeBlocks(file: string): readonly CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { line: number; info: string; fence: string; code: string[] } | undefined;
  for (const [index, text] of readRepositoryFile(file).split('\n').entries()) {
    const fence = /^\s*(`{3,}|~{3,})(.*)$/.exec(text);
    if (open === undefined) {
      if (fence !== null) open = { line: index + 1, info: (fence[2] ?? '').trim(), fence: fence[1] ?? '', code: [] };
    } else if (fence !== null && fence[1] === open.fence && fence[2] === '') {
      blocks.push({ file, line: open.line, info: open.info, code: open.code.join('\n') });
      open = undefined;
    } else {
      open.code.push(text);
    }
  }
  return blocks;
}

/** The text without code, fenced or inline, where a bracket is no link. */
export function proseOf(file: string): string {
  let text = readRepositoryFile(file);
  for (const block of codeBlocks(file)) text = text.replace(block.code, '');
  return text.replace(/`[^`\n]*`/g, '');
}

/** The anchors of a document's headings, as the common renderers make them. */
export function anchorsOf(file: string): ReadonlySet<string> {
  const blocks = codeBlocks(file).map(({ code }) => code);
  let text = readRepositoryFile(file);
  for (const code of blocks) text = text.replace(code, '');
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const match of text.matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const slug = (match[1] ?? '')
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}
