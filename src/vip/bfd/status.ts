import { describeDiagnostic } from './diagnostic.js';
import type { BfdDiagnostic } from './diagnostic.js';
import type { BfdState } from './packet.js';
import { detectionTimeUs, transmitIntervalUs } from './session.js';
import type { BfdSessionVariables } from './session.js';
import type { BfdTransport } from './settings.js';

/** A session as it is now. */
export interface BfdStatus {
  readonly state: BfdState;
  /** Why it last left Up; `none` while it is Up. */
  readonly diagnostic: BfdDiagnostic;
  /** What the peer last said; `down` while nothing was heard. */
  readonly remoteState: BfdState;
  readonly remoteDiagnostic: BfdDiagnostic;
  readonly localDiscriminator: number;
  /** 0 while nothing was heard. */
  readonly remoteDiscriminator: number;
  /** How packets are sent; for `auto` undefined until the peer was heard. */
  readonly transport: BfdTransport | undefined;
  /** The agreed interval of what we send, before jitter. */
  readonly transmitIntervalMs: number;
  /** After how long a silence the peer is lost. 0 while nothing was heard. */
  readonly detectionTimeMs: number;
  /** Why packets cannot be sent or received just now, in words; it is tried again every second. */
  readonly problem: string | undefined;
}

export function statusOf(
  session: BfdSessionVariables,
  transport: BfdTransport | undefined,
  problem: string | undefined,
): BfdStatus {
  return {
    state: session.state,
    diagnostic: describeDiagnostic(session.diagnostic),
    remoteState: session.remoteState,
    remoteDiagnostic: describeDiagnostic(session.remoteDiagnostic),
    localDiscriminator: session.localDiscriminator,
    remoteDiscriminator: session.remoteDiscriminator,
    transport,
    transmitIntervalMs: transmitIntervalUs(session) / 1000,
    detectionTimeMs: detectionTimeUs(session) / 1000,
    problem,
  };
}

export function sameStatus(a: BfdStatus, b: BfdStatus): boolean {
  return (Object.keys(a) as (keyof BfdStatus)[]).every((key) => a[key] === b[key]);
}
