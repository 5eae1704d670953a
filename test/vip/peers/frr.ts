import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import type { NetNamespace } from 'meshwright/testing';
import { Daemon } from './daemon.js';
import { ScratchDirectory } from './scratch-directory.js';
import { until } from './until.js';

/** What can run beside zebra. */
export type FrrDaemon = 'bgpd' | 'bfdd' | 'ospfd' | 'ospf6d' | 'staticd';

const programs = '/usr/lib/frr';

/** True where FRR's daemons are installed; they are not on the PATH, so `commands: ['vtysh']` is what a test requires. */
export function hasFrr(): boolean {
  return existsSync(`${programs}/bgpd`);
}

function idOf(flag: '-u' | '-g'): number {
  return Number(execFileSync('id', [flag, 'frr'], { encoding: 'utf8' }));
}

/**
 * FRR (zebra and the daemons named) in a namespace, with sockets, pid files and configuration in a directory of its own.
 * One configuration serves all daemons.
 *
 * ```ts
 * await using frr = await Frr.start(router, { config, daemons: ['bgpd', 'bfdd'] });
 * await frr.vtysh('show bgp summary json');
 * ```
 */
export class Frr implements AsyncDisposable {
  readonly #namespace: NetNamespace;
  readonly #directory: ScratchDirectory;
  readonly #daemons = new Map<string, Daemon>();

  private constructor(namespace: NetNamespace, directory: ScratchDirectory) {
    this.#namespace = namespace;
    this.#directory = directory;
  }

  /** Resolves when each daemon answers vtysh. */
  static async start(
    namespace: NetNamespace,
    options: { readonly config: string; readonly daemons: readonly FrrDaemon[] },
  ): Promise<Frr> {
    const directory = new ScratchDirectory('frr', { uid: idOf('-u'), gid: idOf('-g') });
    writeFileSync(directory.file('frr.conf'), options.config, { mode: 0o644 });
    writeFileSync(directory.file('vtysh.conf'), 'no service integrated-vtysh-config\n', { mode: 0o644 });
    const frr = new Frr(namespace, directory);
    try {
      for (const name of ['zebra', ...options.daemons]) await frr.startDaemon(name);
    } catch (error) {
      await frr[Symbol.asyncDispose]();
      throw error;
    }
    return frr;
  }

  /** Starts one daemon (again). */
  async startDaemon(name: string): Promise<void> {
    const file = (suffix: string): string => this.#directory.file(suffix);
    const daemon = new Daemon(this.#namespace, `${programs}/${name}`, [
      ...['-z', file('zserv.api'), '-i', file(`${name}.pid`), '-f', file('frr.conf')],
      ...['--vty_socket', this.#directory.path, '--log', 'stdout', '--log-level', 'debugging'],
      ...(name === 'bfdd' ? ['--bfdctl', file('bfdd.sock')] : []),
    ]);
    this.#daemons.set(name, daemon);
    await until(
      `${name} answers vtysh`,
      async () => {
        daemon.assertRunning();
        return (
          existsSync(file(`${name}.vty`)) && (await this.#vtysh(['-d', name], 'show version')).includes('FRRouting')
        );
      },
      { seen: () => daemon.output },
    );
  }

  /** Ends one daemon; SIGKILL is a crash. */
  async stopDaemon(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#daemons.get(name)?.stop(signal);
  }

  output(name: string): string {
    return this.#daemons.get(name)?.output ?? '';
  }

  pid(name: string): number {
    return this.#daemons.get(name)?.child.pid ?? 0;
  }

  /** What vtysh prints for the commands, run one after the other. */
  vtysh(...commands: readonly string[]): Promise<string> {
    return this.#vtysh([], ...commands);
  }

  /** As `vtysh`, for one `show … json`. */
  async json(command: string): Promise<unknown> {
    return JSON.parse(await this.vtysh(command)) as unknown;
  }

  /** The state of a BGP neighbour, as `Established`, `Active` or `Idle`. */
  async bgpState(neighbor: string): Promise<string | undefined> {
    const all = (await this.json(`show bgp neighbors ${neighbor} json`)) as Record<string, { bgpState?: string }>;
    return all[neighbor]?.bgpState;
  }

  async established(neighbor: string, timeoutMs = 20_000): Promise<void> {
    await until(`FRR says ${neighbor} is Established`, async () => (await this.bgpState(neighbor)) === 'Established', {
      timeoutMs,
      everyMs: 250,
      seen: () => this.output('bgpd').slice(-1500),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of [...this.#daemons.values()].reverse()) await daemon.stop('SIGKILL');
    this.#directory[Symbol.dispose]();
  }

  async #vtysh(options: readonly string[], ...commands: readonly string[]): Promise<string> {
    const { stdout } = await this.#namespace.exec(
      'vtysh',
      [
        ...['--vty_socket', this.#directory.path, '--config_dir', this.#directory.path, ...options],
        ...commands.flatMap((command) => ['-c', command]),
      ],
      { timeoutMs: 10_000 },
    );
    return stdout;
  }
}
