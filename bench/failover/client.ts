/** A client that asks a virtual IP every few ms, and a server that answers with its name. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from 'meshwright/testing';

const answerScript = fileURLToPath(new URL('./answer.mjs', import.meta.url));
const askScript = fileURLToPath(new URL('./ask.mjs', import.meta.url));
export const answerPort = 7777;

/** Ms of the machine's monotonic clock, the same in every process. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** A process that answers with `name` on every address of the namespace. */
export async function startAnswering(namespace: NetNamespace, name: string): Promise<ChildProcess> {
  const child = namespace.spawn(process.execPath, [answerScript, name, String(answerPort)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

export interface Answer {
  readonly from: string;
  readonly askedMs: number;
  readonly answeredMs: number;
}

export class AskingClient implements Disposable {
  readonly asked: number[] = [];
  readonly answers: Answer[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(namespace: NetNamespace, ip: string, intervalMs = 10) {
    this.#child = namespace.spawn(process.execPath, [askScript, ip, String(answerPort), String(intervalMs)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => this.#heard(line));
  }

  /** The first answer of `from` to a question asked at `sinceMs` or later. */
  async answerOf(
    from: string,
    options: { readonly sinceMs?: number; readonly timeoutMs?: number } = {},
  ): Promise<Answer> {
    const { sinceMs = 0, timeoutMs = 20_000 } = options;
    const untilMs = monotonicMs() + timeoutMs;
    for (;;) {
      const found = this.answers.find((answer) => answer.from === from && answer.askedMs >= sinceMs);
      if (found !== undefined) return found;
      const leftMs = untilMs - monotonicMs();
      if (leftMs <= 0) throw new Error(`no answer of ${from} within ${String(timeoutMs)} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Questions asked between the two moments that nobody answered. */
  unanswered(fromMs: number, toMs: number): readonly number[] {
    const answered = new Set(this.answers.map(({ askedMs }) => askedMs));
    return this.asked.filter((askedMs) => askedMs >= fromMs && askedMs < toMs && !answered.has(askedMs));
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }

  #heard(line: string): void {
    const [kind, ...rest] = line.split(' ');
    if (kind === 'ask') {
      this.asked.push(Number(rest[0]));
      return;
    }
    this.answers.push({ from: rest[0] ?? '', askedMs: Number(rest[1]), answeredMs: Number(rest[2]) });
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
