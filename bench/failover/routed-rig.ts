/**
 * A router (BIRD) with equal-cost paths to groups of nodes, and a client behind it: all in namespaces that are gone
 * afterwards. Every contender has two nodes or more that announce the same address, which its client asks.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { NetnsLab } from 'meshwright/testing';
import type { NetNamespace } from 'meshwright/testing';
import { Bird } from '../../test/vip/peers/bird.js';
import { until } from '../../test/vip/peers/until.js';
import { startAnswering } from './client.js';
import { servePort, startServing } from './requesting.js';
import { ResilientPaths, birdTable } from './resilient-paths.js';
import { VipAgent } from './vip-agent-process.js';

export const bfdIntervalMs = 100;
export const bfdMultiplier = 3;
export const routerAs = 64_512;
export const nodeAs = 64_513;
const routerIp = '10.20.0.254';

/** What announces and serves: processes of a node, and the ways to end them. */
export interface Announcer {
  kill(): void;
  /** SIGSTOP: not a byte more, and no connection is closed, as when the machine itself is gone. */
  freeze(): void;
  /** Resolves when it has ended in order: the announcement first, and only then what serves. Whether connections were cut, if it knows. */
  stop(): Promise<{ readonly late: boolean } | undefined>;
}

export type AnnouncerFactory = (node: RigNode, ip: string) => Promise<Announcer>;

export interface RigNode {
  readonly name: string;
  readonly ip: string;
  readonly namespace: NetNamespace;
}

/** Nodes with one address. */
export class Group {
  readonly vip: string;
  readonly nodes: readonly RigNode[];
  readonly #rig: RoutedRig;
  readonly #factory: AnnouncerFactory;
  readonly #running = new Map<string, { readonly announcer: Announcer; readonly answering: ChildProcess }>();

  constructor(rig: RoutedRig, vip: string, nodes: readonly RigNode[], factory: AnnouncerFactory) {
    this.#rig = rig;
    this.vip = vip;
    this.nodes = nodes;
    this.#factory = factory;
  }

  /** Starts what does not run, and waits until the router uses all nodes and BFD guards them. */
  async ready(): Promise<void> {
    for (const node of this.nodes) {
      if (this.#running.has(node.name)) continue;
      const answering = await startAnswering(node.namespace, node.name);
      this.#running.set(node.name, { announcer: await this.#factory(node, this.vip), answering });
    }
    await until(`the router reaches ${this.vip} by all nodes`, async () => this.#rig.guards(this.vip, this.nodes), {
      timeoutMs: 30_000,
      everyMs: 50,
      seen: () => this.#rig.bird.birdc('show bfd sessions'),
    });
    // Until polls are answered and intervals agreed; then at no special moment between two packets.
    await delay(700 + Math.random() * 100);
  }

  node(name: string): RigNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  }

  other(name: string): string {
    return this.nodes.find((node) => node.name !== name)?.name ?? '';
  }

  /** What announces and what answers, at once; the kernel of the node still closes their connections. */
  kill(name: string): void {
    const running = this.#running.get(name);
    this.#running.delete(name);
    running?.announcer.kill();
    running?.answering.kill('SIGKILL');
  }

  /** As if the machine had vanished: connections stay open, and nothing is said. `kill` it afterwards. */
  freeze(name: string): void {
    const running = this.#running.get(name);
    running?.announcer.freeze();
    running?.answering.kill('SIGSTOP');
  }

  /** In order: the announcement ends, and only then what answers. */
  async stop(name: string): Promise<{ readonly late: boolean } | undefined> {
    const running = this.#running.get(name);
    this.#running.delete(name);
    const stopped = await running?.announcer.stop();
    running?.answering.kill('SIGKILL');
    return stopped;
  }
}

export interface RouterOptions {
  /** Flows stay with their node as long as that is there (nexthop groups of Linux of type `resilient`). Default false. */
  readonly resilient?: boolean | undefined;
  /** Prefers other paths as soon as GRACEFUL_SHUTDOWN is announced. Default false, as that takes a policy. */
  readonly honoursShutdown?: boolean | undefined;
}

export class RoutedRig implements AsyncDisposable {
  readonly client: NetNamespace;
  readonly bird: Bird;
  readonly #lab: NetnsLab;
  readonly #router: NetNamespace;
  readonly #nodes: readonly RigNode[];
  readonly #resilient: ResilientPaths | undefined;
  readonly #monitor: ChildProcess;
  readonly #routeChanges = new Map<string, number>();

  private constructor(
    lab: NetnsLab,
    router: NetNamespace,
    client: NetNamespace,
    bird: Bird,
    nodes: readonly RigNode[],
    resilient: ResilientPaths | undefined,
  ) {
    this.#lab = lab;
    this.#router = router;
    this.client = client;
    this.bird = bird;
    this.#nodes = nodes;
    this.#resilient = resilient;
    this.#monitor = router.spawn('ip', ['monitor', 'route'], { stdio: ['ignore', 'pipe', 'ignore'] });
    createInterface({ input: this.#monitor.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const address = /^(?:Deleted )?(\S+) /.exec(line)?.[1];
      // What follows from BIRD's choice is no change of its own.
      const isChosen = resilient === undefined || line.includes(`table ${String(birdTable)}`);
      if (address !== undefined && isChosen) this.#routeChanges.set(address, this.routeChanges(address) + 1);
    });
  }

  static async create(nodeCount: number, options: RouterOptions = {}): Promise<RoutedRig> {
    const lab = await NetnsLab.create();
    try {
      const router = await lab.namespace('router', {
        forwarding: true,
        // By ports too, so that flows of one client spread.
        sysctls: { 'net.ipv4.fib_multipath_hash_policy': 1 },
      });
      const client = await lab.namespace('client');
      await router.bridge('br0', { addresses: [`${routerIp}/24`] });
      await lab.link(
        { namespace: router, device: 'client0', addresses: ['10.40.0.254/24'] },
        { namespace: client, device: 'eth0', addresses: ['10.40.0.1/24'] },
      );
      await client.route('default', { via: '10.40.0.254' });
      const nodes: RigNode[] = [];
      for (let index = 1; index <= nodeCount; index += 1) {
        const namespace = await lab.namespace(`node${String(index)}`);
        const ip = `10.20.0.${String(index)}`;
        await lab.link(
          { namespace: router, device: `n${String(index)}`, bridge: 'br0' },
          { namespace, device: 'eth0', addresses: [`${ip}/24`] },
        );
        await namespace.route('default', { via: routerIp });
        nodes.push({ name: `node${String(index)}`, ip, namespace });
      }
      const addresses = nodes.map(({ ip }) => ip);
      const bird = await Bird.start(router, routerConfiguration(addresses, options));
      const resilient = options.resilient === true ? await ResilientPaths.create(router, addresses, 'br0') : undefined;
      return new RoutedRig(lab, router, client, bird, nodes, resilient);
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** As many nodes as `count` (default two), from the `first` (1-based) on, that announce `vip`. */
  group(first: number, vip: string, factory: AnnouncerFactory, count = 2): Group {
    return new Group(this, vip, this.#nodes.slice(first - 1, first - 1 + count), factory);
  }

  /** Whether the kernel of the router has a path by each of the nodes, and BFD is up with each. */
  async guards(vip: string, nodes: readonly RigNode[]): Promise<boolean> {
    const routes = await this.#router.ip('route', 'show', vip);
    const bfd = await this.bird.birdc('show bfd sessions');
    return nodes.every(
      ({ ip }) => routes.includes(`via ${ip} `) && new RegExp(`^${ip.replaceAll('.', '\\.')} +\\S+ +Up`, 'm').test(bfd),
    );
  }

  /** How many paths the kernel of the router has. */
  async pathCount(vip: string): Promise<number> {
    return (await this.#router.ip('route', 'show', vip)).match(/via /g)?.length ?? 0;
  }

  /** How often its kernel has changed the route. */
  routeChanges(vip: string): number {
    return this.#routeChanges.get(vip) ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#monitor.kill('SIGKILL');
    this.#resilient?.[Symbol.dispose]();
    await this.bird[Symbol.asyncDispose]();
    await this.#lab.close();
  }
}

/** What a `VipManager` needs to speak BGP and BFD with a router, with the timers of this benchmark. */
export function bgpOptions(routerId: string, router: string): object {
  return {
    localAs: nodeAs,
    routerId,
    peers: [
      {
        ...{ name: 'router', address: router, remoteAs: routerAs, families: ['ipv4'], holdTimeSeconds: 9 },
        ...{ connectRetryMs: 500, idleHoldMs: { first: 100, max: 1000 } },
        bfd: { txIntervalMs: bfdIntervalMs, rxIntervalMs: bfdIntervalMs, multiplier: bfdMultiplier },
      },
    ],
  };
}

/** Meshwright: a `VipManager`, which also puts the address on `lo`, in the process that serves it. */
export function meshwrightAnnouncer(
  options: { readonly quiesce?: boolean; readonly drainMs?: number } = {},
): AnnouncerFactory {
  const { quiesce = true, drainMs = 0 } = options;
  return async (node, ip) => {
    const agent = await VipAgent.start(node.namespace, {
      manager: { node: node.name, drainMs, bgp: bgpOptions(node.ip, routerIp) },
      serve: { name: node.name, port: servePort, quiesce },
      assignments: [{ name: 'bench', addresses: [ip], mode: 'bgp' }],
    });
    return {
      kill: () => void agent.child.kill('SIGKILL'),
      freeze: () => void agent.child.kill('SIGSTOP'),
      stop: async () => {
        await agent.end('SIGTERM');
        return { late: agent.late };
      },
    };
  };
}

/** BIRD in the same role, with the same timers. */
export const birdAnnouncer: AnnouncerFactory = async (node, ip) => {
  // It stays where it is when BIRD goes.
  await node.namespace.address('lo', `${ip}/32`).catch(() => undefined);
  const serving = await startServing(node.namespace, node.name);
  const bird = await Bird.start(
    node.namespace,
    `router id ${node.ip};
protocol device { scan time 2; }
protocol bfd { interface "eth0" { ${bfdTimers} }; }
protocol static { ipv4; route ${ip}/32 via "lo"; }
protocol bgp r { local ${node.ip} as ${String(nodeAs)}; neighbor ${routerIp} as ${String(routerAs)}; ${bgpTimers}
  ipv4 { import none; export all; }; }
`,
  );
  return {
    kill: () => {
      bird.signal('SIGKILL');
      serving.kill('SIGKILL');
      void bird[Symbol.asyncDispose]();
    },
    freeze: () => {
      bird.signal('SIGSTOP');
      serving.kill('SIGSTOP');
    },
    stop: async () => {
      await bird.stop('SIGTERM');
      await bird[Symbol.asyncDispose]();
      serving.kill('SIGKILL');
      return undefined;
    },
  };
};

export const bfdTimers = `min rx interval ${String(bfdIntervalMs)} ms; min tx interval ${String(bfdIntervalMs)} ms; multiplier ${String(bfdMultiplier)};`;
export const bgpTimers = 'bfd on; hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;';

function routerConfiguration(
  nodes: readonly string[],
  { resilient = false, honoursShutdown = false }: RouterOptions,
): string {
  const shutdown = honoursShutdown ? 'if (65535, 0) ~ bgp_community then bgp_local_pref = 0;' : '';
  return `router id ${routerIp};
protocol device { scan time 2; }
protocol direct { ipv4; interface "br0"; }
protocol kernel { ${resilient ? `kernel table ${String(birdTable)};` : ''} ipv4 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
protocol bfd { interface "br0" { ${bfdTimers} }; }
filter addresses {
  if net !~ [ 203.0.113.0/24{32,32}, 198.51.100.0/24{32,32}, 198.18.0.0/15{32,32} ] then reject;
  ${shutdown}
  accept;
}
${nodes
  .map(
    (
      ip,
      index,
    ) => `protocol bgp n${String(index + 1)} { local ${routerIp} as ${String(routerAs)}; neighbor ${ip} as ${String(nodeAs)}; ${bgpTimers}
  ipv4 { import filter addresses; export none; }; }`,
  )
  .join('\n')}
`;
}
