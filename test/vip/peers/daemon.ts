import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import type { NetNamespace } from 'meshwright/testing';

/** A program running in a namespace, with the end of what it printed. */
export class Daemon {
  readonly child: ChildProcess;
  readonly #name: string;
  #output = '';

  constructor(
    namespace: NetNamespace,
    command: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ) {
    this.#name = command;
    this.child = namespace.spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-20_000);
      });
    }
  }

  /** The last 20,000 characters of both streams. */
  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Throws when it has ended, with what it said. */
  assertRunning(): void {
    if (!this.running)
      throw new Error(
        `${this.#name} has ended (${String(this.child.exitCode ?? this.child.signalCode)}): ${this.#output.slice(-2000)}`,
      );
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it by a signal and waits for the end, and for what it printed last; SIGKILL after fifteen seconds. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.running) return;
    const ended = once(this.child, 'exit');
    const closed = once(this.child, 'close');
    this.child.kill(signal);
    const late = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
    await ended;
    clearTimeout(late);
    // Its streams end later than it does, or much later where a child of its own has them too.
    await Promise.race([closed, delay(500)]);
  }
}
