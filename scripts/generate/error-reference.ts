/** docs/errors.md, made from the code tables of all modules, so that neither can be ahead of the other. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

interface ErrorCodeInfo {
  readonly when: string;
  readonly fix: string;
}

/** One module's table: where it is, what it is called, its codes. */
export interface ErrorTable {
  readonly module: string;
  readonly name: string;
  readonly codes: Readonly<Record<string, ErrorCodeInfo>>;
}

const declaration = /export const (\w+ErrorCodes)\b/g;

function sourceFiles(root: string): readonly string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
}

/** Every exported `…ErrorCodes` table under `src/`, by module and then by file. */
export async function errorTables(root: string): Promise<readonly ErrorTable[]> {
  const tables: ErrorTable[] = [];
  for (const path of sourceFiles(root)) {
    const file = join(root, 'src', path);
    const names = [...readFileSync(file, 'utf8').matchAll(declaration)].map((match) => match[1] ?? '');
    if (names.length === 0) continue;
    const exported = (await import(pathToFileURL(file).href)) as Readonly<Record<string, ErrorTable['codes']>>;
    for (const name of names) {
      const codes = exported[name];
      if (codes !== undefined) tables.push({ module: path.split('/')[0] ?? '', name, codes });
    }
  }
  return tables;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
}

export function renderErrorReference(tables: readonly ErrorTable[]): string {
  const sections = tables.map(({ module, name, codes }) => {
    const rows = Object.entries(codes)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([code, { when, fix }]) => `| \`${code}\` | ${cell(when)} | ${cell(fix)} |`);
    const where = `\`${name}\` of \`meshwright/${module}\``;
    return [`## ${module}`, '', where, '', '| code | when | what to do |', '|---|---|---|', ...rows].join('\n');
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
