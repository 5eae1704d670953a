import { readFileSync, writeFileSync } from 'node:fs';
import type { NetNamespace } from 'meshwright/testing';
import { Daemon } from './daemon.js';
import { ScratchDirectory } from './scratch-directory.js';
import { until } from './until.js';

/**
 * keepalived (VRRP only) in a namespace.
 *
 * ```ts
 * await using keepalived = await Keepalived.start(node, vrrpInstance({ priority: 150, addresses: ['10.20.0.100/24'] }));
 * keepalived.kill();
 * ```
 */
export class Keepalived implements AsyncDisposable {
  readonly #directory: ScratchDirectory;
  readonly #daemon: Daemon;

  private constructor(namespace: NetNamespace, directory: ScratchDirectory) {
    this.#directory = directory;
    const file = (name: string): string => directory.file(name);
    this.#daemon = new Daemon(namespace, 'keepalived', [
      ...['--dont-fork', '--log-console', '--vrrp', '--no-syslog', '--use-file', file('keepalived.conf')],
      ...['--pid', file('keepalived.pid'), '--vrrp_pid', file('vrrp.pid')],
    ]);
  }

  /** Resolves when its VRRP process runs. */
  static async start(namespace: NetNamespace, config: string): Promise<Keepalived> {
    const directory = new ScratchDirectory('keepalived');
    writeFileSync(directory.file('keepalived.conf'), config);
    const keepalived = new Keepalived(namespace, directory);
    try {
      await until('keepalived has a VRRP process', () => keepalived.#vrrpPid() !== undefined, {
        seen: () => keepalived.output,
      });
    } catch (error) {
      await keepalived[Symbol.asyncDispose]();
      throw error;
    }
    return keepalived;
  }

  get output(): string {
    return this.#daemon.output;
  }

  /** SIGKILL to both of its processes, as when the machine's power fails; what it put on the interface stays there. */
  kill(): void {
    const child = this.#vrrpPid();
    // Its parent first: it would start another child.
    this.#daemon.signal('SIGKILL');
    if (child !== undefined) process.kill(child, 'SIGKILL');
  }

  /** An orderly end: it gives the address away at once (priority 0). */
  stop(): Promise<void> {
    return this.#daemon.stop('SIGTERM');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop('SIGTERM');
    this.#directory[Symbol.dispose]();
  }

  #vrrpPid(): number | undefined {
    this.#daemon.assertRunning();
    try {
      return Number(readFileSync(this.#directory.file('vrrp.pid'), 'utf8').trim()) || undefined;
    } catch {
      return undefined;
    }
  }
}

export interface VrrpOptions {
  readonly priority: number;
  /** With prefix length. */
  readonly addresses: readonly string[];
  /** Default `eth0`. */
  readonly interface?: string | undefined;
  /** Between advertisements. Default: keepalived's own, 1 s (VRRP version 2). Below 1 it takes version 3. */
  readonly advertSeconds?: number | undefined;
}

/** A configuration with one instance; everything not named is keepalived's default. */
export function vrrpInstance(options: VrrpOptions): string {
  const { addresses, advertSeconds, interface: device = 'eth0', priority } = options;
  const version = advertSeconds === undefined ? '' : 'vrrp_version 3';
  return `global_defs { ${version} }
vrrp_instance one {
  interface ${device}
  virtual_router_id 51
  priority ${String(priority)}
  ${advertSeconds === undefined ? '' : `advert_int ${String(advertSeconds)}`}
  virtual_ipaddress {
    ${addresses.map((address) => `${address} dev ${device}`).join('\n    ')}
  }
}
`;
}
