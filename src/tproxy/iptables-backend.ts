import { TproxyError } from './errors.js';
import { iptablesRestoreInput } from './iptables-ruleset.js';
import type { Family } from './iptables-ruleset.js';
import type { NftBackend } from './nft-backend.js';
import { counterNames, countersFrom, destinationKey } from './rule-backend.js';
import type { InterceptionCounters, RuleBackend, RuleInput } from './rule-backend.js';
import type { RunCommand } from './run-command.js';

/** Which of the two implementations: `iptables-legacy`, `iptables-nft`, or whatever `iptables` is. */
export type IptablesVariant = 'legacy' | 'nft' | 'default';

const families: readonly Family[] = [4, 6];

/** Rules by `iptables-restore` and `ip6tables-restore`; pins by nft where there is nft. */
export class IptablesBackend implements RuleBackend {
  readonly name = 'iptables';
  readonly inspectCommand: string;
  readonly #run: RunCommand;
  readonly #variant: IptablesVariant;
  readonly #pinning: NftBackend | undefined;
  /** Counts of rules that were since replaced. */
  #before: InterceptionCounters = countersFrom(() => 0);

  constructor(run: RunCommand, variant: IptablesVariant, pinning: NftBackend | undefined) {
    this.#run = run;
    this.#variant = variant;
    this.#pinning = pinning;
    this.inspectCommand = `${commandName(4, variant)} -t mangle -S NOVAEDGE_MESH`;
  }

  /** Why iptables does not work here; undefined when it does. */
  static async whyUnavailable(run: RunCommand): Promise<string | undefined> {
    const { status, stderr } = await run('iptables', ['-w', '-t', 'mangle', '-S', 'PREROUTING']);
    return status === 0 ? undefined : stderr.trim() || `iptables ended with status ${String(status)}`;
  }

  /** The implementation that kube-proxy's rules are in: only before these, in the same one, can ours come first. */
  static async variantOfKubeProxy(run: RunCommand): Promise<IptablesVariant> {
    for (const variant of ['nft', 'legacy'] as const) {
      const { status, stdout } = await run(`${commandName(4, variant)}-save`, []);
      if (status === 0 && /^:KUBE-SERVICES /m.test(stdout)) return variant;
    }
    return 'default';
  }

  async supportsTproxy(): Promise<boolean> {
    const chain = 'NOVAEDGE_PROBE';
    const input = `*mangle
:${chain} - [0:0]
-A ${chain} -p tcp -m socket --transparent -j RETURN
-A ${chain} -p tcp -j TPROXY --on-port 1 --tproxy-mark 0x1/0x1
COMMIT
`;
    const works = (await this.#restore(4, input)).status === 0;
    await this.#restore(4, `*mangle\n-F ${chain}\n-X ${chain}\nCOMMIT\n`);
    return works;
  }

  async apply(input: RuleInput): Promise<void> {
    await this.#refuseConflict();
    if (this.#pinning === undefined && input.topology.isBridged) {
      throw new TproxyError(
        'TPROXY_PINNING_UNAVAILABLE',
        'pods on a bridge can only be tied to their interfaces by nft, which does not work here',
      );
    }
    this.#before = await this.counters();
    // The pins first: a captured connection must never come from an address that is not pinned.
    await this.#pinning?.apply(input);
    for (const family of families) {
      const existing = jumpsByTable(await this.#save(family));
      const text = iptablesRestoreInput(input, family, this.#pinning === undefined, existing);
      const { status, stderr } = await this.#restore(family, text);
      if (status === 0 || (family === 6 && !hasIpv6(input))) continue;
      throw new TproxyError(
        'TPROXY_APPLY_FAILED',
        `${commandName(family, this.#variant)}-restore refused the rules: ${stderr.trim().slice(0, 2000)}`,
      );
    }
  }

  forget(): void {
    // Every apply replaces everything.
    this.#pinning?.forget();
  }

  async state(): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const family of families)
      lines.push(...ourLines(await this.#save(family)).map((line) => `IPv${String(family)} ${line}`));
    return [...lines, ...((await this.#pinning?.state()) ?? [])];
  }

  async captured(): Promise<ReadonlySet<string>> {
    const keys = new Set<string>();
    for (const family of families) {
      const rule = /^-A NOVAEDGE_(?:OUT|IN) -d ([^/\s]+)\S* -p tcp(?: -m tcp --dport (\d+))?/gm;
      for (const [, ip = '', port] of (await this.#save(family)).matchAll(rule)) {
        keys.add(destinationKey({ ip, ...(port === undefined ? {} : { port: Number(port) }) }));
      }
    }
    return keys;
  }

  async counters(): Promise<InterceptionCounters> {
    const totals: Record<string, number> = {};
    for (const family of families) {
      const saved = (await this.#run(`${commandName(family, this.#variant)}-save`, ['-c'])).stdout;
      for (const [, packets = '0', name = ''] of saved.matchAll(
        /^\[(\d+):\d+\] -A NOVAEDGE_\w+ .*--comment "?(\w+)"?/gm,
      )) {
        totals[name] = (totals[name] ?? 0) + Number(packets);
      }
    }
    const pinned = await this.#pinning?.counters();
    const sum = (key: keyof InterceptionCounters): number =>
      this.#before[key] +
      (totals[counterNames[key]] ?? 0) +
      (key === 'spoofedDropped' ? (pinned?.spoofedDropped ?? 0) : 0);
    return countersFrom(sum);
  }

  async clear(): Promise<void> {
    await this.#pinning?.clear();
    await removeIptablesRules(this.#run, this.#variant);
  }

  async #refuseConflict(): Promise<void> {
    const { status, stdout } = await this.#run('nft', ['list', 'tables']);
    if (status === 0 && /^table ip6? kube-proxy$/m.test(stdout)) {
      throw new TproxyError(
        'TPROXY_BACKEND_CONFLICT',
        'kube-proxy translates addresses in nft tables here, which iptables rules cannot come before; use the nftables backend',
      );
    }
  }

  async #save(family: Family): Promise<string> {
    return (await this.#run(`${commandName(family, this.#variant)}-save`, [])).stdout;
  }

  #restore(family: Family, input: string): ReturnType<RunCommand> {
    return this.#run(`${commandName(family, this.#variant)}-restore`, ['--noflush', '-w', '10'], input);
  }
}

/** Removes all chains of ours from one implementation of iptables, if there are any. */
export async function removeIptablesRules(run: RunCommand, variant: IptablesVariant): Promise<void> {
  for (const family of families) {
    const command = commandName(family, variant);
    const { status, stdout } = await run(`${command}-save`, []);
    if (status !== 0 || !stdout.includes('NOVAEDGE_')) continue;
    const jumps = jumpsByTable(stdout);
    let input = '';
    for (const [table, text] of tablesOf(stdout)) {
      const chains = [...text.matchAll(/^:(NOVAEDGE_\w+) /gm)].map(([, chain = '']) => chain);
      if (chains.length === 0) continue;
      const unhook = (jumps.get(table) ?? []).map((jump) => jump.replace(/^-A/, '-D'));
      const lines = [...unhook, ...chains.map((chain) => `-F ${chain}`), ...chains.map((chain) => `-X ${chain}`)];
      input += `*${table}\n${lines.join('\n')}\nCOMMIT\n`;
    }
    const result = await run(`${command}-restore`, ['--noflush', '-w', '10'], input);
    if (result.status !== 0) {
      throw new TproxyError(
        'TPROXY_APPLY_FAILED',
        `${command}-restore could not remove the rules: ${result.stderr.trim().slice(0, 2000)}`,
      );
    }
  }
}

function commandName(family: Family, variant: IptablesVariant): string {
  return `ip${family === 6 ? '6' : ''}tables${variant === 'default' ? '' : `-${variant}`}`;
}

function tablesOf(saved: string): Map<string, string> {
  return new Map([...saved.matchAll(/^\*(\w+)\n([\s\S]*?)^COMMIT$/gm)].map(([, name = '', text = '']) => [name, text]));
}

/** Jumps from built-in chains to ours, as `-A …` lines. */
function jumpsByTable(saved: string): Map<string, readonly string[]> {
  const jump = /^-A (?!NOVAEDGE_)\S+ .*-j NOVAEDGE_\w+$/gm;
  return new Map([...tablesOf(saved)].map(([table, text]) => [table, [...text.matchAll(jump)].map(([line]) => line)]));
}

/** Our chains and rules, and for each jump its place: that it comes first is part of its meaning. */
function ourLines(saved: string): string[] {
  return [...tablesOf(saved)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([table, text]) => {
      const places = new Map<string, number>();
      return text.split('\n').flatMap((line) => {
        if (/^:NOVAEDGE_/.test(line)) return [`${table}: ${line.split(' ', 1)[0] ?? ''}`];
        const chain = /^-A (\S+) /.exec(line)?.[1];
        if (chain === undefined) return [];
        const place = (places.get(chain) ?? 0) + 1;
        places.set(chain, place);
        if (chain.startsWith('NOVAEDGE_')) return [`${table}: ${line}`];
        return / -j NOVAEDGE_\w+$/.test(line) ? [`${table}: ${line} (rule ${String(place)})`] : [];
      });
    });
}

function hasIpv6({ plan, topology }: RuleInput): boolean {
  const all = [...plan.outbound.map(({ ip }) => ip), ...plan.inbound, ...topology.pods.flatMap((pod) => pod.addresses)];
  return all.some((ip) => ip.includes(':'));
}
