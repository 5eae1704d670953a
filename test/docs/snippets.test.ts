/**
 * Every ```ts block of the documents is a complete program: it compiles under strict NodeNext against the installed
 * tarball, and runs to its end with status 0. A line `// prints: text` in it demands `text` as a line of its output.
 *
 * ```ts needs=root``` marks a program that needs a root user; it runs like the others wherever the tests run as root.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect } from 'vitest';
import { codeBlocks, markdownFiles } from '../support/markdown.js';
import { packedPackage } from '../support/packed.js';
import { repositoryRoot } from '../support/repository.js';
import { testRequiring } from '../support/requirements.js';

const { consumer } = packedPackage();
const longestRunMs = 60_000;

const documents = markdownFiles().filter((file) => file === 'README.md' || /^docs\/(?!adr\/)/.test(file));
const snippets = documents
  .flatMap(codeBlocks)
  .filter(({ info }) => /^ts\b/.test(info))
  .map((block) => ({
    ...block,
    title: `${block.file}:${block.line}`,
    name: `${block.file.replace(/\W+/g, '-')}-${block.line}`,
    root: /\bneeds=root\b/.test(block.info),
  }));

describe('the programs of the documents', () => {
  // Under the consumer, so that `meshwright/…` is the installed tarball.
  const folder = mkdtempSync(join(consumer, 'snippets-'));
  let compilerErrors: readonly string[] = [];

  beforeAll(() => {
    mkdirSync(join(folder, 'src'));
    for (const { name, code } of snippets) writeFileSync(join(folder, 'src', `${name}.ts`), `${code}\nexport {};\n`);
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: '../tsconfig.nodenext.json',
        compilerOptions: { skipLibCheck: true, rootDir: 'src', outDir: 'out' },
        include: ['src'],
      }),
    );
    const tsc = join(repositoryRoot, 'node_modules/typescript/bin/tsc');
    const { stdout } = spawnSync(process.execPath, [tsc, '--project', folder], { cwd: folder, encoding: 'utf8' });
    compilerErrors = stdout.split('\n').filter((line) => line.includes('error TS'));
  });

  for (const { title, name, code, root } of snippets) {
    testRequiring({ root }, `${title} compiles, runs and prints what it says`, async () => {
      expect(compilerErrors.filter((line) => line.includes(`${name}.ts`))).toEqual([]);
      const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'out', `${name}.js`)], {
        cwd: folder,
        timeout: longestRunMs,
      });
      const lines = stdout.split('\n').map((line) => line.trim());
      for (const [, expected = ''] of code.matchAll(/\/\/ prints: (.*)$/gm)) expect(lines).toContain(expected.trim());
    });
  }

  testRequiring({}, 'exist in the README', () => {
    expect(snippets.some(({ file }) => file === 'README.md')).toBe(true);
  });
});
