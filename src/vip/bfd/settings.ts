import { CoreError, ipFamily, parseIp } from '../../core/index.js';
import { VipError } from '../errors.js';
import type { BfdTimers } from './session.js';

/** Which packets a session sends and takes: UDP 3784 (RFC 5881), UDP 4784 (RFC 5883), or whichever the peer uses. */
export type BfdMode = 'single-hop' | 'multihop' | 'auto';

/** The two ways of RFC 5881 and RFC 5883; they differ in the port and in what TTL is taken. */
export type BfdTransport = 'single-hop' | 'multihop';

/** How often, and how long without an answer. */
export interface BfdTimerOptions {
  /** The interval at which we would send, 10 to 60,000. Default 300. The slower of both sides' wishes counts. */
  readonly txIntervalMs?: number | undefined;
  /** The least interval between the peer's packets that we bear, 10 to 60,000. Default 300. */
  readonly rxIntervalMs?: number | undefined;
  /** How many intervals the peer waits for us, 1 to 255. Default 3. The peer's own decides how long we wait for it. */
  readonly multiplier?: number | undefined;
}

export interface BfdSessionOptions extends BfdTimerOptions {
  readonly peer: string;
  /** An address of this machine, of the same family: packets come from it, and only those sent to it are taken. */
  readonly local: string;
  /** Send and take packets on this interface only. Required for link-local addresses. */
  readonly interface?: string | undefined;
  /** Default `auto`. */
  readonly mode?: BfdMode | undefined;
  /**
   * Packets on UDP 4784 that arrive with less are dropped, 1 to 255. Default 255 for `auto` (the peer is a neighbour), 1 for
   * `multihop`. On UDP 3784 it is always 255.
   */
  readonly minTtl?: number | undefined;
}

/** Options with defaults, canonical; safe to send to another thread. */
export interface BfdSettings {
  readonly peer: string;
  readonly local: string;
  readonly interfaceName: string | undefined;
  readonly mode: BfdMode;
  readonly minTtl: number;
  readonly timers: BfdTimers;
}

const defaults = { txIntervalMs: 300, rxIntervalMs: 300, multiplier: 3 };

/** Throws `CORE_OPTION_INVALID`, `CORE_ADDRESS_MALFORMED`, `VIP_CONFIGURATION_INVALID`. */
export function resolveBfdSettings(options: BfdSessionOptions): BfdSettings {
  const { mode = 'auto', interface: interfaceName } = options;
  const peer = parseIp(options.peer);
  const local = parseIp(options.local);
  if (ipFamily(peer) !== ipFamily(local) || peer === local) {
    throw new VipError(
      'VIP_CONFIGURATION_INVALID',
      `a BFD session joins two addresses of one family, got local ${local} and peer ${peer}`,
    );
  }
  if (!['single-hop', 'multihop', 'auto'].includes(mode)) {
    throw new CoreError(
      'CORE_OPTION_INVALID',
      `mode: expected single-hop, multihop or auto, got ${JSON.stringify(mode)}`,
    );
  }
  if (interfaceName !== undefined && !/^[^\s/]{1,15}$/.test(interfaceName)) {
    throw new CoreError(
      'CORE_OPTION_INVALID',
      `interface: expected a device name of 1 to 15 characters, got ${JSON.stringify(interfaceName)}`,
    );
  }
  if (interfaceName === undefined && (isLinkLocal(peer) || isLinkLocal(local))) {
    throw new VipError('VIP_CONFIGURATION_INVALID', `a BFD session with the link-local ${peer} needs an interface`);
  }
  return Object.freeze({
    peer,
    local,
    interfaceName,
    mode,
    minTtl: integer('minTtl', options.minTtl ?? (mode === 'multihop' ? 1 : 255), 1, 255),
    timers: resolveBfdTimers(options),
  });
}

/** Throws `CORE_OPTION_INVALID`. */
export function resolveBfdTimers(options: BfdTimerOptions): BfdTimers {
  const { txIntervalMs, rxIntervalMs, multiplier } = options;
  return Object.freeze({
    desiredMinTxUs: 1000 * integer('txIntervalMs', txIntervalMs ?? defaults.txIntervalMs, 10, 60_000),
    requiredMinRxUs: 1000 * integer('rxIntervalMs', rxIntervalMs ?? defaults.rxIntervalMs, 10, 60_000),
    detectMultiplier: integer('multiplier', multiplier ?? defaults.multiplier, 1, 255),
  });
}

/** What a session listens on. */
export function transportsOf(settings: BfdSettings): readonly BfdTransport[] {
  return settings.mode === 'auto' ? ['single-hop', 'multihop'] : [settings.mode];
}

/** What a packet must still have (RFC 5881 section 5: 255 on a single hop). */
export function leastTtlOf(settings: BfdSettings, transport: BfdTransport): number {
  return transport === 'single-hop' ? 255 : settings.minTtl;
}

/** Whether a packet without discriminator could be of either. */
export function sameSession(a: BfdSettings, b: BfdSettings): boolean {
  if (a.peer !== b.peer || a.local !== b.local) return false;
  if (a.interfaceName !== undefined && b.interfaceName !== undefined && a.interfaceName !== b.interfaceName)
    return false;
  return transportsOf(a).some((transport) => transportsOf(b).includes(transport));
}

export function isLinkLocal(ip: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(ip);
}

function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new CoreError(
    'CORE_OPTION_INVALID',
    `${name}: expected an integer from ${String(least)} to ${String(most)}, got ${String(value)}`,
  );
}
