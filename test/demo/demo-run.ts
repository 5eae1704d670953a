/** Runs the demo as a person would, as a program of its own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../build/examples/demo/main.js', import.meta.url));

export interface DemoCheck {
  readonly name: string;
  readonly expected: string;
  readonly actual: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface DemoResult {
  readonly ok: boolean;
  readonly mode: string;
  readonly checks: readonly DemoCheck[];
}

export interface EndedDemo {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningDemo {
  readonly child: ChildProcess;
  /** What it wrote so far, both streams. */
  text(): string;
  /** Resolves when it wrote something that matches; rejects when it ends before. */
  wrote(pattern: RegExp): Promise<RegExpExecArray>;
  readonly ended: Promise<EndedDemo>;
}

/** Starts the built demo; as the user `uid` when given. */
export function startDemo(args: readonly string[], options: { readonly uid?: number | undefined } = {}): RunningDemo {
  const { uid } = options;
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid, env: { ...process.env, HOME: tmpdir() } }),
  });
  const written = { stdout: '', stderr: '' };
  const listeners = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      written[name] += chunk;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<EndedDemo>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, ...written }));
  });
  const text = (): string => `${written.stdout}${written.stderr}`;
  return {
    child,
    text,
    ended,
    wrote: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(text());
          if (found === null) return;
          listeners.delete(look);
          resolve(found);
        };
        listeners.add(look);
        look();
        void ended.then(({ status }) =>
          reject(
            new Error(`the demo ended with status ${String(status)} before it wrote ${String(pattern)}:\n${text()}`),
          ),
        );
      }),
  };
}

/** The one JSON object on standard output. */
export function resultOf({ status, stdout, stderr }: EndedDemo): DemoResult {
  if (stdout === '')
    throw new Error(`the demo ended with status ${String(status)} and no result:\n${stderr.slice(-4000)}`);
  return JSON.parse(stdout) as DemoResult;
}

export function misses(result: DemoResult): readonly string[] {
  return result.checks.filter(({ ok }) => !ok).map(({ name, actual, detail }) => `${name}: ${actual} (${detail})`);
}

/** What a demo of process `pid` has left on the machine: namespaces, directories, processes. */
export function leftBy(pid: number): readonly string[] {
  const names = (folder: string, pattern: RegExp): string[] => {
    try {
      return readdirSync(folder)
        .filter((name) => pattern.test(name))
        .map((name) => `${folder}/${name}`);
    } catch {
      return [];
    }
  };
  return [
    ...names('/run/netns', new RegExp(`^mwlab-${String(pid)}-`)),
    ...names(tmpdir(), new RegExp(`^meshwright-demo-${String(pid)}-`)),
    ...processesNaming(`meshwright-demo-${String(pid)}-`),
  ];
}

function processesNaming(text: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return command.includes(text) ? [`process ${entry}: ${command}`] : [];
      } catch {
        return [];
      }
    });
}
