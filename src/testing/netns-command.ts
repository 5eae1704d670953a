import { execFile } from 'node:child_process';
import { TestingError } from './errors.js';

export interface ExecOptions {
  /** Written to the program's standard input. */
  readonly input?: string | Uint8Array | undefined;
  /** The program is killed after this long. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Return a non-zero status in place of throwing. Default false. */
  readonly allowFailure?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status; -1 when it was killed by a signal or a timeout. */
  readonly status: number;
}

/** Runs a program to its end. Throws `TESTING_COMMAND_FAILED` (or, when it cannot be started, `TESTING_NETNS_UNAVAILABLE`). */
export function runCommand(command: string, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        encoding: 'utf8',
        timeout: options.timeoutMs ?? 30_000,
        killSignal: 'SIGKILL',
        maxBuffer: 64 * 2 ** 20,
        env: options.env === undefined ? process.env : { ...process.env, ...options.env },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code === 'string') {
          reject(
            new TestingError('TESTING_NETNS_UNAVAILABLE', `cannot run ${command}: ${error.message}`, { cause: error }),
          );
          return;
        }
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        if (status !== 0 && options.allowFailure !== true) {
          const how = error?.killed === true ? 'was killed' : `ended with status ${String(status)}`;
          reject(
            new TestingError(
              'TESTING_COMMAND_FAILED',
              `${[command, ...args].join(' ')} ${how}: ${(stderr || stdout).trim().slice(0, 2000)}`,
              { fields: { status } },
            ),
          );
          return;
        }
        resolve({ stdout, stderr, status });
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}
