/**
 * Comparing ways of doing the same work, so that a number means something on a machine that is never quiet.
 *
 * Contenders take turns in every round, and in the next round in the opposite order, so a slow minute hits all of
 * them. What is reported is the median over rounds, its spread, and the ratio to the first contender. Time passed and
 * CPU time are kept apart: the first says what a user waits for, the second what a machine can carry.
 */
import { readFileSync } from 'node:fs';

export interface Contender {
  readonly name: string;
  /** Does a bounded piece of work; resolves to how many units it did, and the CPU seconds that other processes spent on it. */
  run(): Promise<Work> | Work;
}

export interface Work {
  readonly units: number;
  /** CPU seconds of other processes; those of this process are measured here. */
  readonly otherCpuSeconds?: number | undefined;
}

export interface ComparisonOptions {
  readonly title: string;
  /** What one unit is, as `request` or `MiB`. */
  readonly unit: string;
  /** The first is what the others are compared with. */
  readonly contenders: readonly Contender[];
  /** Rounds that count, 1 or more. Default 5. One more goes before them, unmeasured. */
  readonly rounds?: number | undefined;
}

export interface Measured {
  readonly name: string;
  /** Median over rounds. */
  readonly unitsPerSecond: number;
  readonly cpuMicrosecondsPerUnit: number;
  /** (largest - smallest) / median of `unitsPerSecond`: how far to trust the rest. */
  readonly spread: number;
  /** `unitsPerSecond` relative to the first contender. */
  readonly ratio: number;
}

/** CPU seconds, user and system, that process `pid` has spent so far. Linux only. */
export function cpuSecondsOf(pid: number): number {
  const ticksPerSecond = 100;
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the program's name in parentheses, and may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

interface Sample {
  readonly unitsPerSecond: number;
  readonly cpuMicrosecondsPerUnit: number;
}

async function sample(contender: Contender): Promise<Sample> {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const { units, otherCpuSeconds = 0 } = await contender.run();
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { unitsPerSecond: units / seconds, cpuMicrosecondsPerUnit: (user + system + otherCpuSeconds * 1e6) / units };
}

/** Runs the comparison, prints it (a table, or one JSON object with `--json`), and returns it. */
export async function compare(options: ComparisonOptions): Promise<readonly Measured[]> {
  const { title, unit, contenders, rounds = 5 } = options;
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    const order = round % 2 === 0 ? contenders : [...contenders].reverse();
    for (const contender of order) {
      const measured = await sample(contender);
      if (round > 0) samples.get(contender.name)?.push(measured);
    }
    process.stderr.write(round === 0 ? `${title}: warm\n` : `${title}: round ${round} of ${rounds}\n`);
  }

  let baseline: number | undefined;
  const results = contenders.map(({ name }): Measured => {
    const rates = (samples.get(name) ?? []).map(({ unitsPerSecond }) => unitsPerSecond);
    const unitsPerSecond = median(rates);
    baseline ??= unitsPerSecond;
    return {
      name,
      unitsPerSecond,
      cpuMicrosecondsPerUnit: median((samples.get(name) ?? []).map((each) => each.cpuMicrosecondsPerUnit)),
      spread: (Math.max(...rates) - Math.min(...rates)) / unitsPerSecond,
      ratio: unitsPerSecond / baseline,
    };
  });
  print(title, unit, rounds, results);
  return results;
}

function print(title: string, unit: string, rounds: number, results: readonly Measured[]): void {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ title, unit, rounds, node: process.version, results })}\n`);
    return;
  }
  const rows = results.map(({ name, unitsPerSecond, cpuMicrosecondsPerUnit, spread, ratio }) => [
    name,
    unitsPerSecond.toFixed(unitsPerSecond < 100 ? 1 : 0),
    cpuMicrosecondsPerUnit.toFixed(cpuMicrosecondsPerUnit < 100 ? 2 : 0),
    `${(spread * 100).toFixed(0)} %`,
    ratio.toFixed(2),
  ]);
  const table = [['', `${unit}/s`, `CPU us/${unit}`, 'spread', 'ratio'], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  process.stdout.write(`\n${title} (median of ${rounds} rounds, Node ${process.version})\n`);
  for (const row of table) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    process.stdout.write(`${cells.join('  ')}\n`);
  }
}
