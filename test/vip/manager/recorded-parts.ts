/** A manager's parts that write down what is asked of them, and what its BGP tests have in common. */
import { LatestValueCell } from '../../../src/core/index.js';
import type { BgpPeerState, VipBgpOptions, VipStatus } from '../../../src/vip/index.js';
import type { BfdAddOptions, BfdStatus } from '../../../src/vip/bfd/index.js';
import type { VipParts } from '../../../src/vip/parts.js';

export const bgp: VipBgpOptions = {
  localAs: 64513,
  routerId: '10.20.0.1',
  peers: [
    { address: '10.20.0.254', name: 'one', remoteAs: 64512, bfd: true },
    { address: '10.20.0.253', name: 'two', remoteAs: 64512 },
  ],
};

/** Parts that write down what is asked of them, in order. */
export function recorded() {
  const calls: string[] = [];
  const states = new LatestValueCell<readonly BgpPeerState[]>([]);
  const bfd: BfdAddOptions[] = [];
  const call = (...words: readonly unknown[]): void => void calls.push(words.map(String).join(' '));
  const parts: VipParts = {
    openLink: () => Promise.reject(new Error('no link here')),
    openAddresses: () => ({
      add: async ({ ip, device }, seconds) => call('add', ip, device, seconds),
      refresh: async ({ ip }) => call('refresh', ip),
      remove: async ({ ip }) => call('remove', ip),
      sweep: async (keep) => {
        call('sweep', keep({ ip: '203.0.113.99', device: 'lo' }));
        return [];
      },
      close: () => call('close addresses'),
    }),
    createSpeaker: async ({ localAs, peers }) => {
      call('speaker', localAs, peers.map((peer) => Object.keys(peer).includes('bfd')).join());
      return {
        get peers() {
          return states.current;
        },
        changes: (options) => states.changes(options),
        announce: ({ prefix, attributes }) => call('announce', prefix, attributes?.communities ?? ''),
        withdraw: (prefix) => call('withdraw', prefix),
        drain: (prefix) => call('drain', prefix),
        routesComplete: () => call('complete'),
        setPeers: (changed) =>
          call(
            'peers',
            changed.map(({ name }) => name),
          ),
        peerDown: (address, reason) => call('down', address, reason),
        peerUp: (address) => call('up', address),
        close: async () => call('close speaker'),
        destroy: () => call('destroy speaker'),
      };
    },
    createBfd: async () => ({
      add: (options) => {
        call('bfd', options.local, options.peer);
        bfd.push(options);
        return { status: bfdStatus('down'), close: async () => call('end bfd', options.peer) };
      },
      close: async () => call('close bfd'),
      destroy: () => call('destroy bfd'),
    }),
  };
  return { calls, parts, states, bfd };
}

export function bfdStatus(state: BfdStatus['state']): BfdStatus {
  const rest = { localDiscriminator: 1, remoteDiscriminator: 1, transport: undefined, transmitIntervalMs: 1 };
  return {
    state,
    remoteState: state,
    diagnostic: 'none',
    remoteDiagnostic: 'none',
    detectionTimeMs: 1,
    problem: undefined,
    ...rest,
  };
}

export function established(...names: readonly string[]): readonly BgpPeerState[] {
  return bgp.peers.map(({ address, name = '', remoteAs }) => {
    const common = { address, name, remoteAs, since: 0, sessions: 1, failures: 0 };
    if (!names.includes(name)) return { ...common, state: 'active' };
    const session = { remoteRouterId: address, initiatedBy: 'us', holdTimeMs: 9000, keepaliveMs: 3000 } as const;
    const rest = {
      families: ['ipv4'],
      announced: 1,
      received: { announcements: 0, withdrawals: 0 },
      endOfRibFrom: [],
    } as const;
    return { ...common, state: 'established', localAddress: '10.20.0.1', ...session, ...rest };
  });
}

export const web = { name: 'web', addresses: ['203.0.113.10'], mode: 'bgp' as const };
export const short = ({ state, reason }: VipStatus): string => `${state}: ${reason}`;
