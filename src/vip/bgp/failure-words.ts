import { describeError, formatSocketAddress } from '../../core/index.js';
import { isSystemError } from '../../internal/native/errors.js';
import type { VipErrorCode } from '../errors.js';
import { describeNotification } from './codec/notification.js';
import type { BgpNotification } from './codec/notification.js';
import type { ResolvedPeer } from './peer-options.js';
import type { TcpHints } from './transport/transport.js';

/** What an operator reads about a session that does not come up, or went down. */
export interface BgpFailure {
  readonly code: VipErrorCode;
  readonly message: string;
}

export function failure(code: VipErrorCode, message: string): BgpFailure {
  return { code, message };
}

/** Nothing came back at all. The kernel enforces passwords and TTLs in silence; its counters are the only trace. */
export function connectTimedOut(
  peer: ResolvedPeer,
  waitedMs: number,
  before: TcpHints | undefined,
  after: TcpHints | undefined,
): BgpFailure {
  const { port, password, minTtl } = peer.session;
  const silence = `peer ${peer.name}: no answer from ${formatSocketAddress({ ip: peer.address, port })} within ${seconds(waitedMs)}`;
  return failure(
    'VIP_BGP_CONNECT_TIMEOUT',
    `${silence}; ${silenceHint(password !== undefined, minTtl, before, after)}`,
  );
}

/** TCP is up, yet nothing is said: the way a TTL that is too low looks where only the listening socket sends a high one. */
export function openTimedOut(
  peer: ResolvedPeer,
  before: TcpHints | undefined,
  after: TcpHints | undefined,
): BgpFailure {
  const { password, minTtl } = peer.session;
  return failure(
    'VIP_BGP_HOLD_TIMER_EXPIRED',
    `peer ${peer.name}: connected, but no OPEN came; ${silenceHint(password !== undefined, minTtl, before, after)}`,
  );
}

function silenceHint(
  hasPassword: boolean,
  minTtl: number | undefined,
  before: TcpHints | undefined,
  after: TcpHints | undefined,
): string {
  const ttlDrops = (after?.ttlDrops ?? 0) - (before?.ttlDrops ?? 0);
  if (minTtl !== undefined && ttlDrops > 0) {
    return (
      `the kernel dropped ${String(ttlDrops)} packets with a TTL below ${String(minTtl)}: ` +
      'turn on TTL security (GTSM) at the peer too, or raise `ttlSecurity` to the number of hops'
    );
  }
  const md5Failures = (after?.md5Failures ?? 0) - (before?.md5Failures ?? 0);
  if (md5Failures > 0) {
    return (
      `the kernel dropped ${String(md5Failures)} segments for a wrong, missing or unexpected MD5 signature: ` +
      'check `password` on both sides'
    );
  }
  const suspects = [
    hasPassword
      ? 'check the password on both sides (a wrong one is met with silence)'
      : 'check whether the peer wants a password',
    minTtl === undefined ? 'whether it wants TTL security (GTSM)' : 'that TTL security (GTSM) is on at both sides',
    'the path and firewalls',
  ];
  return suspects.join(', ');
}

export function connectFailed(peer: ResolvedPeer, error: Error): BgpFailure {
  const { port, localAddress, ttl } = peer.session;
  const where = `peer ${peer.name}: cannot connect to ${formatSocketAddress({ ip: peer.address, port })}`;
  const why = (text: string): BgpFailure =>
    failure('VIP_BGP_CONNECT_FAILED', `${where}: ${text} (${describeError(error)})`);
  if (isSystemError(error, 'ECONNREFUSED')) return why('nothing listens there, or a firewall rejects it');
  if (isSystemError(error, 'EHOSTUNREACH', 'ENETUNREACH')) {
    return why(
      ttl === 1 ? 'unreachable; if the peer is more than one hop away, set `multihop`' : 'there is no way to it',
    );
  }
  if (isSystemError(error, 'EADDRNOTAVAIL'))
    return why(`${localAddress ?? 'the local address'} is no address of this host`);
  if (isSystemError(error, 'ECONNRESET'))
    return why('the peer closed it at once; it may not know this speaker as a neighbour');
  return why('the attempt failed');
}

/** The connection ended without a word. */
export function connectionLost(peer: ResolvedPeer, established: boolean, error: Error | undefined): BgpFailure {
  const detail = error === undefined ? 'it closed the connection' : `the connection broke (${describeError(error)})`;
  const advice = established
    ? 'it may have crashed or been restarted'
    : 'it may not have this address as a neighbour' +
      (peer.session.minTtl === undefined ? ', or want TTL security (GTSM), which is off here' : '');
  return failure('VIP_BGP_CONNECTION_LOST', `peer ${peer.name}: ${detail} without a NOTIFICATION; ${advice}`);
}

export function holdTimeExpired(peer: ResolvedPeer, holdTimeMs: number): BgpFailure {
  return failure(
    'VIP_BGP_HOLD_TIMER_EXPIRED',
    `peer ${peer.name}: nothing heard for the hold time of ${seconds(holdTimeMs)}`,
  );
}

export function sendStalled(peer: ResolvedPeer, forMs: number): BgpFailure {
  return failure(
    'VIP_BGP_HOLD_TIMER_EXPIRED',
    `peer ${peer.name}: it has taken nothing of what was sent for ${seconds(forMs)}, though the connection stands`,
  );
}

/** What the peer said, and what it usually means for the settings here. */
export function notificationReceived(peer: ResolvedPeer, from: BgpNotification, localAs: number): BgpFailure {
  const hint = notificationHint(from, peer, localAs);
  const said = `peer ${peer.name} ended the session: ${describeNotification(from)}`;
  return failure('VIP_BGP_NOTIFICATION_RECEIVED', hint === undefined ? said : `${said}; ${hint}`);
}

function notificationHint(from: BgpNotification, peer: ResolvedPeer, localAs: number): string | undefined {
  switch (`${String(from.code)}/${String(from.subcode)}`) {
    case '2/2':
      return `it expects another AS than ${String(localAs)}, which this speaker is`;
    case '2/3':
      return 'it does not accept the router ID of this speaker';
    case '2/6':
      return `it does not accept the hold time of ${String(peer.session.holdTimeSeconds)} s`;
    case '2/7':
      return `it lacks an address family that it wants; this speaker offers ${peer.session.families.join(', ')}`;
    case '4/0':
      return 'it heard nothing from this speaker for the hold time';
    case '6/1':
      return 'this speaker announces more than its limit allows';
    case '6/3':
    case '6/5':
      return 'it does not have this speaker as a neighbour, or not now';
    default:
      return undefined;
  }
}

function seconds(ms: number): string {
  return `${String(Math.round(ms / 100) / 10)} s`;
}
