import type { Closable, LatestValue } from '../core/index.js';
import type { OwnAddress } from './addresses/index.js';
import type { BfdAddOptions, BfdStatus } from './bfd/index.js';
import type { BgpPeerOptions, BgpPeerState, BgpRoute, BgpSpeakerOptions } from './bgp/index.js';
import type { AnnounceOptions, L2LinkState, ProbeResult } from './l2/index.js';

/**
 * What the manager asks of its parts: the least that it needs, so that a test can put simulated ones in their place. The
 * real ones are `L2Link`, `AddressTable`, `BgpSpeaker` and `BfdService`.
 */
export interface LinkPart extends Pick<Closable, 'close' | 'destroy'> {
  readonly state: LatestValue<L2LinkState>;
  probe(ip: string, options: { readonly signal?: AbortSignal | undefined }): Promise<ProbeResult>;
  announce(ip: string, options: AnnounceOptions): { reannounce(): void; stop(): void };
}

export interface AddressPart {
  add(address: OwnAddress, lifetimeSeconds: number | undefined): Promise<void>;
  refresh(address: OwnAddress, lifetimeSeconds: number | undefined): Promise<void>;
  remove(address: OwnAddress): Promise<void>;
  sweep(keep: (address: OwnAddress) => boolean): Promise<readonly OwnAddress[]>;
  close(): void;
}

export interface SpeakerPart extends Pick<Closable, 'close' | 'destroy'> {
  readonly peers: readonly BgpPeerState[];
  changes(options: { readonly signal?: AbortSignal | undefined }): AsyncIterable<readonly BgpPeerState[]>;
  announce(route: BgpRoute): void;
  withdraw(prefix: string): void;
  drain(prefix?: string): void;
  routesComplete(): void;
  setPeers(peers: readonly BgpPeerOptions[]): void;
  peerDown(address: string, reason: string): void;
  peerUp(address: string): void;
}

export interface BfdPart extends Pick<Closable, 'close' | 'destroy'> {
  add(options: BfdAddOptions): { readonly status: BfdStatus; close(): Promise<void> };
}

/** How the manager opens its parts. */
export interface VipParts {
  openLink(interfaceName: string): Promise<LinkPart>;
  openAddresses(): AddressPart;
  createSpeaker(options: BgpSpeakerOptions): Promise<SpeakerPart>;
  /** Called once, when a peer has `bfd` for the first time. */
  createBfd(): Promise<BfdPart>;
}
