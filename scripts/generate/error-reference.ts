/** docs/errors.md, made from the code tables of all modules, so that neither can be ahead of the other. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

interface ErrorCodeInfo {
  readonly when: string;
  readonly fix: string;
}

/** One table of codes. */
export interface ErrorTable {
  /** What the codes start with: the module, or for a part of `internal` that part. */
  readonly area: string;
  /** The modules whose `index.ts` exports the table. */
  readonly modules: readonly string[];
  readonly name: string;
  readonly codes: Codes;
}

type Codes = Readonly<Record<string, ErrorCodeInfo>>;

const declaration = /export const (\w+ErrorCodes)\b/g;

function sourceFiles(root: string): readonly string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
}

/** Every exported `…ErrorCodes` table under `src/`, by module and then by file. */
export async function errorTables(root: string): Promise<readonly ErrorTable[]> {
  const files = sourceFiles(root).map((path) => ({ path, text: readFileSync(join(root, 'src', path), 'utf8') }));
  const indexes = files.filter(({ path }) => /^[^/]+\/index\.ts$/.test(path));
  const tables: ErrorTable[] = [];
  for (const { path, text } of files) {
    const names = [...text.matchAll(declaration)].map((match) => match[1] ?? '');
    if (names.length === 0) continue;
    const exported = (await import(pathToFileURL(join(root, 'src', path)).href)) as Readonly<Record<string, Codes>>;
    const [first = '', second = ''] = path.split('/');
    for (const name of names) {
      const codes = exported[name];
      const exporting = indexes.filter((index) => new RegExp(`\\b${name}\\b`).test(index.text));
      const modules = exporting.map((index) => index.path.split('/')[0] ?? '');
      if (codes !== undefined) tables.push({ area: first === 'internal' ? second : first, modules, name, codes });
    }
  }
  return tables.sort((a, b) => (a.area === b.area ? 0 : a.area < b.area ? -1 : 1));
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
}

export function renderErrorReference(tables: readonly ErrorTable[]): string {
  const sections = tables.map(({ area, modules, name, codes }, index) => {
    const rows = Object.entries(codes)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([code, { when, fix }]) => `| \`${code}\` | ${cell(when)} | ${cell(fix)} |`);
    const heading = tables[index - 1]?.area === area ? [] : [`## ${area}`, ''];
    const where = `\`${name}\` of ${modules.map((module) => `\`meshwright/${module}\``).join(', ')}`;
    return [...heading, where, '', '| code | when | what to do |', '|---|---|---|', ...rows].join('\n');
  });
  return [
    '# Errors',
    '',
    'Every error that the package throws on purpose is a `MeshwrightError` with a `code`. Match on the code, never on the',
    'message: `isMeshwrightError(error, code)` of `meshwright/core` does, also across two copies of the package. `fields`',
    'holds the facts for logs and programs; neither they nor the message hold key, token or password material.',
    '',
    'This page is generated from the code tables in `src/` by `npm run update`; a test compares the two.',
    '',
    ...sections.flatMap((section) => [section, '']),
  ].join('\n');
}
