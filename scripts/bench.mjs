#!/usr/bin/env node
// `npm run bench -- <name> [--json]` runs bench/<name>.ts against the built package; without a name it lists them.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, say, tools } from './lib/process.mjs';
import { setup } from './setup.mjs';

const names = readdirSync(join(root, 'bench'))
  .filter((file) => file.endsWith('.ts') && file !== 'support.ts')
  .map((file) => file.slice(0, -'.ts'.length));

/** The first sentence of the comment at the top of a benchmark. */
function purpose(name) {
  const text = readFileSync(join(root, 'bench', `${name}.ts`), 'utf8');
  return (/^\/\*\*\s*\*?\s*([^\n]*)/.exec(text)?.[1] ?? '').replace(/\s*\*\/$/, '');
}

const [name, ...options] = process.argv.slice(2);
if (name === undefined || !names.includes(name)) {
  if (name !== undefined) say(`bench: there is no bench/${name}.ts`);
  say('usage: npm run bench -- <name> [--json]\n');
  for (const each of names) say(`  ${each.padEnd(20)} ${purpose(each)}`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  try {
    await setup({ withPeers: true });
    const command = [tools.tsx, join(root, 'bench', `${name}.ts`), ...options];
    const { status } = await run(process.execPath, command, { inherit: true });
    process.exitCode = status;
  } catch (error) {
    say(`bench: ${error.message}`);
    process.exitCode = 1;
  }
}
