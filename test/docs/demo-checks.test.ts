// docs/demo-checks.md names checks and parts of the demo: they must be there under these names.
import { expect, test } from 'vitest';
import { readRepositoryFile, repositoryFiles } from '../support/repository.js';

const sources = repositoryFiles('examples/demo')
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readRepositoryFile(file))
  .join('\n');

/** Every text in the sources as a pattern: what a template fills in may be anything, beside enough that is fixed. */
const texts = [...sources.matchAll(/'((?:[^'\\\n]|\\.)+)'|"((?:[^"\\\n]|\\.)+)"|`((?:[^`\\]|\\.)+)`/g)].map(
  ([, single, double, template]) =>
    template === undefined
      ? literally(single ?? double ?? '')
      : template
          .split(/\$\{[^}]*\}/)
          .map(literally)
          .join('.+'),
);
const names = texts.filter((text) => !text.includes('.+') || text.replaceAll('.+', '').length >= 15);
const isThere = new RegExp(`^(?:${[...new Set(names)].join('|')})$`);

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

const rows = readRepositoryFile('docs/demo-checks.md')
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(2)
  .map((line) => {
    const [subject = '', , parts = '', checks = ''] = line
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    return { subject, parts: parts.split(', '), checks: checks.split('; ') };
  });

test('has a row for every subject', () => {
  expect(rows.length).toBeGreaterThan(30);
  expect(new Set(rows.map(({ subject }) => subject)).size).toBe(rows.length);
});

test.each(rows)('$subject: its checks are in the demo under these names', ({ checks }) => {
  const missing = checks.filter((name) => !/^\d+ more$/.test(name) && !isThere.test(name));
  expect(missing).toEqual([]);
});

test.each(rows)('$subject: its parts can be asked for', ({ parts }) => {
  const [, list = ''] = /export const sections = \[([^\]]*)\]/.exec(sources) ?? [];
  const sections = [...list.matchAll(/'(\w+)'/g)].map(([, name]) => name);
  expect(sections).toContain('joining');
  expect(sections).toEqual(expect.arrayContaining(parts));
});
