import { expect, it } from 'vitest';
import { neededByAll, peers } from '../../scripts/lib/debian.mjs';
import type { DebianPackage } from '../../scripts/lib/debian.mjs';
import { readRepositoryFile, repositoryFiles } from '../support/repository.js';

/** Of packages that Debian marks essential. */
const everywhere = ['bash', 'sh', 'perl'];

it('every command that a test requires comes with a package that set-up installs', () => {
  const installed = new Set([...everywhere, ...[...neededByAll, ...peers].flatMap(commandsOf)]);
  const required = repositoryFiles('test')
    .filter((file) => file.endsWith('.ts') && !file.startsWith('test/support/'))
    .flatMap((file) =>
      [...readRepositoryFile(file).matchAll(/\bcommands: \[([^\]]*)\]/g)].flatMap(([, list = '']) =>
        [...list.matchAll(/'([^']+)'/g)].map(([, command = '']) => ({ file, command })),
      ),
    );
  expect(required.length).toBeGreaterThan(20);
  expect(required.filter(({ command }) => !installed.has(command))).toEqual([]);
});

function commandsOf({ command, also = [] }: DebianPackage): readonly string[] {
  return command === undefined ? also : [command, ...also];
}
