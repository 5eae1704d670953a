import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from 'meshwright/testing';

const script = fileURLToPath(new URL('./request-loop.mjs', import.meta.url));

export interface RequestLoopOptions {
  readonly ip: string;
  readonly port: number;
  readonly atOnce: number;
  /** Default `/`. */
  readonly path?: string | undefined;
  /** Of each request. Default 5000. */
  readonly timeoutMs?: number | undefined;
}

export interface Requested {
  /** How many were answered, by what was answered. */
  readonly answered: Readonly<Record<string, number>>;
  /** What went wrong, one entry for each request. */
  readonly failures: readonly string[];
  /** Of the slowest that was answered. */
  readonly longestMs: number;
  /** How many of those that were answered took longer than half a second. */
  readonly waited: number;
}

/** A client that makes HTTP requests one after the other, several at a time, each on a connection of its own. */
export class RequestLoop implements Disposable {
  readonly #child: ChildProcess;
  /** At most 100 ms old. */
  seen: Requested = { answered: {}, failures: [], longestMs: 0, waited: 0 };

  constructor(namespace: NetNamespace, { ip, port, atOnce, path = '/', timeoutMs = 5_000 }: RequestLoopOptions) {
    const options = [script, ip, port, atOnce, path, timeoutMs].map(String);
    this.#child = namespace.spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.seen = JSON.parse(line) as Requested;
    });
  }

  /** Begins no more, and resolves when all that were begun have ended. */
  async end(): Promise<Requested> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await ended;
    return this.seen;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
