import { describe, expect, it } from 'vitest';
import { readRepositoryFile, repositoryFiles } from '../support/repository.js';

const textFile = /\.(ts|mts|js|mjs|json|md|c|h|proto|ya?ml|toml|sh)$|^\.ci\/run$|^\.[a-z]+rc$/;
const unread = new Set(['package-lock.json', 'LICENSE']);
const files = repositoryFiles().filter((file) => textFile.test(file) && !unread.has(file));

/** Written apart, so that this file does not find itself. */
function word(...parts: readonly string[]): string {
  return parts.join('');
}

const unwanted: readonly (readonly [string, RegExp])[] = [
  ['a path of one machine', new RegExp(`(^|[\\s'"(=:])/(${word('wo', 'rk')}|${word('ro', 'ot')}|Users)/[a-z]`, 'm')],
  ['the host of a package registry', new RegExp(word('registry\\.', 'npmjs|deb\\.', 'debian\\.org|pypi\\.', 'org'))],
  ['a note to self', new RegExp(`\\b(${word('TO', 'DO')}|${word('FIX', 'ME')}|${word('XX', 'X')})\\b`)],
];

/** The comment at the top of a long file must say why it is one file: `One file, because …`. */
const longFileReason = /\bOne file,? because\b/i;
const askedLines = 300;

/** Tests may be longer: a table of cases is one concept too. */
function longestLines(file: string): number {
  return file.startsWith('test/') ? 900 : 500;
}

function isCounted(file: string): boolean {
  return (
    /^(src|examples|scripts|bench|native|test)\//.test(file) && /\.(ts|mjs|c|h)$/.test(file) && !file.includes('/gen/')
  );
}

describe('the text of the repository', () => {
  it.each(unwanted)('has no %s', (_what, pattern) => {
    const found = files.flatMap((file) => {
      const lines = readRepositoryFile(file).split('\n');
      return lines.flatMap((line, index) =>
        pattern.test(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 120)}`] : [],
      );
    });
    expect(found).toEqual([]);
  });

  it('is in files of one concept: none very long without a reason at its top', () => {
    const sizes = files.filter(isCounted).map((file) => {
      const text = readRepositoryFile(file);
      return { file, lines: text.split('\n').length - 1, explained: longFileReason.test(text.slice(0, 2000)) };
    });
    const asked = sizes.filter(({ file, lines }) => lines > askedLines && !file.startsWith('test/'));
    for (const { file, lines } of asked) console.warn(`${file} has ${lines} lines: is it still one concept?`);
    expect(sizes.filter(({ file, lines, explained }) => lines > longestLines(file) && !explained)).toEqual([]);
  });
});
