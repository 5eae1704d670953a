import { NetnsLab } from 'meshwright/testing';
import type { NetNamespace } from 'meshwright/testing';
import { BgpSpeaker } from '../../../../src/vip/bgp/index.js';
import type { BgpEvent, BgpPeerOptions, BgpPeerState, BgpSpeakerOptions } from '../../../../src/vip/bgp/index.js';
import { until } from '../../peers/until.js';
import { NamespacedTransport } from './namespaced-transport.js';

export const routerAs = 64_512;
export const agentAs = 64_513;
export const routerIp = '10.20.0.254';
export const routerIp6 = 'fd20::254';

/** A router and agents on one bridge: agent n is 10.20.0.n and fd20::n. */
export class RouterLab implements AsyncDisposable {
  readonly lab: NetnsLab;
  readonly router: NetNamespace;
  readonly agents: readonly NetNamespace[];
  readonly #speakers: BgpSpeaker[] = [];

  private constructor(lab: NetnsLab, router: NetNamespace, agents: readonly NetNamespace[]) {
    this.lab = lab;
    this.router = router;
    this.agents = agents;
  }

  static async create(agents = 1): Promise<RouterLab> {
    const lab = await NetnsLab.create();
    const router = await lab.namespace('router', { forwarding: true });
    await router.bridge('br0', { addresses: [`${routerIp}/24`, `${routerIp6}/64`] });
    const made: NetNamespace[] = [];
    for (let index = 1; index <= agents; index += 1) {
      const agent = await lab.namespace(`agent${String(index)}`);
      await lab.link(
        { namespace: router, device: `v${String(index)}`, bridge: 'br0' },
        {
          namespace: agent,
          device: 'eth0',
          addresses: [`10.20.0.${String(index)}/24`, `fd20::${String(index)}/64`],
        },
      );
      made.push(agent);
    }
    return new RouterLab(lab, router, made);
  }

  agent(index: number): NetNamespace {
    const agent = this.agents[index - 1];
    if (agent === undefined) throw new Error(`there is no agent ${String(index)}`);
    return agent;
  }

  /** A speaker in agent n's namespace; by default the router is its peer over IPv4, and everything is quick. */
  async speaker(
    index: number,
    options: Partial<Omit<BgpSpeakerOptions, 'peers'>> & { readonly peers?: readonly Partial<BgpPeerOptions>[] } = {},
  ): Promise<TestSpeaker> {
    const events: BgpEvent[] = [];
    const speaker = await BgpSpeaker.create({
      localAs: agentAs,
      routerId: `10.20.0.${String(index)}`,
      transport: new NamespacedTransport(this.agent(index)),
      observer: (event) => void events.push(event),
      ...options,
      peers: (options.peers ?? [{}]).map((peer) => quick(peer)),
    });
    this.#speakers.push(speaker);
    return { speaker, events };
  }

  /** The next hops of a route in the router's kernel table, sorted; empty when there is no route. */
  async kernelNextHops(prefix: string): Promise<readonly string[]> {
    const text = await this.router.ip(prefix.includes(':') ? '-6' : '-4', 'route', 'show', prefix);
    return [...new Set([...text.matchAll(/via (?:inet6 )?(\S+)/g)].map((match) => match[1] ?? ''))].sort();
  }

  async untilNextHops(prefix: string, expected: readonly string[], timeoutMs = 15_000): Promise<void> {
    const wanted = [...expected].sort().join(' ');
    await until(
      `the router's kernel has ${prefix} via ${wanted === '' ? 'nobody' : wanted}`,
      async () => (await this.kernelNextHops(prefix)).join(' ') === wanted,
      { timeoutMs, everyMs: 50, seen: () => this.router.ip('route', 'show', 'table', 'all', prefix) },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const speaker of this.#speakers) speaker.destroy();
    await this.lab.close();
  }
}

export interface TestSpeaker {
  readonly speaker: BgpSpeaker;
  readonly events: BgpEvent[];
}

export function quick(peer: Partial<BgpPeerOptions>): BgpPeerOptions {
  return {
    address: routerIp,
    remoteAs: routerAs,
    holdTimeSeconds: 9,
    connectRetryMs: 1000,
    idleHoldMs: { first: 100, max: 1000 },
    ...peer,
  };
}

/** The state of one peer of a speaker. */
export function peerOf(speaker: BgpSpeaker, address?: string): BgpPeerState {
  const peer = speaker.peers.find((each) => address === undefined || each.address === address);
  if (peer === undefined) throw new Error('no such peer');
  return peer;
}

export async function untilState(
  speaker: BgpSpeaker,
  state: BgpPeerState['state'],
  address?: string,
  timeoutMs = 15_000,
): Promise<BgpPeerState> {
  return until(
    `the speaker is ${state}`,
    () => {
      const peer = peerOf(speaker, address);
      return peer.state === state && peer;
    },
    { timeoutMs, everyMs: 20, seen: () => peerOf(speaker, address) },
  );
}

/** Waits for the last error to hold all `words`. */
export async function untilError(
  speaker: BgpSpeaker,
  words: readonly string[],
  options: { readonly address?: string; readonly timeoutMs?: number } = {},
): Promise<string> {
  return until(
    `the last error says ${words.join(' … ')}`,
    () => {
      const { lastError } = peerOf(speaker, options.address);
      return lastError !== undefined && words.every((word) => lastError.message.includes(word)) && lastError.message;
    },
    { timeoutMs: options.timeoutMs ?? 15_000, everyMs: 50, seen: () => peerOf(speaker, options.address).lastError },
  );
}
