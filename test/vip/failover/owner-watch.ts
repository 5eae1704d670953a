import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { spawn } from 'node:child_process';
import type { NetNamespace } from '../../../src/testing/netns-namespace.js';

const script = fileURLToPath(new URL('./owner-watch-process.ts', import.meta.url));

/** From `fromMs` (of the machine's monotonic clock) on, these namespaces had the address, until the next entry. */
export interface Owners {
  readonly fromMs: number;
  readonly labels: readonly string[];
}

/**
 * Which namespaces have an address on a device, looked at every 10 ms from outside by their kernels' own word: the judge of
 * "never on two nodes".
 */
export class OwnerWatch implements Disposable {
  /** Every change seen so far. */
  readonly history: Owners[] = [];
  /** The longest time without a look, beyond the interval: what was not seen may have been. */
  longestLateMs = 0;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const [first = '', second = '', third = ''] = line.split(' ');
      if (first === 'late') this.longestLateMs = Math.max(this.longestLateMs, Number(third));
      else this.history.push({ fromMs: Number(first), labels: second.split(',').filter((label) => label !== '') });
    });
  }

  /** Resolves after the first look. */
  static async start(namespaces: readonly NetNamespace[], ip: string, intervalMs = 10): Promise<OwnerWatch> {
    const places = namespaces.map(({ label, path }) => `${label}=${path}`);
    const args = ['--conditions=meshwright-source', '--import', 'tsx', script, ip, String(intervalMs), ...places];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const watch = new OwnerWatch(child);
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    return watch;
  }

  /** The namespaces that have it now, as far as seen. */
  get owners(): readonly string[] {
    return this.history.at(-1)?.labels ?? [];
  }

  /** The times for which two or more had it, in ms; the last is still open when it goes on. */
  overlapsMs(untilMs: number): readonly number[] {
    return this.history.flatMap(({ fromMs, labels }, index) =>
      labels.length > 1 ? [(this.history[index + 1]?.fromMs ?? untilMs) - fromMs] : [],
    );
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
