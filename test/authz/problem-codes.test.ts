import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it('docs/authz.md has a row for every problem code of the sources, and no other', () => {
  const folder = 'src/authz';
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .join('\n');
  const used = new Set(
    [
      ...sources.matchAll(/(?:report\.(?:error|warning)\(\s*|code: (?:[^\n:?]*\? )?|\?\? |: )'([a-z]+(?:-[a-z]+)+)'/g),
    ].map((match) => match[1] ?? ''),
  );
  const known = new Set(
    [...readFileSync('docs/authz.md', 'utf8').matchAll(/^\| `([a-z]+(?:-[a-z]+)+)` +\| (?:error|warning|both)/gm)].map(
      (match) => match[1] ?? '',
    ),
  );
  const codes = [...used].filter((code) => !['needs-http', 'doubtful-value', 'istio-system'].includes(code));
  expect([...known].filter((code) => !codes.includes(code))).toEqual([]);
  expect(codes.filter((code) => !known.has(code))).toEqual([]);
});
