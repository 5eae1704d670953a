/** Reads the JSON lines a process logs and waits for those that matter. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

export class LogReader {
  readonly lines: LogLine[] = [];
  /** What was not JSON: crashes, warnings of Node. */
  readonly other: string[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.#take(line);
        for (const wake of this.#waiting) wake();
      });
    }
  }

  /** A position to look from later. */
  get mark(): number {
    return this.lines.length;
  }

  find(matches: (line: LogLine) => boolean, from = 0): LogLine | undefined {
    return this.lines.slice(from).find(matches);
  }

  /** The first matching line since `from`; undefined when none came within `timeoutMs`. */
  async wait(matches: (line: LogLine) => boolean, timeoutMs: number, from = 0): Promise<LogLine | undefined> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.find(matches, from);
      const leftMs = deadline - performance.now();
      if (found !== undefined || leftMs <= 0) return found;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, leftMs);
        const waiting = this.#waiting;
        waiting.add(done);
        function done(): void {
          clearTimeout(timer);
          waiting.delete(done);
          resolve();
        }
      });
    }
  }

  #take(line: string): void {
    try {
      this.lines.push(JSON.parse(line) as LogLine);
    } catch {
      this.other.push(line);
    }
  }
}
