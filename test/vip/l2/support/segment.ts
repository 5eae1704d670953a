import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NetnsLab } from '../../../../src/testing/netns-lab.js';
import type { NetNamespace } from '../../../../src/testing/netns-namespace.js';
import type { L2Event, L2LinkOptions, L2LinkState } from '../../../../src/vip/l2/index.js';
import type { Command } from './link-agent.js';

const agentScript = fileURLToPath(new URL('./link-agent.ts', import.meta.url));

/** A process with an L2Link in a station's namespace, as a remote. */
export class LinkAgent {
  readonly process: ChildProcess;
  #next = 1;

  private constructor(process: ChildProcess) {
    this.process = process;
  }

  static async start(station: Station, options: Partial<L2LinkOptions> = {}): Promise<LinkAgent> {
    const args = ['--conditions=meshwright-source', '--import', 'tsx', agentScript];
    const child = station.namespace.spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await once(child, 'message');
    const agent = new LinkAgent(child);
    await agent.open({ interface: 'eth0', ...options });
    return agent;
  }

  open(options: L2LinkOptions): Promise<L2LinkState> {
    return this.tell({ op: 'open', options }) as Promise<L2LinkState>;
  }

  probe(ip: string): Promise<{ free: boolean; mac?: string; by?: string }> {
    return this.tell({ op: 'probe', ip }) as Promise<{ free: boolean; mac?: string; by?: string }>;
  }

  async events<T extends L2Event['type']>(type: T): Promise<Extract<L2Event, { type: T }>[]> {
    const all = (await this.tell({ op: 'events' })) as L2Event[];
    return all.filter((event): event is Extract<L2Event, { type: T }> => event.type === type);
  }

  tell(command: Command): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const onMessage = (message: {
        id: number;
        result?: unknown;
        error?: { message: string; code?: string };
      }): void => {
        if (message.id !== id) return;
        this.process.off('message', onMessage);
        if (message.error === undefined) resolve(message.result);
        else reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
      };
      this.process.on('message', onMessage);
      this.process.send({ id, command });
    });
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }
}

/** A machine on the segment: `eth0`, with 10.20.0.<n> and fd20::<n>. */
export interface Station {
  readonly namespace: NetNamespace;
  readonly mac: string;
  readonly ip4: string;
  readonly ip6: string;
}

/** One Ethernet segment: a bridge in a namespace of its own, with any number of stations. */
export class Segment implements AsyncDisposable {
  readonly lab: NetnsLab;
  readonly switch: NetNamespace;
  #count = 0;

  private constructor(lab: NetnsLab, bridge: NetNamespace) {
    this.lab = lab;
    this.switch = bridge;
  }

  static async make(): Promise<Segment> {
    const lab = await NetnsLab.create();
    try {
      const bridge = await lab.namespace('switch');
      await bridge.bridge('br0');
      return new Segment(lab, bridge);
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async station(label: string): Promise<Station> {
    const number = ++this.#count;
    const namespace = await this.lab.namespace(label);
    const station = {
      namespace,
      mac: `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`,
      ip4: `10.20.0.${String(number)}`,
      ip6: `fd20::${number.toString(16)}`,
    };
    await this.lab.link(
      { namespace: this.switch, device: this.port(station), bridge: 'br0' },
      {
        ...{ namespace, device: 'eth0', mac: station.mac },
        addresses: [`${station.ip4}/24`, `${station.ip6}/64`],
      },
    );
    return station;
  }

  /** The switch's port that a station is plugged into. */
  port(station: { readonly namespace: NetNamespace }): string {
    return `p-${station.namespace.label}`.slice(0, 15);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.close();
  }
}

/** What a station's kernel believes: the MAC address of `ip`, or the state of the entry without one. */
export async function neighbour(station: Station, ip: string): Promise<string> {
  const text = await station.namespace.ip('neigh', 'show', ip);
  return /lladdr (\S+)/.exec(text)?.[1] ?? (text.trim().split(' ').at(-1) || 'none');
}
