// Running programs and talking to the person at the terminal. Plain Node: this runs before any package is installed.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));

export const isRoot = process.getuid?.() === 0;

/** Progress goes to stderr, so that stdout stays what the command is for. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

export function hasCommand(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What tools print, cut in the middle: some say first what is wrong, some last. */
export function excerpt(text, { first = 30, last = 50 } = {}) {
  const lines = text.trim().split('\n');
  if (lines.length <= first + last) return lines.join('\n');
  const cut = `… ${lines.length - first - last} lines more …`;
  return [...lines.slice(0, first), cut, ...lines.slice(-last)].join('\n');
}

/** Runs quietly; on failure shows what it printed and throws. */
export function runQuietly(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, ...options });
  if (result.error !== undefined) throw new Error(`${command} could not be started: ${result.error.message}`);
  if (result.status !== 0) {
    const output = excerpt(`${result.stdout}${result.stderr}`);
    throw new Error(
      `"${[command, ...args].join(' ')}" failed (${result.signal ?? `status ${result.status}`}):\n${output}`,
    );
  }
  return result.stdout;
}

/** Runs with the terminal's own output (`inherit`) or collected; resolves to `{ status, output, elapsedMs }`, never rejects. */
export function run(command, args, { inherit = false, timeoutMs, env = {} } = {}) {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const chunks = [];
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: inherit ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            chunks.push(`\nstopped after ${timeoutMs / 1000} s\n`);
            child.kill('SIGTERM');
            setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
          }, timeoutMs);
    const finish = (status) => {
      clearTimeout(timer);
      resolve({ status, output: chunks.join(''), elapsedMs: performance.now() - startedAt });
    };
    child.stdout?.setEncoding('utf8').on('data', (chunk) => chunks.push(chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => {
      chunks.push(`${command} could not be started: ${error.message}\n`);
      finish(127);
    });
    child.on('close', (status, signal) => finish(status ?? (signal === null ? 1 : 128)));
  });
}

/** The command line of a development tool, run by this Node and not through npx (which costs half a second). */
export const tools = {
  eslint: join(root, 'node_modules/eslint/bin/eslint.js'),
  prettier: join(root, 'node_modules/prettier/bin/prettier.cjs'),
  tsc: join(root, 'node_modules/typescript/bin/tsc'),
  tsup: join(root, 'node_modules/tsup/dist/cli-default.js'),
  tsx: join(root, 'node_modules/tsx/dist/cli.mjs'),
  vitest: join(root, 'node_modules/vitest/vitest.mjs'),
};
