/**
 * Nodes on one segment (10.0.0.0/24, fd00::/64) and on a second network to etcd (10.1.0.0/24), a client on the segment, and an
 * observer that looks at the addresses of every node each 10 ms.
 */
import { spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { ipFamily } from '../../../src/core/index.js';
import { nativeAddon } from '../../../src/internal/native/addon.js';
import type { NativePoll } from '../../../src/internal/native/addon.js';
import { encodeSockaddr } from '../../../src/internal/native/sockaddr.js';
import { NLM_F_DUMP, NETLINK_ROUTE, NetlinkSocket } from '../../../src/internal/native/netlink.js';
import { NetnsLab } from '../../../src/testing/index.js';
import type { NetNamespace } from '../../../src/testing/index.js';
import { decodeAddress } from '../../../src/vip/addresses/address-message.js';
import type { VipState } from '../../../src/vip/index.js';
import { inNamespace } from './in-namespace.js';
import type { NodeProgramOptions } from './node-program.js';

const program = fileURLToPath(new URL('node-program.ts', import.meta.url));
export const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const etcdAddress = '10.1.0.254';

export async function eventually(what: string, holds: () => boolean, withinMs = 15_000): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > untilMs) throw new Error(`not within ${String(withinMs)} ms: ${what}`);
    await pass(5);
  }
}

/** A manager in a process of its own. */
export class LabNode {
  readonly namespace: NetNamespace;
  readonly name: string;
  readonly events: Record<string, unknown>[] = [];
  readonly #states = new Map<string, { state: VipState; reason: string }>();
  #process: ChildProcess | undefined;
  errors = '';

  constructor(name: string, namespace: NetNamespace) {
    this.name = name;
    this.namespace = namespace;
  }

  async start(
    options: Omit<NodeProgramOptions, 'node' | 'interface'> & { readonly interface?: string },
    without?: string,
  ): Promise<void> {
    const given = JSON.stringify({ interface: 'eth0', ...options, node: this.name });
    const command = [process.execPath, '--import', 'tsx', program, given];
    // One capability less than root has.
    const dropped = ['setpriv', '--inh-caps=-all', '--ambient-caps=-all', `--bounding-set=-${String(without)}`, '--'];
    const [first = '', ...rest] = without === undefined ? command : [...dropped, ...command];
    const before = this.events.length;
    const child = this.namespace.spawn(first, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    child.stderr?.on('data', (chunk: Buffer) => (this.errors += chunk.toString()));
    if (child.stdout !== null) {
      createInterface(child.stdout).on('line', (line) => {
        const event = JSON.parse(line) as Record<string, unknown>;
        this.events.push(event);
        if (event['type'] === 'status') this.#states.set(String(event['address']), event as never);
      });
    }
    await eventually(
      `${this.name} is ready`,
      () => {
        if (child.exitCode !== null) throw new Error(this.errors);
        return this.events.slice(before).some(({ type }) => type === 'ready');
      },
      30_000,
    );
  }

  state(address: string): VipState | undefined {
    return this.#states.get(address)?.state;
  }

  reason(address: string): string {
    return this.#states.get(address)?.reason ?? '';
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Ends it and waits for that. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    this.#states.clear();
  }

  /** For how long the process has run on a processor, in ms, and what it holds in memory. */
  usage(): { readonly cpuMs: number; readonly rssMiB: number } {
    const pid = String(this.#process?.pid);
    const { stdout } = spawnSync('cat', [`/proc/${pid}/stat`, `/proc/${pid}/statm`], { encoding: 'utf8' });
    const [stat = '', statm = ''] = stdout.split('\n');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return { cpuMs: ticks * 10, rssMiB: (Number(statm.split(' ')[1]) * 4096) / 2 ** 20 };
  }
}

interface Sample {
  readonly atMs: number;
  /** Nodes that have the address. */
  readonly owners: readonly string[];
}

/** Who has `address`, looked at every 10 ms. */
export class AddressObserver {
  readonly samples: Sample[] = [];
  readonly #address: string;
  readonly #sockets: readonly { readonly name: string; readonly socket: NetlinkSocket }[];
  readonly #timer: NodeJS.Timeout;
  #busy = false;

  constructor(address: string, nodes: readonly LabNode[]) {
    this.#address = address;
    this.#sockets = nodes.map(({ name, namespace }) => ({
      name,
      socket: inNamespace(namespace, () => new NetlinkSocket({ protocol: NETLINK_ROUTE, feature: 'a test' })),
    }));
    this.#timer = setInterval(() => void this.#look(), 10);
  }

  async #look(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const atMs = performance.now();
      const owners = await Promise.all(
        this.#sockets.map(async ({ name, socket }) => {
          const messages = await socket.request(22, NLM_F_DUMP, Buffer.alloc(8));
          return messages.some((message) => decodeAddress(message)?.ip === this.#address) ? [name] : [];
        }),
      );
      this.samples.push({ atMs, owners: owners.flat() });
    } catch {
      // Closed meanwhile.
    } finally {
      this.#busy = false;
    }
  }

  get owners(): readonly string[] {
    return this.samples.at(-1)?.owners ?? [];
  }

  /** The longest that two nodes had the address at once. */
  get longestSharedMs(): number {
    let longest = 0;
    let since: number | undefined;
    for (const { atMs, owners } of this.samples) {
      if (owners.length < 2) since = undefined;
      else longest = Math.max(longest, atMs - (since ??= atMs));
    }
    return longest;
  }

  /** When `node` had it last, on the clock of `performance.now()`. */
  lastSeenMs(node: string): number {
    return this.samples.findLast(({ owners }) => owners.includes(node))?.atMs ?? -Infinity;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { socket } of this.#sockets) socket.close();
  }
}

/** Asks the address every 10 ms from the client, by ICMP echo. Times are on the clock of `performance.now()`. */
export class Pinger {
  /** When each answered question was asked, and answered. */
  readonly answers: { readonly askedMs: number; readonly answeredMs: number }[] = [];
  readonly #addon = nativeAddon('a test');
  readonly #fd: number;
  readonly #poll: NativePoll;
  readonly #timer: NodeJS.Timeout;
  readonly #asked: number[] = [];
  readonly #buffer = Buffer.alloc(2048);

  constructor(client: NetNamespace, address: string) {
    const isV4 = ipFamily(address) === 4;
    this.#fd = inNamespace(client, () => this.#addon.socket(isV4 ? 2 : 10, 3, isV4 ? 1 : 58));
    this.#poll = this.#addon.poll(this.#fd, 1, () => this.#receive(isV4));
    const to = encodeSockaddr(address, 0);
    this.#timer = setInterval(() => {
      const request = Buffer.alloc(16);
      request.writeUInt8(isV4 ? 8 : 128, 0);
      request.writeUInt16BE(0x6d77, 4);
      request.writeUInt32BE(this.#asked.length, 8);
      if (isV4) request.writeUInt16BE(checksum(request), 2);
      this.#asked.push(performance.now());
      try {
        this.#addon.sendto(this.#fd, request, to);
      } catch {
        // No neighbour: no answer.
      }
    }, 10);
  }

  #receive(isV4: boolean): void {
    for (;;) {
      try {
        const message = this.#addon.recvmsg(this.#fd, this.#buffer);
        if (message === undefined) return;
        const icmp = this.#buffer.subarray(isV4 ? 20 : 0, message.length);
        if (icmp[0] !== (isV4 ? 0 : 129) || icmp.readUInt16BE(4) !== 0x6d77) continue;
        const askedMs = this.#asked[icmp.readUInt32BE(8)];
        if (askedMs !== undefined) this.answers.push({ askedMs, answeredMs: performance.now() });
      } catch {
        // Unreachable, as long as nobody has it.
      }
    }
  }

  /**
   * The longest time after `sinceMs` from a question that was not answered to the next that was, when that answer came, and
   * how many were not answered in all. When nothing was asked, as when this process had to wait, nothing is known to be out.
   */
  outage(sinceMs: number): { readonly gapMs: number; readonly lost: number; readonly endedMs: number } {
    const after = this.answers
      .filter(({ askedMs }) => askedMs >= sinceMs - 20)
      .toSorted((a, b) => a.askedMs - b.askedMs);
    let gapMs = 0;
    let endedMs = sinceMs;
    after.forEach(({ askedMs, answeredMs }, index) => {
      const lastMs = after[index - 1]?.askedMs ?? askedMs;
      const outMs = this.#asked.find((at) => at > lastMs) ?? askedMs;
      const thisMs = askedMs - outMs;
      if (thisMs <= gapMs) return;
      gapMs = thisMs;
      endedMs = answeredMs;
    });
    const first = after[0]?.askedMs ?? Infinity;
    const last = after.at(-1)?.askedMs ?? -Infinity;
    const asked = this.#asked.filter((at) => at >= first && at <= last).length;
    return { gapMs, lost: asked - after.length, endedMs };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#addon.pollClose(this.#poll);
    this.#addon.close(this.#fd);
  }
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export class VipLab implements AsyncDisposable {
  readonly nodes: readonly LabNode[];
  readonly client: NetNamespace;
  readonly segment: NetNamespace;
  readonly etcd: readonly string[] = [`http://${etcdAddress}:2379`];
  readonly #lab: NetnsLab;
  readonly #directory: string;

  private constructor(lab: NetnsLab, segment: NetNamespace, client: NetNamespace, nodes: readonly LabNode[]) {
    this.#lab = lab;
    this.segment = segment;
    this.client = client;
    this.nodes = nodes;
    this.#directory = mkdtempSync(join(tmpdir(), 'mw-vip-'));
  }

  static async create(count: number): Promise<VipLab> {
    const lab = await NetnsLab.create();
    const segment = await lab.namespace('segment');
    const store = await lab.namespace('store');
    await segment.bridge('br0');
    await store.bridge('br0', { addresses: [`${etcdAddress}/24`] });
    const client = await lab.namespace('client');
    await lab.link(
      { namespace: client, device: 'eth0', addresses: ['10.0.0.100/24', 'fd00::100/64'] },
      { namespace: segment, device: 'client', bridge: 'br0' },
    );
    const nodes: LabNode[] = [];
    for (let index = 1; index <= count; index += 1) {
      const name = `node-${String.fromCharCode(96 + index)}`;
      const namespace = await lab.namespace(name);
      await lab.link(
        {
          namespace,
          device: 'eth0',
          addresses: [`10.0.0.${String(index)}/24`, `fd00::${String(index)}/64`],
          mac: `02:00:00:00:00:0${String(index)}`,
        },
        { namespace: segment, device: name, bridge: 'br0' },
      );
      await lab.link(
        { namespace, device: 'eth1', addresses: [`10.1.0.${String(index)}/24`] },
        { namespace: store, device: name, bridge: 'br0' },
      );
      nodes.push(new LabNode(name, namespace));
    }
    const vips = new VipLab(lab, segment, client, nodes);
    await vips.#startEtcd(store);
    return vips;
  }

  async #startEtcd(store: NetNamespace): Promise<void> {
    const [url = ''] = this.etcd;
    const peer = 'http://127.0.0.1:2380';
    const child = store.spawn(
      'etcd',
      [
        ...['--data-dir', join(this.#directory, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
        // A disk that others keep busy would make leases end.
        ...['--log-level', 'info', '--logger', 'zap', '--unsafe-no-fsync'],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] } },
    );
    let log = '';
    child.stderr?.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-50_000)));
    await eventually(
      'etcd serves',
      () => {
        if (child.exitCode !== null) throw new Error(log);
        return log.includes('ready to serve client requests') || log.includes('serving client traffic');
      },
      20_000,
    );
  }

  node(index: number): LabNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no node ${String(index)}`);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab.close();
    // What was killed a moment ago may still be at its last write.
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }
}
