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
        actual: 'failed',
        ok: false,
        detail: message.split('\n')[0] ?? '',
      });
    }
  }
}

/** The policy that decided, else the reason in a few words: the log has the whole sentence. */
export function briefly(decision: { readonly policy?: unknown; readonly reason?: unknown }): string {
  if (decision.policy !== undefined) return String(decision.policy);
  if (decision.reason === undefined) return '';
  const reason = String(decision.reason);
  const policies = /^no rule matched of the ALLOW policies that apply \(([^)]*)\)/.exec(reason)?.[1];
  if (policies === undefined) return reason;
  const count = policies.split(', ').length;
  return `no rule of ${String(count)} ALLOW ${count === 1 ? 'policy' : 'policies'} matched`;
}

const widest = { check: 54, expected: 26, got: 26 } as const;

/** A table for people, at most `width` columns wide: long cells are cut, and whole in the JSON. */
export function formatChecks(checks: readonly Check[], width = 160): string {
  const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const rows = checks.map(({ ok, name, expected, actual, detail }) => [
    ok ? 'ok' : 'MISS',
    cut(name, widest.check),
    cut(expected, widest.expected),
    cut(actual, widest.got),
    detail,
  ]);
  const head = ['', 'check', 'expected', 'got', 'decided by'];
  const widths = head
    .slice(0, -1)
    .map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const rest = Math.max(20, width - widths.reduce((sum, each) => sum + each + 2, 0));
  const line = (row: readonly string[]): string =>
    [...widths.map((each, column) => (row[column] ?? '').padEnd(each)), cut(row.at(-1) ?? '', rest)]
      .join('  ')
      .trimEnd();
  const longest = Math.max(...[head, ...rows].map((row) => Math.min(rest, row.at(-1)?.length ?? 0)));
  return [line(head), [...widths, longest].map((each) => '-'.repeat(each)).join('  '), ...rows.map(line)].join('\n');
}
