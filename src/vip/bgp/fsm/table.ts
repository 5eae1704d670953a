/**
 * The finite state machine of one BGP connection, as a table: RFC 4271 section 8.2.2 with the numbers of its events.
 *
 * docs/vip-bgp-fsm.md shows the same table, and a test compares the two. Where it differs from the RFC:
 *
 * - a dial that fails in Connect leads to Active and not to Idle, so that a peer which is merely not up yet is not
 *   punished like one that misbehaves (the RFC does so only with DelayOpen, which this speaker does not have);
 * - a passive peer has no connect retry timer: it never dials;
 * - a NOTIFICATION is never answered with another, in whatever state it comes;
 * - state machine errors carry the subcodes of RFC 6608;
 * - peer oscillation is always damped: `damp` keeps the peer Idle for a time that grows from failure to failure. The
 *   loser of a collision is not damped, for nothing failed.
 *
 * Each peer has one such machine for the connection that it dials, and one for a connection that the peer dialled.
 */

export type BgpFsmState = 'idle' | 'connect' | 'active' | 'open-sent' | 'open-confirm' | 'established';

/** What can happen, with the RFC's number. */
export const fsmEventNumbers = Object.freeze({
  /** ManualStart, AutomaticStart. */
  start: 1,
  stop: 2,
  'start-passive': 4,
  /** AutomaticStart_with_DampPeerOscillations: the idle hold time is over. */
  restart: 6,
  'restart-passive': 7,
  /** AutomaticStop: the system itself ends the session, saying why. */
  'automatic-stop': 8,
  'connect-retry-expires': 9,
  'hold-expires': 10,
  'keepalive-expires': 11,
  /** Tcp_CR_Acked, and TcpConnectionConfirmed of a connection that the peer dialled. */
  'tcp-established': 16,
  'tcp-fails': 18,
  'open-received': 19,
  'header-error': 21,
  'open-error': 22,
  'collision-dump': 23,
  'notification-version-error': 24,
  'notification-received': 25,
  'keepalive-received': 26,
  'update-received': 27,
  'update-error': 28,
  /** RFC 2918; the RFC of the machine does not number it. */
  'refresh-received': 0,
});

export type BgpFsmEventType = keyof typeof fsmEventNumbers;

/** What is done on the way, in this order. */
export type BgpFsmAction =
  | 'start-connect-retry'
  | 'dial'
  | 'send-open'
  | 'start-large-hold'
  /** Hold and keepalive timers with the negotiated times. */
  | 'start-session-timers'
  | 'send-keepalive'
  | 'restart-keepalive'
  | 'restart-hold'
  /** The NOTIFICATION of the row, or the one that the event brings. */
  | 'notify'
  | 'stop-timers'
  | 'drop-connection'
  | 'reset-retry-counter'
  | 'count-retry'
  | 'damp'
  | 'session-up'
  | 'session-down'
  | 'deliver'
  | 'resend-routes';

export interface BgpFsmTransition {
  readonly next: BgpFsmState;
  readonly actions: readonly BgpFsmAction[];
  /** Code and subcode that `notify` sends; without it the event brings its own. */
  readonly notification?: readonly [number, number];
}

type Row = Readonly<Partial<Record<BgpFsmEventType, BgpFsmTransition>>>;

const to = (next: BgpFsmState, ...actions: readonly BgpFsmAction[]): BgpFsmTransition => ({ next, actions });

const quietly = to('idle', 'stop-timers', 'drop-connection', 'reset-retry-counter');
const failing = to('idle', 'stop-timers', 'drop-connection', 'count-retry', 'damp');

/** Says why, then fails. */
const notifying = (code?: number, subcode = 0): BgpFsmTransition => ({
  ...to('idle', 'notify', ...failing.actions),
  ...(code === undefined ? {} : { notification: [code, subcode] as const }),
});

const stopping = to('idle', 'notify', ...quietly.actions);
const dumped: BgpFsmTransition = {
  ...to('idle', 'notify', 'stop-timers', 'drop-connection', 'count-retry'),
  notification: [6, 7],
};

/** Established ends: the routes' side hears of it first. */
const ending = (transition: BgpFsmTransition): BgpFsmTransition => ({
  ...transition,
  actions: ['session-down', ...transition.actions],
});

const dialling = to('connect', 'start-connect-retry', 'dial');
const opening = to('open-sent', 'stop-timers', 'send-open', 'start-large-hold');

/** An event that is missing from a row does nothing there. */
export const fsmTable: Readonly<Record<BgpFsmState, Row>> = Object.freeze({
  idle: {
    start: to('connect', 'reset-retry-counter', ...dialling.actions),
    'start-passive': to('active', 'reset-retry-counter'),
    restart: dialling,
    'restart-passive': to('active'),
    'tcp-established': to('idle', 'drop-connection'),
  },
  connect: {
    stop: quietly,
    'automatic-stop': failing,
    'connect-retry-expires': to('connect', 'drop-connection', ...dialling.actions),
    'tcp-established': opening,
    'tcp-fails': to('active', 'drop-connection', 'start-connect-retry'),
    'collision-dump': quietly,
  },
  active: {
    stop: quietly,
    'automatic-stop': failing,
    'connect-retry-expires': dialling,
    'tcp-established': opening,
    'collision-dump': quietly,
  },
  'open-sent': {
    stop: stopping,
    'automatic-stop': notifying(),
    'hold-expires': notifying(4),
    'tcp-fails': to('active', 'stop-timers', 'drop-connection', 'start-connect-retry'),
    'open-received': to('open-confirm', 'stop-timers', 'send-keepalive', 'start-session-timers'),
    'header-error': notifying(),
    'open-error': notifying(),
    'update-error': notifying(5, 1),
    'collision-dump': dumped,
    'notification-version-error': failing,
    'notification-received': failing,
    'keepalive-received': notifying(5, 1),
    'update-received': notifying(5, 1),
    'refresh-received': notifying(5, 1),
  },
  'open-confirm': {
    stop: stopping,
    'automatic-stop': notifying(),
    'hold-expires': notifying(4),
    'keepalive-expires': to('open-confirm', 'send-keepalive', 'restart-keepalive'),
    'tcp-fails': failing,
    'open-received': notifying(5, 2),
    'header-error': notifying(),
    'open-error': notifying(),
    'update-error': notifying(5, 2),
    'collision-dump': dumped,
    'notification-version-error': failing,
    'notification-received': failing,
    'keepalive-received': to('established', 'restart-hold', 'session-up'),
    'update-received': notifying(5, 2),
    'refresh-received': notifying(5, 2),
  },
  established: {
    stop: ending(stopping),
    'automatic-stop': ending(notifying()),
    'hold-expires': ending(notifying(4)),
    'keepalive-expires': to('established', 'send-keepalive', 'restart-keepalive'),
    'tcp-fails': ending(failing),
    'open-received': ending(notifying(5, 3)),
    'header-error': ending(notifying()),
    'open-error': ending(notifying(5, 3)),
    'update-error': ending(notifying()),
    'collision-dump': ending(dumped),
    'notification-version-error': ending(failing),
    'notification-received': ending(failing),
    'keepalive-received': to('established', 'restart-hold'),
    'update-received': to('established', 'restart-hold', 'deliver'),
    'refresh-received': to('established', 'resend-routes'),
  },
});
