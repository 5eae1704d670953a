import { execFileSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger } from '../core/index.js';
import type { Closable, Logger } from '../core/index.js';
import { TestingError } from './errors.js';
import { runCommand } from './netns-command.js';
import { NetNamespace } from './netns-namespace.js';
import { processStartTicks, processesIn } from './netns-processes.js';

export interface NetnsLabOptions {
  /** Remove everything on SIGINT, SIGTERM and SIGHUP too, then let the signal take its course. Default true. */
  readonly handleSignals?: boolean | undefined;
  readonly logger?: Logger | undefined;
}

export interface NamespaceOptions {
  /** Forward IPv4 and IPv6, as a node does for its pods. Default false. */
  readonly forwarding?: boolean | undefined;
  readonly sysctls?: Readonly<Record<string, string | number>> | undefined;
}

/** One end of a veth pair. */
export interface LinkEnd {
  readonly namespace: NetNamespace;
  /** Device name, at most 15 characters. */
  readonly device: string;
  /** With prefix length: `10.0.0.1/24`, `fd00::1/64`. */
  readonly addresses?: readonly string[] | undefined;
  /** A bridge of the same namespace to join. */
  readonly bridge?: string | undefined;
  readonly mac?: string | undefined;
}

const marker = 'mwlab';
const directory = '/run/netns';
let labsOfThisProcess = 0;

/**
 * Network namespaces for tests: made with unique names, joined by veth pairs, and gone at the end.
 *
 * ```ts
 * await using lab = await NetnsLab.create();
 * const node = await lab.namespace('node', { forwarding: true });
 * const pod = await lab.namespace('pod');
 * await lab.link({ namespace: node, device: 'veth1', addresses: ['10.1.0.1/24'] }, { namespace: pod, device: 'eth0', addresses: ['10.1.0.5/24'] });
 * await pod.route('default', { via: '10.1.0.1' });
 * await pod.exec('ping', ['-c', '1', '10.1.0.1']);
 * ```
 *
 * Needs Linux, `ip` (iproute2) and leave to make namespaces: root, or a user namespace entered by
 * `userNamespaceCommand`. `create` throws `TESTING_NETNS_UNAVAILABLE` where that is missing, and first removes what labs of
 * processes that no longer exist left behind (a killed test run). Closing kills every process in the namespaces.
 */
export class NetnsLab implements Closable {
  readonly #prefix: string;
  readonly #logger: Logger;
  readonly #namespaces = new Map<string, NetNamespace>();
  readonly #children = new Set<ChildProcess>();
  readonly #detach: () => void;
  #closed = false;

  private constructor(options: NetnsLabOptions) {
    labsOfThisProcess += 1;
    this.#prefix = `${marker}-${String(process.pid)}-${processStartTicks(process.pid) ?? '0'}-${String(labsOfThisProcess)}`;
    this.#logger = options.logger ?? silentLogger;
    this.#detach = this.#attach(options.handleSignals ?? true);
  }

  static async create(options: NetnsLabOptions = {}): Promise<NetnsLab> {
    const missing = await whyNetnsUnavailable();
    if (missing !== undefined)
      throw new TestingError('TESTING_NETNS_UNAVAILABLE', `network namespaces need ${missing}`);
    sweepDeadLabs();
    return new NetnsLab(options);
  }

  /** All namespaces made so far, in order. */
  get namespaces(): readonly NetNamespace[] {
    return [...this.#namespaces.values()];
  }

  /** Makes a namespace with `lo` up. `label` is letters, digits, `-`, `_`, and unique in the lab. */
  async namespace(label: string, options: NamespaceOptions = {}): Promise<NetNamespace> {
    if (this.#closed) throw new TestingError('TESTING_ARGUMENT_INVALID', 'the lab is closed');
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(label) || this.#namespaces.has(label)) {
      throw new TestingError(
        'TESTING_ARGUMENT_INVALID',
        `expected a new label of letters, digits, - and _, got ${JSON.stringify(label)}`,
      );
    }
    const name = `${this.#prefix}-${label}`;
    const namespace = new NetNamespace(name, label, join(directory, name), this.#children);
    // Entered before the command runs, so that a signal in between removes it too.
    this.#namespaces.set(label, namespace);
    await runCommand('ip', ['netns', 'add', name]);
    await namespace.ip('link', 'set', 'lo', 'up');
    const forwarding =
      options.forwarding === true ? { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 } : {};
    await namespace.sysctl({ ...forwarding, ...options.sysctls });
    return namespace;
  }

  /** Joins two namespaces by a veth pair; both ends are up and have their addresses when it resolves. */
  async link(a: LinkEnd, b: LinkEnd): Promise<void> {
    const end = (side: LinkEnd): string[] => [
      ...['name', side.device, 'netns', side.namespace.name],
      ...(side.mac === undefined ? [] : ['address', side.mac]),
    ];
    await runCommand('ip', ['link', 'add', ...end(a), 'type', 'veth', 'peer', ...end(b)]);
    for (const side of [a, b]) {
      if (side.bridge !== undefined) await side.namespace.ip('link', 'set', side.device, 'master', side.bridge);
      await side.namespace.ip('link', 'set', side.device, 'up');
      await side.namespace.address(side.device, ...(side.addresses ?? []));
    }
  }

  /** Kills every process in the namespaces and removes them. Idempotent. */
  close(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  /** As `close`, synchronously: it also runs from exit and signal handlers. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#detach();
    for (const child of this.#children) child.kill('SIGKILL');
    removeNamespaces(
      [...this.#namespaces.values()].map((namespace) => namespace.name),
      this.#logger,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #attach(handleSignals: boolean): () => void {
    const onExit = (): void => this.destroy();
    const onSignal = (signal: NodeJS.Signals): void => {
      this.destroy();
      // With no other listener the signal must still end the process, as it would have without this lab.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    const signals: readonly NodeJS.Signals[] = handleSignals ? ['SIGINT', 'SIGTERM', 'SIGHUP'] : [];
    process.on('exit', onExit);
    for (const signal of signals) process.on(signal, onSignal);
    return () => {
      process.off('exit', onExit);
      for (const signal of signals) process.off(signal, onSignal);
    };
  }
}

/** What is missing for network namespaces on this machine, as "root" or the like; undefined when nothing is. */
export async function whyNetnsUnavailable(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'Linux';
  try {
    const { status, stderr } = await runCommand('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], {
      allowFailure: true,
    });
    if (status !== 0) return `root, or a user namespace (${stderr.trim().slice(0, 200) || 'the kernel refused'})`;
    mkdirSync(directory, { recursive: true });
    return undefined;
  } catch (error) {
    return `the commands ip (iproute2) and unshare (util-linux), and a writable ${directory}: ${String(error)}`;
  }
}

/**
 * The command line that runs `command` as root of a fresh user, network and mount namespace with a private /run, in
 * which `NetnsLab` works without being root on the machine (where the kernel allows it).
 */
export function userNamespaceCommand(
  command: string,
  args: readonly string[] = [],
): { readonly command: string; readonly args: readonly string[] } {
  const setUp = 'mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up && exec "$@"';
  return { command: 'unshare', args: ['-Urnm', 'sh', '-c', setUp, 'sh', command, ...args] };
}

/** Removes the namespaces of labs whose process is gone. */
function sweepDeadLabs(): void {
  const dead = readdirSync(directory).filter((name) => {
    const [, pid, ticks] = new RegExp(`^${marker}-(\\d+)-(\\d+)-`).exec(name) ?? [];
    return pid !== undefined && processStartTicks(Number(pid)) !== ticks;
  });
  if (dead.length > 0) removeNamespaces(dead, silentLogger);
}

function removeNamespaces(names: readonly string[], logger: Logger): void {
  if (names.length === 0) return;
  for (const pid of processesIn(names.map((name) => join(directory, name)))) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Ended by itself meanwhile.
    }
  }
  try {
    // -force goes on past one that another sweep has just removed.
    execFileSync('ip', ['-force', '-batch', '-'], {
      input: names.map((name) => `netns delete ${name}\n`).join(''),
      stdio: ['pipe', 'ignore', 'ignore'],
    });
  } catch (error) {
    logger.debug('some network namespaces were already gone', { error: String(error) });
  }
}
