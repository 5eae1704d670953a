import { spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { TestingError } from './errors.js';
import { runCommand } from './netns-command.js';
import type { ExecOptions, ExecResult } from './netns-command.js';

/** One network namespace of a `NetnsLab`. Made by `lab.namespace(label)`. */
export class NetNamespace {
  /** The name for `ip netns exec`: unique on the machine. */
  readonly name: string;
  /** The name the test gave. */
  readonly label: string;
  /** Where it is mounted. */
  readonly path: string;
  readonly #children: Set<ChildProcess>;

  /** @internal */
  constructor(name: string, label: string, path: string, children: Set<ChildProcess>) {
    this.name = name;
    this.label = label;
    this.path = path;
    this.#children = children;
  }

  /** Runs a program in the namespace to its end; throws `TESTING_COMMAND_FAILED` for a non-zero status. */
  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return runCommand('ip', ['netns', 'exec', this.name, command, ...args], options);
  }

  /**
   * Starts a program in the namespace; the child's `pid` is the program's own. It is killed when the lab closes.
   * Standard streams are piped and must be read or set to 'ignore' by `options.stdio`.
   */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    child.on('error', () => this.#children.delete(child));
    return child;
  }

  /** `ip -netns <this> <args>`. */
  async ip(...args: readonly string[]): Promise<string> {
    return (await runCommand('ip', ['-netns', this.name, ...args])).stdout;
  }

  /** Sets sysctls of this namespace, such as `{ 'net.ipv4.ip_forward': 1 }`. */
  async sysctl(values: Readonly<Record<string, string | number>>): Promise<void> {
    const settings = Object.entries(values).map(([key, value]) => `${key}=${String(value)}`);
    if (settings.length > 0) await this.exec('sysctl', ['-q', '-w', ...settings]);
  }

  /** Adds addresses with prefix length (`10.0.0.1/24`, `fd00::1/64`) to a device; IPv6 without duplicate detection, so usable at once. */
  async address(device: string, ...addresses: readonly string[]): Promise<void> {
    for (const address of addresses) {
      if (!address.includes('/')) {
        throw new TestingError('TESTING_ARGUMENT_INVALID', `expected an address with a prefix length, got ${address}`);
      }
      const flags = address.includes(':') ? ['nodad'] : [];
      await this.ip('address', 'add', address, 'dev', device, ...flags);
    }
  }

  /** Adds a route: `route('default', { via: '10.0.0.254' })`, `route('10.1.0.5/32', { device: 'veth1' })`. */
  async route(destination: string, to: { readonly via?: string; readonly device?: string }): Promise<void> {
    const next = [
      ...(to.via === undefined ? [] : ['via', to.via]),
      ...(to.device === undefined ? [] : ['dev', to.device]),
    ];
    const v6 = `${destination}${to.via ?? ''}`.includes(':');
    await this.ip(v6 ? '-6' : '-4', 'route', 'add', destination, ...next);
  }

  /** Makes a bridge, up, with addresses. Ports join by `bridge` of a link end, or `ip link set … master`. */
  async bridge(name: string, options: { readonly addresses?: readonly string[] } = {}): Promise<void> {
    await this.ip('link', 'add', 'name', name, 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0');
    // A bridge takes the lowest address of its ports, which changes as they come, until it is given one: as container
    // runtimes do, it is given the one that it has.
    const mac = /link\/ether (\S+)/.exec(await this.ip('link', 'show', name))?.[1];
    if (mac !== undefined) await this.ip('link', 'set', name, 'address', mac);
    await this.ip('link', 'set', name, 'up');
    await this.address(name, ...(options.addresses ?? []));
  }
}
