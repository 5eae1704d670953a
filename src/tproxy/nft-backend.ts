import { TproxyError } from './errors.js';
import { bridgeTable, inetTable, netdevTable } from './nft-sets.js';
import { deleteTables, nftLayout, nftReplaceAll, nftUpdateSets } from './nft-ruleset.js';
import type { NftScope } from './nft-ruleset.js';
import { counterNames, countersFrom, destinationKey } from './rule-backend.js';
import type { InterceptionCounters, RuleBackend, RuleInput } from './rule-backend.js';
import type { RunCommand } from './run-command.js';

const ourTables = [inetTable, netdevTable, bridgeTable];

/** Rules by `nft`, one transaction each. */
export class NftBackend implements RuleBackend {
  readonly name = 'nftables';
  readonly inspectCommand = `nft list table ${inetTable}`;
  readonly #run: RunCommand;
  readonly #scope: NftScope;
  /** What this process put there last; undefined when it must not be built upon. */
  #applied: RuleInput | undefined;

  /** `pinning` is for use beside iptables, which cannot tie pods to their interfaces. */
  constructor(run: RunCommand, scope: NftScope = 'all') {
    this.#run = run;
    this.#scope = scope;
  }

  /** Why nft does not work here; undefined when it does. */
  static async whyUnavailable(run: RunCommand): Promise<string | undefined> {
    const { status, stderr } = await run('nft', ['list', 'tables']);
    return status === 0 ? undefined : stderr.trim() || `nft ended with status ${String(status)}`;
  }

  async supportsTproxy(): Promise<boolean> {
    const probe = `table inet meshwright_probe {
  chain probe {
    type filter hook prerouting priority -150; policy accept;
    meta nfproto ipv4 meta l4proto tcp socket transparent 1 tproxy ip to :1 accept
  }
}
`;
    // --check lets the kernel verify the whole batch and then drops it.
    return (await this.#run('nft', ['--check', '-f', '-'], probe)).status === 0;
  }

  async apply(input: RuleInput): Promise<void> {
    const previous = this.#applied;
    this.#applied = undefined;
    if (previous !== undefined && nftLayout(previous, this.#scope) === nftLayout(input, this.#scope)) {
      const update = nftUpdateSets(previous, input, this.#scope);
      // An update that fails (somebody else changed the sets) is followed by the whole.
      if (update === '' || (await this.#run('nft', ['-f', '-'], update)).status === 0) {
        this.#applied = input;
        return;
      }
    }
    const { status, stderr } = await this.#run(
      'nft',
      ['-f', '-'],
      nftReplaceAll(input, this.#scope, await this.counters()),
    );
    if (status !== 0)
      throw new TproxyError('TPROXY_APPLY_FAILED', `nft refused the rules: ${stderr.trim().slice(0, 2000)}`);
    this.#applied = input;
  }

  /** Called when the kernel's state was found to differ: the next `apply` replaces everything. */
  forget(): void {
    this.#applied = undefined;
  }

  async state(): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const table of ourTables) {
      const { status, stdout } = await this.#run('nft', ['-s', 'list', 'table', ...table.split(' ')]);
      if (status === 0) lines.push(...canonicalLines(table, stdout));
    }
    return lines;
  }

  async captured(): Promise<ReadonlySet<string>> {
    const { stdout } = await this.#run('nft', ['-s', 'list', 'table', ...inetTable.split(' ')]);
    const keys = new Set<string>();
    const sets = stdout.matchAll(/set (outbound_ports|outbound_all|inbound)[46] \{[^{]*elements = \{([^}]*)\}/g);
    for (const [, , elements = ''] of sets) {
      for (const element of elements.split(',')) {
        const [ip = '', port] = element.trim().split(' . ');
        keys.add(destinationKey({ ip, ...(port === undefined ? {} : { port: Number(port) }) }));
      }
    }
    return keys;
  }

  async counters(): Promise<InterceptionCounters> {
    const totals: Record<string, number> = {};
    for (const table of ourTables) {
      const { status, stdout } = await this.#run('nft', ['list', 'table', ...table.split(' ')]);
      if (status !== 0) continue;
      for (const [, name = '', packets = '0'] of stdout.matchAll(/counter (\w+) \{\s+packets (\d+)/g)) {
        totals[name] = (totals[name] ?? 0) + Number(packets);
      }
    }
    return countersFrom((key) => totals[counterNames[key]] ?? 0);
  }

  async clear(): Promise<void> {
    this.#applied = undefined;
    const { status, stderr } = await this.#run('nft', ['-f', '-'], deleteTables('all'));
    if (status !== 0)
      throw new TproxyError('TPROXY_APPLY_FAILED', `nft could not remove the rules: ${stderr.trim().slice(0, 2000)}`);
  }
}

/** A listing, one statement per line, each with its place; elements of sets in a fixed order. */
function canonicalLines(table: string, listing: string): string[] {
  const joined = listing.replace(/elements = \{([^}]*)\}/g, (_, elements: string) => {
    const sorted = elements
      .split(',')
      .map((element) => element.trim().replace(/\s+/g, ' '))
      .sort();
    return `elements = { ${sorted.join(', ')} }`;
  });
  let place = table;
  return joined.split('\n').flatMap((line) => {
    const text = line.trim();
    const opened = /^((?:set|chain|counter|map) \S+) \{$/.exec(text);
    if (opened !== null) place = `${table}: ${opened[1] ?? ''}`;
    return text === '' || text === '}' ? [] : [`${place}: ${text}`];
  });
}
