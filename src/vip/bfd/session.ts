/**
 * A BFD session as data: the variables of RFC 5880 section 6.8.1, and what follows from them. Deadlines are derived from the
 * variables and never stored, so a changed interval counts at once (the slow timer of Down cannot outlive Down).
 */
import type { BfdPacket, BfdState } from './packet.js';

/** What the operator wants. */
export interface BfdTimers {
  readonly desiredMinTxUs: number;
  /** 0: no periodic packets are wanted. */
  readonly requiredMinRxUs: number;
  /** 1 to 255. */
  readonly detectMultiplier: number;
}

export interface BfdSessionVariables {
  readonly timers: BfdTimers;
  readonly state: BfdState;
  /** The local diagnostic code. */
  readonly diagnostic: number;
  readonly localDiscriminator: number;
  /** As last sent; at least one second unless Up. */
  readonly desiredMinTxUs: number;
  /** As last sent. */
  readonly requiredMinRxUs: number;
  /** What our own intervals count with: differs from `desiredMinTxUs` while a poll sequence is to confirm an increase. */
  readonly transmitMinUs: number;
  /** What detection counts with: differs from `requiredMinRxUs` while a poll sequence is to confirm a reduction. */
  readonly receiveMinUs: number;
  /** `restart`: values changed while a sequence was running, so the next final bit does not speak of them. */
  readonly poll: 'idle' | 'active' | 'restart';

  readonly remoteState: BfdState;
  readonly remoteDiagnostic: number;
  /** 0: not known. */
  readonly remoteDiscriminator: number;
  readonly remoteMinRxUs: number;
  readonly remoteMinTxUs: number;
  readonly remoteMultiplier: number;
  readonly remoteDemand: boolean;

  /** When the last packet was taken; undefined after a detection time without one. */
  readonly lastReceivedMs: number | undefined;
  /** When the last packet went out that was not merely an answer to a poll. */
  readonly lastSentMs: number | undefined;
  /** Something changed that the peer should hear of before the next periodic packet. */
  readonly unsaid: boolean;
  /** Drawn anew for each interval, from [0, 1). */
  readonly jitterFraction: number;
}

/** Until a session is Up it sends no faster than this (section 6.8.3). */
export const slowIntervalUs = 1_000_000;
/** Changes are told at once, but no faster than this: a link that doubles packets would else make two sessions answer each other for ever. */
const leastGapMs = 10;

/** The variables of a new session: Down, nothing known of the peer, nothing sent. */
export function newSession(localDiscriminator: number, timers: BfdTimers, jitterFraction: number): BfdSessionVariables {
  const desiredMinTxUs = Math.max(timers.desiredMinTxUs, slowIntervalUs);
  return {
    timers,
    state: 'down',
    diagnostic: 0,
    localDiscriminator,
    desiredMinTxUs,
    requiredMinRxUs: timers.requiredMinRxUs,
    transmitMinUs: desiredMinTxUs,
    receiveMinUs: timers.requiredMinRxUs,
    poll: 'idle',
    ...unknownPeer,
    lastSentMs: undefined,
    unsaid: false,
    jitterFraction,
  };
}

/** What is known of a peer that is silent: nothing, so also not that it wanted no packets. */
export const unknownPeer = {
  remoteState: 'down',
  remoteDiagnostic: 0,
  remoteDiscriminator: 0,
  remoteMinRxUs: 1,
  remoteMinTxUs: 0,
  remoteMultiplier: 0,
  remoteDemand: false,
  lastReceivedMs: undefined,
} as const satisfies Partial<BfdSessionVariables>;

/** The agreed interval between our packets, before jitter (section 6.8.2). */
export function transmitIntervalUs(session: BfdSessionVariables): number {
  return Math.max(session.transmitMinUs, session.remoteMinRxUs);
}

/** After how long a silence the peer is lost (section 6.8.4). 0 while nothing was heard. */
export function detectionTimeUs(session: BfdSessionVariables): number {
  return session.remoteMultiplier * Math.max(session.receiveMinUs, session.remoteMinTxUs);
}

/** How long the peer, as far as we know it, waits for us. */
export function remoteDetectionTimeUs(session: BfdSessionVariables): number {
  return session.timers.detectMultiplier * transmitIntervalUs(session);
}

/** When the next packet is due; undefined while none may be sent (section 6.8.7), -Infinity when none ever was. */
export function transmitDueMs(session: BfdSessionVariables): number | undefined {
  const periodic = periodicDueMs(session);
  if (!session.unsaid) return periodic;
  const { lastSentMs = Number.NEGATIVE_INFINITY } = session;
  return Math.min(lastSentMs + leastGapMs, periodic ?? Number.POSITIVE_INFINITY);
}

function periodicDueMs(session: BfdSessionVariables): number | undefined {
  if (session.remoteMinRxUs === 0) return undefined;
  const { remoteDemand, state, remoteState, poll } = session;
  if (remoteDemand && state === 'up' && remoteState === 'up' && poll === 'idle') return undefined;
  if (session.lastSentMs === undefined) return Number.NEGATIVE_INFINITY;
  // 75 to 100 % of the interval; with a multiplier of 1 at most 90 %, or a single packet in time could come too late.
  const widest = session.timers.detectMultiplier === 1 ? 0.15 : 0.25;
  const longest = session.timers.detectMultiplier === 1 ? 0.9 : 1;
  return session.lastSentMs + (transmitIntervalUs(session) / 1000) * (longest - widest * session.jitterFraction);
}

/** When the peer is lost unless it is heard; undefined while nothing was heard. */
export function detectionDueMs(session: BfdSessionVariables): number | undefined {
  return session.lastReceivedMs === undefined ? undefined : session.lastReceivedMs + detectionTimeUs(session) / 1000;
}

/** The packet that says what the session is now (section 6.8.7). */
export function packetOf(session: BfdSessionVariables, final: boolean): BfdPacket {
  return {
    state: session.state,
    diagnostic: session.diagnostic,
    poll: !final && session.poll !== 'idle',
    final,
    controlPlaneIndependent: false,
    demand: false,
    detectMultiplier: session.timers.detectMultiplier,
    myDiscriminator: session.localDiscriminator,
    yourDiscriminator: session.remoteDiscriminator,
    desiredMinTxUs: session.desiredMinTxUs,
    requiredMinRxUs: session.requiredMinRxUs,
    requiredMinEchoRxUs: 0,
  };
}
