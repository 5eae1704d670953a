import type { Clock, Random, Timer } from '../../core/index.js';
import type { BfdDatagram, BfdNetwork } from './network.js';
import { decodeBfdPacket } from './packet.js';
import type { BfdDecodeReason } from './packet.js';
import type { BfdTimers } from './session.js';
import { SessionRunner } from './session-runner.js';
import type { BfdSessionRefusal } from './session-runner.js';
import { sameSession } from './settings.js';
import type { BfdSettings } from './settings.js';
import type { BfdStatus } from './status.js';

/** Why a datagram was dropped. */
export type BfdRefusal =
  | BfdDecodeReason
  | BfdSessionRefusal
  /** It names a session that does not exist here. */
  | 'discriminator-unknown'
  /** It names none, and there is none with its sender. */
  | 'session-unknown'
  /** By the kernel: the TTL was too low (or there was no room to queue it). */
  | 'filtered';

export type BfdRefusals = Readonly<Partial<Record<BfdRefusal, number>>>;

export interface BfdEngineOptions {
  /** Made with the function that takes its datagrams. */
  readonly network: (onDatagram: (datagram: BfdDatagram) => void) => BfdNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly onStatus: (id: number, status: BfdStatus) => void;
  /** A session that was removed has said good-bye. */
  readonly onRemoved: (id: number) => void;
  /** Counts since the last call; at most once a second, however many there are. */
  readonly onRefusals: (refusals: BfdRefusals) => void;
}

const refusalReportMs = 1000;

/** All sessions of one thread, and which of them a datagram belongs to (RFC 5880 section 6.8.6, RFC 5881, RFC 5883). */
export class BfdEngine {
  readonly #options: BfdEngineOptions;
  readonly #network: BfdNetwork;
  readonly #sessions = new Map<number, SessionRunner>();
  readonly #byDiscriminator = new Map<number, SessionRunner>();
  #refusals = new Map<BfdRefusal, number>();
  #reporting: Timer | undefined;

  constructor(options: BfdEngineOptions) {
    this.#options = options;
    this.#network = options.network((datagram) => this.#receive(datagram));
    this.#reportLater();
  }

  /** Starts a session under a new `id`. One that is leaving and stands in its way leaves at once. */
  add(id: number, settings: BfdSettings): void {
    const { clock, random } = this.#options;
    const localDiscriminator = this.#freshDiscriminator();
    const session = new SessionRunner({
      settings,
      localDiscriminator,
      network: this.#network,
      clock,
      random,
      onStatus: (status) => this.#options.onStatus(id, status),
      onStopped: () => {
        this.#sessions.delete(id);
        this.#byDiscriminator.delete(localDiscriminator);
        this.#options.onRemoved(id);
      },
    });
    for (const other of [...this.#sessions.values()]) {
      if (sameSession(other.settings, settings)) other.stop();
    }
    this.#sessions.set(id, session);
    this.#byDiscriminator.set(localDiscriminator, session);
    session.start();
  }

  changeTimers(id: number, timers: BfdTimers): void {
    this.#sessions.get(id)?.changeTimers(timers);
  }

  /** Takes it down for good, administratively; `onRemoved` follows within the peer's detection time. */
  remove(id: number): void {
    this.#sessions.get(id)?.shutDown();
  }

  /** Ends everything now. */
  destroy(): void {
    this.#reporting?.cancel();
    for (const session of [...this.#sessions.values()]) session.stop();
    this.#network.close();
  }

  #receive(datagram: BfdDatagram): void {
    const decoded = decodeBfdPacket(datagram.bytes);
    if (!decoded.ok) {
      this.#refuse(decoded.reason);
      return;
    }
    const packet = decoded.value;
    const named = packet.yourDiscriminator !== 0;
    const session = named ? this.#byDiscriminator.get(packet.yourDiscriminator) : this.#findByAddress(datagram);
    if (session === undefined) {
      this.#refuse(named ? 'discriminator-unknown' : 'session-unknown');
      return;
    }
    const refusal = session.refusalOf(datagram);
    if (refusal === undefined) session.receive(packet, datagram.transport);
    else this.#refuse(refusal);
  }

  /** For a packet whose sender does not know our discriminator yet: a session that takes it, or else one with that peer. */
  #findByAddress(datagram: BfdDatagram): SessionRunner | undefined {
    let nearest: SessionRunner | undefined;
    for (const session of this.#sessions.values()) {
      if (session.settings.peer !== datagram.source || session.settings.local !== datagram.local) continue;
      if (session.refusalOf(datagram) === undefined) return session;
      nearest ??= session;
    }
    return nearest;
  }

  #freshDiscriminator(): number {
    for (;;) {
      const bytes = this.#options.random.bytes(4);
      const value = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      if (value !== 0 && !this.#byDiscriminator.has(value)) return value;
    }
  }

  #refuse(reason: BfdRefusal, count = 1): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + count);
  }

  #reportLater(): void {
    this.#reporting = this.#options.clock.timer(refusalReportMs, () => {
      const filtered = this.#network.takeFiltered();
      if (filtered > 0) this.#refuse('filtered', filtered);
      if (this.#refusals.size > 0) this.#options.onRefusals(Object.fromEntries(this.#refusals));
      this.#refusals = new Map();
      this.#reportLater();
    });
  }
}
