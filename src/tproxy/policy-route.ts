import { TproxyError } from './errors.js';
import { formatMark, hex } from './marks.js';
import type { MaskedMark } from './marks.js';
import type { RunCommand } from './run-command.js';

/**
 * The policy route that makes this host accept captured packets: a rule for the mark, and a table in which every address
 * is local.
 */
export class PolicyRoute {
  readonly #run: RunCommand;
  readonly #mark: MaskedMark;
  readonly #table: number;

  constructor(run: RunCommand, mark: MaskedMark, table: number) {
    this.#run = run;
    this.#mark = mark;
    this.#table = table;
  }

  /** Adds what is missing. IPv6 may be absent from the machine when `needsIpv6` is false. */
  async ensure(needsIpv6: boolean): Promise<void> {
    await this.#ensureFamily('-4', '0.0.0.0/0');
    try {
      await this.#ensureFamily('-6', '::/0');
    } catch (error) {
      if (needsIpv6) throw error;
    }
  }

  /** What is missing, as sentences. */
  async problems(needsIpv6: boolean): Promise<readonly string[]> {
    const families = needsIpv6 ? (['-4', '-6'] as const) : (['-4'] as const);
    const found: string[] = [];
    for (const family of families) {
      if (!(await this.#hasRule(family))) found.push(`ip ${family} rule for mark ${formatMark(this.#mark)} is missing`);
      if (!(await this.#hasRoute(family))) found.push(`ip ${family} route in table ${String(this.#table)} is missing`);
    }
    return found;
  }

  async remove(): Promise<void> {
    for (const family of ['-4', '-6'] as const) {
      // Several can have piled up from earlier versions; each delete takes one.
      for (let count = 0; count < 16 && (await this.#hasRule(family)); count += 1) {
        await this.#run('ip', [family, 'rule', 'del', ...this.#selector()]);
      }
      if (await this.#hasRoute(family)) await this.#run('ip', [family, 'route', 'flush', 'table', String(this.#table)]);
    }
  }

  async #ensureFamily(family: '-4' | '-6', everything: string): Promise<void> {
    await this.#must('ip', [
      family,
      'route',
      'replace',
      'local',
      everything,
      'dev',
      'lo',
      'table',
      String(this.#table),
    ]);
    if (!(await this.#hasRule(family)))
      await this.#must('ip', [family, 'rule', 'add', 'priority', '90', ...this.#selector()]);
  }

  #selector(): string[] {
    return ['fwmark', formatMark(this.#mark), 'lookup', String(this.#table)];
  }

  async #hasRule(family: string): Promise<boolean> {
    const { stdout } = await this.#run('ip', [family, 'rule', 'show']);
    const { mark, mask } = this.#mark;
    // A full mask is shown without it.
    const shown = mask === 0xffffffff ? hex(mark) : formatMark(this.#mark);
    return stdout.split('\n').some((line) => line.includes(`fwmark ${shown} lookup ${String(this.#table)}`));
  }

  async #hasRoute(family: string): Promise<boolean> {
    const { stdout } = await this.#run('ip', [family, 'route', 'show', 'table', String(this.#table)]);
    return stdout.includes('local default dev lo') || stdout.includes('local 0.0.0.0/0 dev lo');
  }

  async #must(command: string, args: readonly string[]): Promise<void> {
    const { status, stderr } = await this.#run(command, args);
    if (status === 0) return;
    throw new TproxyError('TPROXY_APPLY_FAILED', `${[command, ...args].join(' ')}: ${stderr.trim()}`);
  }
}
