/** Two nodes of Meshwright on one segment, with leases in etcd or at a controller, and a client that asks their address. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NetnsLab } from 'meshwright/testing';
import type { NetNamespace } from 'meshwright/testing';
import { until } from '../../test/vip/peers/until.js';
import { AskingClient, monotonicMs, startAnswering } from './client.js';
import type { LeaseControllerAccess } from './lease-controller.js';
import type { FailoverSample } from './report.js';
import { VipAgent } from './vip-agent-process.js';

const vip = '10.20.0.100';
const etcdUrl = 'http://10.20.0.254:2379';
const controllerAddress = '10.20.0.254:15012';
const controllerProgram = fileURLToPath(new URL('./lease-controller.ts', import.meta.url));

/** Where a node finds its leases: for `vip-agent.ts`. */
type Leases = { readonly etcd: string } | { readonly controller: LeaseControllerAccess };

interface Station {
  readonly name: string;
  readonly namespace: NetNamespace;
  agent?: VipAgent;
  answering?: ChildProcess;
}

export class Layer2Rig implements AsyncDisposable {
  readonly #lab: NetnsLab;
  readonly #client: NetNamespace;
  readonly #stations: readonly Station[];
  readonly #leases: (node: string) => Leases;

  private constructor(
    lab: NetnsLab,
    client: NetNamespace,
    stations: readonly Station[],
    leases: (node: string) => Leases,
  ) {
    this.#leases = leases;
    this.#lab = lab;
    this.#client = client;
    this.#stations = stations;
  }

  static async create(store: 'etcd' | 'controller' = 'etcd'): Promise<Layer2Rig> {
    const lab = await NetnsLab.create();
    try {
      const segment = await lab.namespace('segment');
      await segment.bridge('br0', { addresses: ['10.20.0.254/24'] });
      const namespaces: NetNamespace[] = [];
      for (const [index, label] of ['one', 'two', 'client'].entries()) {
        const namespace = await lab.namespace(label);
        await lab.link(
          { namespace: segment, device: `v${String(index)}`, bridge: 'br0' },
          { namespace, device: 'eth0', addresses: [`10.20.0.${String(index + 1)}/24`] },
        );
        namespaces.push(namespace);
      }
      const leases = store === 'etcd' ? startEtcd(segment) : await startController(segment);
      const [one, two, client] = namespaces;
      if (one === undefined || two === undefined || client === undefined) throw new Error('no namespaces');
      const stations = [one, two].map((namespace): Station => ({ name: namespace.label, namespace }));
      return new Layer2Rig(lab, client, stations, leases);
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** `kill`: SIGKILL of the owner's manager and server. `stop`: its manager ends in order, and its server goes on. */
  async failover(how: 'kill' | 'stop'): Promise<FailoverSample> {
    await this.#ready();
    using client = new AskingClient(this.#client, vip);
    await until('the client is answered', () => client.answers.length > 20, { everyMs: 20 });
    const owner = this.#stations.find(({ name }) => name === client.answers.at(-1)?.from);
    const other = this.#stations.find((station) => station !== owner);
    if (owner?.agent === undefined || other === undefined) throw new Error('nobody answers');
    // At no special moment between two renewals.
    await delay(Math.random() * 400);
    const sinceMs = monotonicMs();
    const ended = owner.agent.end(how === 'kill' ? 'SIGKILL' : 'SIGTERM');
    if (how === 'kill') owner.answering?.kill('SIGKILL');
    const { answeredMs } = await client.answerOf(other.name, { sinceMs });
    await ended;
    await delay(100);
    owner.answering?.kill('SIGKILL');
    delete owner.agent;
    delete owner.answering;
    return { failoverMs: answeredMs - sinceMs, lost: client.unanswered(sinceMs, answeredMs).length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab.close();
  }

  async #ready(): Promise<void> {
    for (const station of this.#stations) {
      station.answering ??= await startAnswering(station.namespace, station.name);
      station.agent ??= await VipAgent.start(station.namespace, {
        manager: { node: station.name, l2: { interface: 'eth0' } },
        ...this.#leases(station.name),
        assignments: [{ name: 'bench', addresses: [vip], mode: 'l2' }],
      });
    }
    await until('one of them owns the address', () => this.#stations.some(({ agent }) => agent?.announcing === 1));
    // Past the first volley of announcements; and nobody takes the release of an owner of less than 5.4 s for a handover.
    await delay(6000);
  }
}

function startEtcd(segment: NetNamespace): () => Leases {
  const peers = 'http://10.20.0.254:2380';
  const options = [
    ...['--name', 'one', '--data-dir', '/mnt/etcd', '--log-level', 'error'],
    ...['--listen-client-urls', etcdUrl, '--advertise-client-urls', etcdUrl],
    ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers, '--initial-cluster', `one=${peers}`],
  ];
  // In memory, in a mount namespace of its own: gone with the process, however that ends.
  segment.spawn('sh', ['-c', 'mount -t tmpfs none /mnt && exec etcd "$@"', 'sh', ...options], {
    stdio: 'ignore',
    env: { PATH: process.env['PATH'] },
  });
  return () => ({ etcd: etcdUrl });
}

async function startController(segment: NetNamespace): Promise<(node: string) => Leases> {
  const command = ['--import', 'tsx', controllerProgram, controllerAddress, 'one', 'two'];
  const child = segment.spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string];
  const access = JSON.parse(line) as Record<string, LeaseControllerAccess>;
  return (node) => {
    const controller = access[node];
    if (controller === undefined) throw new Error(`the controller knows no ${node}`);
    return { controller };
  };
}
