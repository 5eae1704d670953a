/** What the engine needs of the network, so that tests can be the network. */
import type { BfdSettings, BfdTransport } from './settings.js';

/** A datagram that arrived, and how. */
export interface BfdDatagram {
  readonly bytes: Uint8Array;
  readonly transport: BfdTransport;
  /** Canonical. */
  readonly source: string;
  readonly local: string;
  /** TTL or hop limit; undefined where the kernel did not say. */
  readonly ttl: number | undefined;
  readonly interfaceIndex: number | undefined;
}

/** The sockets of one session. */
export interface BfdChannel {
  /** The index of the interface that the session is bound to. */
  readonly interfaceIndex: number | undefined;
  /** Throws a `SystemError` when the kernel refuses. A datagram that does not fit a full queue is lost, as any may be. */
  send(bytes: Uint8Array, transport: BfdTransport): void;
  close(): void;
}

export interface BfdNetwork {
  /** Opens what a session needs. Throws a `SystemError`: the address is not there (yet), the port is taken. */
  open(settings: BfdSettings): BfdChannel;
  /** Hands over at once what waits in the sockets: asked before a peer is declared lost. */
  drain(): void;
  /** Datagrams that socket filters dropped, since the last call. */
  takeFiltered(): number;
  close(): void;
}
