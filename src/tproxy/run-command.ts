import { execFile } from 'node:child_process';

export interface CommandResult {
  /** Exit status; -1 when it could not be started or was killed. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program with `input` on its standard input. Never rejects. Injected, so that tests see the rule text. */
export type RunCommand = (command: string, args: readonly string[], input?: string) => Promise<CommandResult>;

const timeoutMs = 30_000;

export const runCommand: RunCommand = (command, args, input = '') =>
  new Promise((resolve) => {
    const env = {
      ...process.env,
      // The tools speak English to us whatever the locale, and plain users of Debian have no sbin in their path.
      LC_ALL: 'C',
      PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
    };
    const child = execFile(
      command,
      args,
      { encoding: 'utf8', env, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 256 * 2 ** 20 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ status, stdout, stderr: stderr === '' && error !== null ? error.message : stderr });
      },
    );
    // A program that ends without reading its input is judged by its status.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
