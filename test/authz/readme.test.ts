/** Every test that README.md names is there. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const here = new URL('./', import.meta.url);
const rows = [...readFileSync(new URL('README.md', here), 'utf8').matchAll(/\| `([\w/-]+)` › (.+?) +\|$/gm)];

it.each(rows.map(([, file = '', title = '']) => [file, title]))('%s: %s', (file, title) => {
  const text = readFileSync(new URL(`${file}.test.ts`, here), 'utf8');
  // As it is written in the source, where a line may be broken and a quote escaped.
  expect(text.replaceAll('\\', '')).toContain(title);
});

it('names many', () => {
  expect(rows.length).toBeGreaterThan(70);
});
