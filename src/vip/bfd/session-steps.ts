/**
 * What changes a BFD session (RFC 5880 sections 6.2, 6.5 and 6.8): a packet, time, and the operator. Pure: each step takes a
 * session and gives the next one with the packets to send. Nothing here reads a clock or a socket.
 *
 * ```text
 *              received:   admin-down     down         init         up        silence
 *   down                   -              init         up           -         (peer forgotten)
 *   init                   down (3)       -            up           up        down (1)
 *   up                     down (3)       down (3)     -            -         down (1)
 *   admin-down             everything is ignored until the operator ends it (then down)
 * ```
 *
 * In parentheses the diagnostic code. A change of state is sent at once, not with the next periodic packet.
 */
import { diagnosticCode } from './diagnostic.js';
import type { BfdPacket, BfdState } from './packet.js';
import { detectionDueMs, packetOf, slowIntervalUs, transmitDueMs, unknownPeer } from './session.js';
import type { BfdSessionVariables, BfdTimers } from './session.js';

/** The moment of a step. */
export interface Moment {
  /** Monotonic. */
  readonly nowMs: number;
  /** For jitter, from [0, 1). */
  readonly fraction: number;
}

export interface BfdStep {
  readonly session: BfdSessionVariables;
  readonly packets: readonly BfdPacket[];
}

/** A packet that was decoded and found to be of this session. */
export function receivePacket(before: BfdSessionVariables, packet: BfdPacket, moment: Moment): BfdStep {
  let session: BfdSessionVariables = {
    ...before,
    remoteState: packet.state,
    remoteDiagnostic: packet.diagnostic,
    remoteDiscriminator: packet.myDiscriminator,
    remoteDemand: packet.demand,
    remoteMinRxUs: packet.requiredMinRxUs,
    remoteMinTxUs: packet.desiredMinTxUs,
    remoteMultiplier: packet.detectMultiplier,
    lastReceivedMs: moment.nowMs,
  };
  if (packet.final) session = endPoll(session);
  if (session.state === 'admin-down') return { session, packets: [] };
  const next = nextState(session.state, packet.state);
  // Coming up clears what the last failure left, so that the peer is not told of it for ever.
  if (next === 'up') session = enter(session, 'up', diagnosticCode.none);
  else if (next === 'down') session = enter(session, 'down', diagnosticCode.neighbourSignalledDown);
  else if (next === 'init') session = enter(session, 'init', session.diagnostic);
  return send(before, session, packet.poll, moment);
}

/** Time has passed: sends what is due, and ends what was silent for too long. Call it no later than `dueMs` says. */
export function passTime(before: BfdSessionVariables, moment: Moment): BfdStep {
  let session = before;
  const detection = detectionDueMs(session);
  if (detection !== undefined && detection <= moment.nowMs) {
    session = commit({ ...session, ...unknownPeer, poll: 'idle' });
    if (session.state === 'init' || session.state === 'up') {
      session = enter(session, 'down', diagnosticCode.detectionTimeExpired);
    }
  }
  return send(before, session, false, moment);
}

/** When `passTime` has something to do; undefined: never, unless something else happens. */
export function dueMs(session: BfdSessionVariables): number | undefined {
  const transmit = transmitDueMs(session);
  const detection = detectionDueMs(session);
  if (transmit === undefined || detection === undefined) return transmit ?? detection;
  return Math.min(transmit, detection);
}

/** Other timers from now on; agreed with the peer by a poll sequence, so that neither side times out meanwhile. */
export function changeTimers(before: BfdSessionVariables, timers: BfdTimers, moment: Moment): BfdStep {
  return send(before, withIntervals({ ...before, timers }), false, moment);
}

/** The operator takes the session down; the peer is told that it is no failure. */
export function disable(before: BfdSessionVariables, moment: Moment): BfdStep {
  if (before.state === 'admin-down') return { session: before, packets: [] };
  return send(before, enter(before, 'admin-down', diagnosticCode.administrativelyDown), false, moment);
}

/** The operator lets it come up again. */
export function enable(before: BfdSessionVariables, moment: Moment): BfdStep {
  if (before.state !== 'admin-down') return { session: before, packets: [] };
  return send(before, enter(before, 'down', diagnosticCode.none), false, moment);
}

/** The state after a packet (section 6.8.6); undefined: the same. */
function nextState(own: BfdState, received: BfdState): BfdState | undefined {
  if (received === 'admin-down') return own === 'down' ? undefined : 'down';
  switch (own) {
    case 'down':
      if (received === 'down') return 'init';
      return received === 'init' ? 'up' : undefined;
    case 'init':
      return received === 'down' ? undefined : 'up';
    case 'up':
      return received === 'down' ? 'down' : undefined;
    case 'admin-down':
      return undefined;
  }
}

function enter(session: BfdSessionVariables, state: BfdState, diagnostic: number): BfdSessionVariables {
  return withIntervals({ ...session, state, diagnostic });
}

/** Section 6.8.3: which of the wanted intervals count already, and whether the peer must first agree. */
function withIntervals(session: BfdSessionVariables): BfdSessionVariables {
  const { timers, state } = session;
  const isUp = state === 'up';
  const desiredMinTxUs = isUp ? timers.desiredMinTxUs : Math.max(timers.desiredMinTxUs, slowIntervalUs);
  const { requiredMinRxUs } = timers;
  if (desiredMinTxUs === session.desiredMinTxUs && requiredMinRxUs === session.requiredMinRxUs) return session;
  const changed: BfdSessionVariables = {
    ...session,
    desiredMinTxUs,
    requiredMinRxUs,
    // Slower sending, and shorter patience, only once the peer knows.
    transmitMinUs: isUp ? Math.min(session.transmitMinUs, desiredMinTxUs) : desiredMinTxUs,
    receiveMinUs: isUp ? Math.max(session.receiveMinUs, requiredMinRxUs) : requiredMinRxUs,
  };
  if (session.remoteDiscriminator === 0) return changed;
  return { ...changed, poll: session.poll === 'idle' ? 'active' : 'restart' };
}

function endPoll(session: BfdSessionVariables): BfdSessionVariables {
  if (session.poll === 'restart') return { ...session, poll: 'active' };
  return session.poll === 'active' ? commit({ ...session, poll: 'idle' }) : session;
}

/** Everything that was announced counts from now on. */
function commit(session: BfdSessionVariables): BfdSessionVariables {
  return { ...session, transmitMinUs: session.desiredMinTxUs, receiveMinUs: session.requiredMinRxUs };
}

function send(before: BfdSessionVariables, after: BfdSessionVariables, polled: boolean, moment: Moment): BfdStep {
  const packets: BfdPacket[] = [];
  // Answers to a poll are not held back by any timer, and do not move one; they say all there is to say.
  if (polled) packets.push(packetOf(after, true));
  const session = { ...after, unsaid: !polled && (after.unsaid || saysOther(before, after)) };
  const due = transmitDueMs(session);
  if (due === undefined || due > moment.nowMs) return { session, packets };
  packets.push(packetOf(session, false));
  return {
    session: { ...session, lastSentMs: moment.nowMs, unsaid: false, jitterFraction: moment.fraction },
    packets,
  };
}

/** Whether the peer should hear of the difference before the next periodic packet. */
function saysOther(before: BfdSessionVariables, after: BfdSessionVariables): boolean {
  return (
    before.state !== after.state ||
    before.diagnostic !== after.diagnostic ||
    before.desiredMinTxUs !== after.desiredMinTxUs ||
    before.requiredMinRxUs !== after.requiredMinRxUs ||
    before.timers.detectMultiplier !== after.timers.detectMultiplier
  );
}
