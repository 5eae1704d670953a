import { describeError } from '../../core/index.js';
import type { Clock, Random, Timer } from '../../core/index.js';
import { isSystemError } from '../../internal/native/errors.js';
import type { BfdChannel, BfdDatagram, BfdNetwork } from './network.js';
import { encodeBfdPacket } from './packet.js';
import type { BfdPacket } from './packet.js';
import { detectionDueMs, newSession, remoteDetectionTimeUs } from './session.js';
import type { BfdSessionVariables, BfdTimers } from './session.js';
import { changeTimers, disable, dueMs, passTime, receivePacket } from './session-steps.js';
import type { BfdStep, Moment } from './session-steps.js';
import { leastTtlOf, transportsOf } from './settings.js';
import type { BfdSettings, BfdTransport } from './settings.js';
import { sameStatus, statusOf } from './status.js';
import type { BfdStatus } from './status.js';

const reopenAfterMs = 1000;
/** A good-bye takes no longer, however patient the peer is. */
const longestLingerMs = 5000;
/** So many sends refused in a row, and the sockets are made anew: the interface may have been. */
const refusalsBeforeReopening = 3;

/** Why a packet that was decoded is not taken by the session it seems to belong to. */
export type BfdSessionRefusal = 'address-mismatch' | 'interface-mismatch' | 'transport-mismatch' | 'ttl-too-low';

export interface SessionRunnerOptions {
  readonly settings: BfdSettings;
  readonly localDiscriminator: number;
  readonly network: BfdNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly onStatus: (status: BfdStatus) => void;
  /** Once, when it has ended: its sockets are closed. */
  readonly onStopped: () => void;
}

/** One session with its sockets and its timer: feeds moments and packets to the pure steps, and sends what they give. */
export class SessionRunner {
  readonly settings: BfdSettings;
  readonly localDiscriminator: number;
  readonly #options: SessionRunnerOptions;
  #session: BfdSessionVariables;
  #status: BfdStatus;
  #channel: BfdChannel | undefined;
  /** What the peer uses, once it was heard; for a fixed mode that one. */
  #transport: BfdTransport | undefined;
  #problem: string | undefined;
  #refusals = 0;
  #probes = 0;
  #timer: Timer | undefined;
  #reopening: Timer | undefined;
  #lingering: Timer | undefined;
  #stopped = false;

  constructor(options: SessionRunnerOptions) {
    this.#options = options;
    this.settings = options.settings;
    this.localDiscriminator = options.localDiscriminator;
    this.#transport = fixedTransport(options.settings);
    this.#session = newSession(options.localDiscriminator, options.settings.timers, options.random.fraction());
    this.#status = statusOf(this.#session, this.#transport, undefined);
  }

  /** Opens the sockets (or says in the status why not, and tries on) and sends the first packet. */
  start(): void {
    this.#open();
    this.#status = statusOf(this.#session, this.#transport, this.#problem);
    this.#options.onStatus(this.#status);
    this.#take(passTime(this.#session, this.#moment()));
  }

  /** Why a datagram cannot be of this session; undefined when it can. */
  refusalOf(datagram: BfdDatagram): BfdSessionRefusal | undefined {
    const { settings } = this;
    if (datagram.source !== settings.peer || datagram.local !== settings.local) return 'address-mismatch';
    if (!transportsOf(settings).includes(datagram.transport)) return 'transport-mismatch';
    if (datagram.ttl === undefined || datagram.ttl < leastTtlOf(settings, datagram.transport)) return 'ttl-too-low';
    if (settings.interfaceName !== undefined && datagram.interfaceIndex !== this.#channel?.interfaceIndex) {
      return 'interface-mismatch';
    }
    return undefined;
  }

  /** A packet of this session, which came by `transport`. */
  receive(packet: BfdPacket, transport: BfdTransport): void {
    this.#transport ??= transport;
    this.#take(receivePacket(this.#session, packet, this.#moment()));
    // A peer that knows need not be told again.
    if (this.#lingering !== undefined && packet.state !== 'up' && packet.state !== 'init') this.stop();
  }

  changeTimers(timers: BfdTimers): void {
    this.#take(changeTimers(this.#session, timers, this.#moment()));
  }

  /** Tells the peer that this is no failure, and goes on telling for as long as the peer may need; then it stops. */
  shutDown(): void {
    if (this.#stopped || this.#lingering !== undefined) return;
    const knowsPeer = this.#session.remoteDiscriminator !== 0;
    const lingerMs = knowsPeer ? Math.min(longestLingerMs, remoteDetectionTimeUs(this.#session) / 1000) : 0;
    this.#lingering = this.#options.clock.timer(lingerMs, () => this.stop());
    this.#take(disable(this.#session, this.#moment()));
  }

  /** Ends it now, without a word to the peer that was not sent yet. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    this.#reopening?.cancel();
    this.#lingering?.cancel();
    this.#channel?.close();
    this.#channel = undefined;
    this.#options.onStopped();
  }

  #moment(): Moment {
    return { nowMs: this.#options.clock.monotonicMs(), fraction: this.#options.random.fraction() };
  }

  #take(step: BfdStep): void {
    if (this.#stopped) return;
    this.#session = step.session;
    for (const packet of step.packets) this.#send(packet);
    if (step.session.remoteDiscriminator === 0) this.#transport = fixedTransport(this.settings);
    this.#arm();
    this.#report();
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const due = dueMs(this.#session);
    if (due === undefined) return;
    const delayMs = Math.max(0, Math.ceil(due - this.#options.clock.monotonicMs()));
    this.#timer = this.#options.clock.timer(delayMs, () => this.#wake());
  }

  #wake(): void {
    const due = detectionDueMs(this.#session);
    // This thread may have been kept waiting while the peer was not: what it sent meanwhile is read before it is judged.
    if (due !== undefined && due <= this.#options.clock.monotonicMs()) this.#options.network.drain();
    this.#take(passTime(this.#session, this.#moment()));
  }

  #report(): void {
    const status = statusOf(this.#session, this.#transport, this.#problem);
    if (sameStatus(status, this.#status)) return;
    this.#status = status;
    this.#options.onStatus(status);
  }

  #open(): void {
    this.#reopening = undefined;
    this.#refusals = 0;
    try {
      this.#channel = this.#options.network.open(this.settings);
      this.#problem = undefined;
    } catch (error) {
      this.#problem = openingProblem(error, this.settings);
      this.#reopenLater();
    }
  }

  #reopenLater(): void {
    this.#channel?.close();
    this.#channel = undefined;
    this.#reopening ??= this.#options.clock.timer(reopenAfterMs, () => {
      this.#open();
      this.#report();
    });
  }

  #send(packet: BfdPacket): void {
    if (this.#channel === undefined) return;
    try {
      this.#channel.send(encodeBfdPacket(packet), this.#transport ?? this.#nextProbe());
      this.#refusals = 0;
      this.#problem = undefined;
    } catch (error) {
      this.#problem = `packets to ${this.settings.peer} cannot be sent: ${describeError(error)}`;
      this.#refusals += 1;
      if (this.#refusals >= refusalsBeforeReopening) this.#reopenLater();
    }
  }

  /** `auto`, and the peer silent: it may itself wait to be spoken to, on either port. */
  #nextProbe(): BfdTransport {
    this.#probes += 1;
    return this.#probes % 2 === 1 ? 'single-hop' : 'multihop';
  }
}

function fixedTransport(settings: BfdSettings): BfdTransport | undefined {
  return settings.mode === 'auto' ? undefined : settings.mode;
}

function openingProblem(error: unknown, settings: BfdSettings): string {
  const what = `no BFD socket on ${settings.local}${settings.interfaceName === undefined ? '' : ` (${settings.interfaceName})`}`;
  if (isSystemError(error, 'EADDRINUSE')) return `${what}: the port is taken, probably by another BFD program`;
  if (isSystemError(error, 'EADDRNOTAVAIL')) return `${what}: this machine has no such address (yet)`;
  if (isSystemError(error, 'ENODEV')) return `${what}: there is no such interface`;
  return `${what}: ${describeError(error)}`;
}
