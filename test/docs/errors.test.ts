import { describe, expect, it } from 'vitest';
import { errorTables, renderErrorReference } from '../../scripts/generate/error-reference.js';
import { readRepositoryFile, repositoryFiles, repositoryRoot } from '../support/repository.js';

const tables = await errorTables(repositoryRoot);
const codes = tables.flatMap((table) => Object.keys(table.codes));
const sources = repositoryFiles('src')
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: readRepositoryFile(file) }));

describe('error codes', () => {
  it('are those of docs/errors.md (npm run update rewrites it)', () => {
    expect(readRepositoryFile('docs/errors.md')).toBe(renderErrorReference(tables));
  });

  it('belong to one table each', () => {
    expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([]);
  });

  it('start with the name of their module, in upper snake case', () => {
    const wrong = tables.flatMap(({ area, codes: table }) => {
      const prefix = `${area.toUpperCase().replaceAll('-', '_')}_`;
      return Object.keys(table).filter((code) => !code.startsWith(prefix) || !/^[A-Z][A-Z0-9_]*$/.test(code));
    });
    expect(wrong).toEqual([]);
  });

  it('say in sentences when they are thrown and what to do', () => {
    const wrong = tables.flatMap(({ codes: table }) =>
      Object.entries(table).filter(([, { when, fix }]) => ![when, fix].every((text) => /^[A-Z`].+[.?]$/s.test(text))),
    );
    expect(wrong).toEqual([]);
  });

  it('are each used by the sources, outside of their table', () => {
    const unused = codes.filter((code) => !sources.some(({ text }) => text.includes(`'${code}'`)));
    expect(unused).toEqual([]);
  });

  it('are exported by the index.ts of a module', () => {
    expect(tables.filter(({ modules }) => modules.length === 0).map(({ name }) => name)).toEqual([]);
  });
});
