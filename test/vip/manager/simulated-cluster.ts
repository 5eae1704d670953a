/**
 * Managers in one process, on simulated time: each node may freeze (nothing of it runs, its kernel goes on), die, or be cut off
 * from the lease store; requests to the store take their time and fail before or after they took effect. Nodes never hear
 * each other's probes, as on a segment that is split: leases and lifetimes alone keep them apart.
 */
import { LatestValueCell, MemoryLeaseStore } from '../../../src/core/index.js';
import type {
  Clock,
  Lease,
  LeaseAcquisition,
  LeaseOwner,
  LeaseStore,
  Random,
  StandByOptions,
  Timer,
} from '../../../src/core/index.js';
import { FakeClock } from '../../../src/testing/index.js';
import { VipManager } from '../../../src/vip/index.js';
import type { VipAssignment } from '../../../src/vip/index.js';
import { longestProbeMs, managerProbe, shortestProbeMs } from '../../../src/vip/lease-timing.js';
import type { AddressPart, LinkPart, VipParts } from '../../../src/vip/parts.js';

/** Runs late what is due while it stands still, as a process that was stopped does. */
class NodeClock implements Clock {
  readonly #world: FakeClock;
  #late: (() => void)[] | undefined;

  constructor(world: FakeClock) {
    this.#world = world;
  }

  now(): number {
    return this.#world.now();
  }

  monotonicMs(): number {
    return this.#world.monotonicMs();
  }

  timer(delayMs: number, fn: () => void): Timer {
    let cancelled = false;
    const timer = this.#world.timer(delayMs, () => {
      if (cancelled) return;
      if (this.#late === undefined) fn();
      else this.#late.push(() => (cancelled ? undefined : fn()));
    });
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  get frozen(): boolean {
    return this.#late !== undefined;
  }

  freeze(): void {
    this.#late ??= [];
  }

  thaw(): void {
    const late = this.#late ?? [];
    this.#late = undefined;
    for (const fn of late) fn();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.timer(ms, resolve));
  }
}

export class SimulatedNode {
  readonly name: string;
  readonly clock: NodeClock;
  readonly #cluster: SimulatedCluster;
  readonly #kernel = new Map<string, number>();
  cut = false;
  healthy = true;
  manager: VipManager | undefined;

  constructor(name: string, cluster: SimulatedCluster) {
    this.name = name;
    this.#cluster = cluster;
    this.clock = new NodeClock(cluster.world);
  }

  async start(assignments: readonly VipAssignment[]): Promise<void> {
    const { random } = this.#cluster;
    this.manager = await VipManager.create({
      ...{ node: this.name, clock: this.clock, random, leases: this.#leases(), parts: this.#parts() },
      l2: { interface: 'eth0' },
      health: () => this.healthy,
    });
    await this.manager.apply(assignments);
  }

  /** Whether its kernel has the address now, whatever has become of the process. */
  has(ip: string): boolean {
    return (this.#kernel.get(ip) ?? -Infinity) > this.#cluster.world.monotonicMs();
  }

  #parts(): VipParts {
    return {
      openAddresses: () => this.#addresses(),
      openLink: async () => this.#link(),
      createSpeaker: () => Promise.reject(new Error('no BGP here')),
      createBfd: () => Promise.reject(new Error('no BFD here')),
    };
  }

  #addresses(): AddressPart {
    const { world, random } = this.#cluster;
    const set = async ({ ip }: { ip: string }, seconds: number | undefined): Promise<void> => {
      // Anything that the kernel may make of whole seconds.
      this.#kernel.set(ip, world.monotonicMs() + 1000 * (seconds ?? Infinity) + 280 * random.fraction());
    };
    return {
      add: set,
      refresh: set,
      remove: async ({ ip }) => {
        this.#kernel.delete(ip);
        await this.clock.sleep(60 * random.fraction());
      },
      sweep: async () => [],
      close: () => undefined,
    };
  }

  #link(): LinkPart {
    const { random } = this.#cluster;
    return {
      state: new LatestValueCell({ present: true, up: true, mac: '02:00:00:00:00:01' }),
      probe: async (_ip, { signal }) => {
        const shortestMs = shortestProbeMs(managerProbe);
        await this.clock.sleep(shortestMs + random.fraction() * (longestProbeMs(managerProbe) - shortestMs));
        signal?.throwIfAborted();
        return this.#cluster.stranger ? { free: false, mac: '02:00:00:00:00:99', by: 'owner' } : { free: true };
      },
      announce: (ip, { mayAnnounce }) => {
        let timer: Timer | undefined;
        const send = (): void => {
          if (mayAnnounce?.() !== false) this.#cluster.heard(this, ip);
          timer = this.clock.timer(250, send);
        };
        send();
        return { reannounce: () => undefined, stop: () => timer?.cancel() };
      },
      close: async () => undefined,
      destroy: () => undefined,
    };
  }

  #leases(): LeaseStore {
    const { store } = this.#cluster;
    return {
      acquire: (name, options): Promise<LeaseAcquisition> =>
        this.#request(() => store.acquire(name, withoutSignal(options))),
      renew: (lease: Lease) => this.#request(() => store.renew(lease)),
      release: (lease: Lease) => this.#request(() => store.release(lease)),
      watch: (name, { signal }) => this.#watch(store.watch(name, { signal }), signal),
      offer: (lease, options) => this.#request(() => store.offer(lease, options)),
      standBy: (name, options) => this.#standBy(name, options),
    };
  }

  /** The answer to an offer is a request of ours: lost where we are cut off, and a process that is frozen sends none. */
  async #standBy(name: string, options: StandByOptions): Promise<Lease> {
    const { store, random } = this.#cluster;
    const lost = new AbortController();
    const signal = AbortSignal.any([options.signal, lost.signal]);
    const onSend = (): void => {
      if (this.cut || this.clock.frozen) lost.abort(new Error('the request was lost'));
      else options.onSend?.();
    };
    const lease = await store.standBy(name, { ...options, signal, onSend });
    this.#cluster.handovers += 1;
    do await this.clock.sleep(30 * random.fraction());
    while (this.cut && !signal.aborted);
    if (!signal.aborted) return lease;
    void store.release(lease);
    throw signal.reason;
  }

  async #request<T>(run: () => Promise<T>): Promise<T> {
    const { random, world } = this.#cluster;
    const { calm } = this.#cluster;
    const delayMs = (): number => (calm || random.fraction() < 0.7 ? 20 : 380) * random.fraction();
    const isLost = (): boolean => this.cut || (!calm && random.fraction() < 0.04);
    // The request is on its way whatever becomes of the node; only the answer needs it.
    await new Promise<void>((resolve) => void world.timer(delayMs(), resolve));
    if (isLost()) {
      await this.clock.sleep(delayMs());
      throw new Error('the request was lost');
    }
    const result = await run();
    await this.clock.sleep(delayMs());
    if (isLost()) throw new Error('the answer was lost');
    return result;
  }

  async *#watch(
    source: AsyncIterable<LeaseOwner | undefined>,
    signal: AbortSignal,
  ): AsyncGenerator<LeaseOwner | undefined> {
    for await (const owner of source) {
      await this.clock.sleep(30 * this.#cluster.random.fraction());
      while (this.cut && !signal.aborted) await this.clock.sleep(30);
      if (signal.aborted) return;
      yield owner;
    }
  }
}

export class SimulatedCluster {
  readonly world = new FakeClock();
  readonly store = new MemoryLeaseStore({ clock: this.world });
  readonly random: Random;
  readonly nodes: readonly SimulatedNode[];
  /** A station that is none of the nodes has the address. */
  stranger = false;
  /** Requests are quick and none is lost. */
  calm = false;
  /** Leases that went from one node to the next in one step. */
  handovers = 0;
  /** What must never happen, as it did. */
  readonly violations: string[] = [];
  readonly #address: string;

  constructor(size: number, address: string, seed: number) {
    this.random = repeatable(seed);
    this.#address = address;
    this.nodes = Array.from({ length: size }, (_, index) => new SimulatedNode(`n${String(index)}`, this));
  }

  heard(from: SimulatedNode, ip: string): void {
    const others = this.nodes.filter((node) => node !== from && node.has(ip));
    if (this.stranger) this.violations.push(`${from.name} announced what a stranger has`);
    if (from.clock.frozen) this.violations.push(`${from.name} announced while it was frozen`);
    if (others.length > 0) this.violations.push(`${from.name} announced what ${others[0]?.name ?? ''} has`);
    if (!from.has(ip)) this.violations.push(`${from.name} announced what it has not`);
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) {
      await this.world.advanceAsync(Math.min(10, ms - passed));
      const owners = this.nodes.filter((node) => node.has(this.#address)).map(({ name }) => name);
      if (owners.length > 1) this.violations.push(`at ${String(this.world.monotonicMs())} ms: ${owners.join(' and ')}`);
    }
  }

  destroy(): void {
    for (const { clock, manager } of this.nodes) {
      clock.freeze();
      manager?.destroy();
    }
  }
}

function withoutSignal<T extends { readonly signal?: AbortSignal | undefined }>(options: T): Omit<T, 'signal'> {
  const { signal: _, ...rest } = options;
  return rest;
}

/** Mulberry32. */
function repeatable(seed: number): Random {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => 256 * fraction()) };
}
