import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const version = (JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string }).version;

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function meshwright(...args: string[]): Promise<Outcome> {
  const command = [`${root}node_modules/tsx/dist/cli.mjs`, `${root}src/cli/main.ts`, ...args];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, command, { cwd: root });
    return { status: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { status: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

describe('meshwright', () => {
  it('prints the version of the package', async () => {
    expect(await meshwright('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('prints help, with what the exit statuses mean', async () => {
    const { status, stdout } = await meshwright('--help');
    expect(status).toBe(0);
    expect(stdout).toContain('Usage: meshwright <command> [options]');
    expect(stdout).toContain('Exit status:');
  });

  it('without a command prints help as an error', async () => {
    const { status, stdout, stderr } = await meshwright();
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('Usage: meshwright');
  });

  it.each([['no-such-command'], ['--no-such-option']])(
    'refuses %s with status 2 and points to help',
    async (argument) => {
      const { status, stderr } = await meshwright(argument);
      expect(status).toBe(2);
      expect(stderr).toContain(argument);
      expect(stderr).toContain('--help');
    },
  );

  it('points a mistake in a subcommand to the help of that subcommand', async () => {
    const { status, stderr } = await meshwright('policy', 'lint', '--no-such-option');
    expect(status).toBe(2);
    expect(stderr).toContain('(run "meshwright policy lint --help" for usage)');
  });

  it('ends quietly when its reader has left, as before "| head"', async () => {
    const command = [
      `${root}node_modules/tsx/dist/cli.mjs`,
      `${root}src/cli/main.ts`,
      'policy',
      'schema',
      'ProxyPolicy',
    ];
    const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    // Closed before anything was written, so that the first write fails.
    child.stdout.destroy();
    const [status] = (await once(child, 'close')) as [number];
    expect({ status, stderr }).toEqual({ status: 141, stderr: '' });
  });
});
