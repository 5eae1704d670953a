#!/usr/bin/env node
import { runCli } from './program.js';

// As a shell reports a program that was ended by SIGPIPE.
const endedByPipe = 141;

// The reader may leave early, as `head` does: what is left to print then has nobody to print it for.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    const { exitCode = 0 } = process;
    process.exit(exitCode === 0 ? endedByPipe : exitCode);
  });
}

process.exitCode = await runCli(process.argv.slice(2));
