import type { BgpFamily } from './codec/constants.js';
import type { BgpFailure } from './failure-words.js';
import type { BgpFsmState } from './fsm/table.js';
import type { PeerHistory } from './peer-history.js';
import type { ResolvedPeer } from './peer-options.js';
import type { BgpNotAnnounced } from './policy.js';
import type { BgpSession } from './session.js';

/** Of every peer, whatever it is doing. Times are wall times in ms. */
interface BgpPeerCommon {
  readonly address: string;
  readonly name: string;
  readonly description?: string | undefined;
  readonly remoteAs: number;
  /** When it came into this state. */
  readonly since: number;
  /** How many sessions were Established so far. */
  readonly sessions: number;
  /** Failures since the last session, or since the start. */
  readonly failures: number;
  /** What went wrong last, in words; kept after it has passed. */
  readonly lastError?: (BgpFailure & { readonly at: number }) | undefined;
  /** Why the last session ended, where it did not end on purpose. */
  readonly sessionEnd?: (BgpFailure & { readonly at: number }) | undefined;
}

/** A peer as it is, by the state of its most advanced connection. */
export type BgpPeerState = BgpPeerCommon &
  (
    | {
        readonly state: 'idle';
        /** `hold`: something failed, and it is tried again at `retryAt`. */
        readonly why: 'stopped' | 'hold';
        readonly retryAt?: number | undefined;
      }
    | { readonly state: 'connect' | 'active' | 'open-sent' | 'open-confirm' }
    | {
        readonly state: 'established';
        readonly localAddress: string;
        readonly remoteRouterId: string;
        readonly initiatedBy: 'us' | 'peer';
        readonly holdTimeMs: number;
        readonly keepaliveMs: number;
        readonly families: readonly BgpFamily[];
        /** The peer keeps our routes for this long when the session breaks; undefined without graceful restart. */
        readonly restartTimeSeconds?: number | undefined;
        /** Routes that the peer has from us. */
        readonly announced: number;
        /** Routes that the peer should have and cannot, for want of a next hop of their family or of the family; absent without. */
        readonly leftOut?: readonly { readonly prefix: string; readonly why: BgpNotAnnounced }[] | undefined;
        /** Networks that the peer announced and withdrew in this session; none is kept. */
        readonly received: { readonly announcements: number; readonly withdrawals: number };
        /** Families that the peer said it has sent in full. */
        readonly endOfRibFrom: readonly BgpFamily[];
      }
  );

/** What a peer's state is made of. */
export interface PeerFacts {
  readonly config: ResolvedPeer;
  readonly shown: BgpFsmState;
  readonly since: number;
  readonly history: PeerHistory;
  readonly heldUntil: number | undefined;
  readonly session: BgpSession | undefined;
  readonly ownRestartTimeSeconds: number | undefined;
}

export function describePeer(facts: PeerFacts): BgpPeerState {
  const { config, shown, since, history, heldUntil, session } = facts;
  const common: BgpPeerCommon = {
    address: config.address,
    name: config.name,
    ...(config.description === undefined ? {} : { description: config.description }),
    remoteAs: config.session.remoteAs,
    since,
    sessions: history.sessions,
    failures: history.failures,
    ...(history.lastError === undefined ? {} : { lastError: history.lastError }),
    ...(history.sessionEnd === undefined ? {} : { sessionEnd: history.sessionEnd }),
  };
  if (shown === 'idle') {
    return heldUntil === undefined
      ? { ...common, state: 'idle', why: 'stopped' }
      : { ...common, state: 'idle', why: 'hold', retryAt: heldUntil };
  }
  // For a moment the machine is there and the session is not yet, or not any more.
  if (shown !== 'established' || session === undefined) {
    return { ...common, state: shown === 'established' ? 'open-confirm' : shown };
  }
  const { remoteRouterId, holdTimeMs, keepaliveMs, families, gracefulRestart } = session.negotiated;
  const { announcements, withdrawals, endOfRibFrom } = session.received;
  const { ownRestartTimeSeconds } = facts;
  return {
    ...common,
    state: 'established',
    localAddress: session.localAddress,
    remoteRouterId,
    initiatedBy: session.link.direction === 'outgoing' ? 'us' : 'peer',
    holdTimeMs,
    keepaliveMs,
    families,
    ...(gracefulRestart === undefined || ownRestartTimeSeconds === undefined
      ? {}
      : { restartTimeSeconds: ownRestartTimeSeconds }),
    announced: session.announced,
    ...(session.leftOut.length === 0 ? {} : { leftOut: session.leftOut }),
    received: { announcements, withdrawals },
    endOfRibFrom: [...endOfRibFrom],
  };
}
