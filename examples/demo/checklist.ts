/** What was expected, what came, and which policy decided: one row per check. */

export interface Check {
  readonly name: string;
  readonly expected: string;
  readonly actual: string;
  readonly ok: boolean;
  /** The policy that decided, the reason in a log, a measured time. */
  readonly detail: string;
}

export class Checklist {
  readonly checks: Check[] = [];
  readonly #onCheck: (check: Check) => void;

  constructor(onCheck: (check: Check) => void) {
    this.#onCheck = onCheck;
  }

  get ok(): boolean {
    return this.checks.length > 0 && this.checks.every(({ ok }) => ok);
  }

  /** Records one comparison. */
  equal(name: string, expected: unknown, actual: unknown, detail = ''): void {
    this.record({ name, expected: String(expected), actual: String(actual), ok: expected === actual, detail });
  }

  record(check: Check): void {
    this.checks.push(check);
    this.#onCheck(check);
  }

  /** Runs `body`; a throw is a failed check of that name, and the others go on. */
  async guard(name: string, body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.record({
        name,
        expected: 'to run',
        actual: `failed: ${message.split('\n')[0] ?? ''}`,
        ok: false,
        detail: '',
      });
    }
  }
}

/** A table for people. */
export function formatChecks(checks: readonly Check[]): string {
  const rows = checks.map(({ ok, name, expected, actual, detail }) => [
    ok ? 'ok' : 'MISS',
    name,
    expected,
    actual,
    detail,
  ]);
  const head = ['', 'check', 'expected', 'got', 'decided by'];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(column === row.length - 1 ? 0 : (widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}
