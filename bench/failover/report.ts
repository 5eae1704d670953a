/** Rounds of a failover, and what they say together. */
import { loadavg } from 'node:os';
import type { LeaveSample } from './bgp.js';

export interface FailoverSample {
  /** From the signal to the first answer of the other node. */
  readonly failoverMs: number;
  /** Questions asked in between that got no answer. */
  readonly lost: number;
}

export interface FailoverRow {
  readonly name: string;
  readonly medianMs: number;
  readonly leastMs: number;
  readonly mostMs: number;
  readonly medianLost: number;
  readonly mostLost: number;
  readonly rounds: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function summarize(name: string, samples: readonly FailoverSample[]): FailoverRow {
  const times = samples.map(({ failoverMs }) => failoverMs);
  const lost = samples.map((sample) => sample.lost);
  return {
    name,
    medianMs: median(times),
    leastMs: Math.min(...times),
    mostMs: Math.max(...times),
    medianLost: median(lost),
    mostLost: Math.max(...lost),
    rounds: samples.length,
  };
}

/** A table with a title; one JSON object a table with `--json`. */
export function printRows(title: string, rows: readonly Readonly<Record<string, string | number>>[]): void {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ title, node: process.version, load: loadavg()[0], rows })}\n`);
    return;
  }
  const columns = Object.keys(rows[0] ?? {});
  const shown = (value: string | number | undefined): string =>
    typeof value === 'number' ? (Number.isInteger(value) ? String(value) : value.toFixed(1)) : (value ?? '');
  const table = [columns, ...rows.map((row) => columns.map((column) => shown(row[column])))];
  const widths = columns.map((_, index) => Math.max(...table.map((row) => row[index]?.length ?? 0)));
  process.stdout.write(`\n${title} (Node ${process.version}, load ${loadavg()[0]?.toFixed(1) ?? ''})\n`);
  for (const row of table) {
    const cells = row.map((cell, index) =>
      index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0),
    );
    process.stdout.write(`${cells.join('  ')}\n`);
  }
}

export function printFailovers(title: string, rows: readonly FailoverRow[]): void {
  printRows(
    title,
    rows.map((row) => ({
      '': row.name,
      'median ms': row.medianMs,
      least: row.leastMs,
      most: row.mostMs,
      'probes lost': row.medianLost,
      'most lost': row.mostLost,
      rounds: row.rounds,
    })),
  );
}

/** Rounds in which the router lost another path as well count only as many. */
export function printLeaves(title: string, samples: ReadonlyMap<string, readonly LeaveSample[]>): void {
  printRows(
    title,
    [...samples].map(([name, all]) => {
      const each = all.filter(({ disturbed }) => !disturbed);
      const total = (count: (sample: LeaveSample) => number): number =>
        each.reduce((sum, sample) => sum + count(sample), 0);
      return {
        '': name,
        datagrams: total(({ asked }) => asked),
        lost: total(({ lost }) => lost),
        'HTTP requests': total(({ requests }) => requests),
        failed: total(({ failures }) => failures.length),
        'as in': each.flatMap(({ failures }) => failures)[0] ?? '',
        'over 0.5 s': total(({ waited }) => waited),
        'longest ms': Math.round(Math.max(0, ...each.map(({ longestMs }) => longestMs))),
        rounds: each.length,
        late: each.filter(({ late }) => late).length,
        disturbed: all.length - each.length,
        'failed there': all.reduce((sum, { disturbed, failures }) => sum + (disturbed ? failures.length : 0), 0),
      };
    }),
  );
}
