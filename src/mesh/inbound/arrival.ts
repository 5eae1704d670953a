import type { Duplex } from 'node:stream';
import type { SocketAddress } from '../../core/index.js';
import type { AuthenticatedSource } from '../authenticated-source.js';
import type { RefusalReason } from '../refusal.js';
import type { Admission } from './admission.js';

/** Opens the plain connection to a workload. */
export type DeliveryDial = (request: {
  readonly destination: SocketAddress;
  /** Keep this source address, where the platform can. Only ever a verified one. */
  readonly sourceIp?: string | undefined;
  readonly signal: AbortSignal;
}) => Promise<Duplex>;

/** Something that asks for a destination and can be answered. */
export interface Arrival {
  readonly source: AuthenticatedSource;
  readonly destination: SocketAddress;
  readonly traceId: string;
  /** Aborts when the asking side goes away. */
  readonly signal: AbortSignal;
  /** Called once, after the workload was reached. */
  accept(): Duplex;
}

/** How an arrival ended. A refused one was never accepted, so the caller still has to answer. */
export type Served =
  | { readonly served: true }
  | { readonly served: false; readonly reason: RefusalReason; readonly admission?: Admission | undefined };
