#!/usr/bin/env node
// `npm run update`: rewrites what is generated from the sources and kept in the repository.
import { join } from 'node:path';
import { root, run, tools } from './lib/process.mjs';
import { setup } from './setup.mjs';

await setup({ only: 'npm' });
const { status } = await run(process.execPath, [tools.tsx, join(root, 'scripts/generate/update.ts')], {
  inherit: true,
});
process.exitCode = status;
