import { CoreError, LatestValueCell, describeError, notify } from '../../core/index.js';
import type { Closable, LatestValue } from '../../core/index.js';
import { isSystemError } from '../../internal/native/errors.js';
import { VipError } from '../errors.js';
import { Announcement } from './announcement.js';
import { claimableAddress } from './claimable-address.js';
import type { AnnounceReason, L2Event } from './events.js';
import { arpSettingFindings, isIpv6Router } from './host-settings.js';
import { Interests } from './interests.js';
import type { LinkState } from './link-state.js';
import type { AnnounceOptions, L2Announcement, L2LinkState, ProbeOptions } from './link-types.js';
import { resolveL2LinkOptions } from './options.js';
import type { L2LinkOptions, ResolvedL2LinkOptions } from './options.js';
import { PacedQueue } from './paced-queue.js';
import { Probe } from './probe.js';
import type { ProbeResult } from './probe.js';
import { announcementPackets, probePacket, readSighting } from './sighting.js';
import type { L2Protocol, OutgoingPacket } from './sighting.js';
import { resolveProbeTimings } from './timings.js';
import type { LinkTransport } from './transport.js';

const absent: L2LinkState = Object.freeze({ present: false, up: false, mac: undefined });

/**
 * Layer 2 of virtual IPs on one interface: whether anybody has an address, and telling everybody who does. ARP for IPv4
 * (RFC 826, 5227), neighbour discovery for IPv6 (RFC 4861, 4862).
 *
 * The address itself is put on the interface by the caller, before it is announced: the kernel then answers requests for
 * it. Works in the network namespace that the calling thread is in. Follows the interface as it goes down, up, away, and
 * comes again under the same name.
 *
 * ```ts
 * await using link = await L2Link.open({ interface: 'eth0' });
 * const result = await link.probe('192.0.2.10');
 * if (result.free) link.announce('192.0.2.10', { onConflict: ({ mac }) => console.log('also at', mac) });
 * ```
 *
 * Needs Linux, the native addon and CAP_NET_RAW. Not guaranteed: that a probe finds an owner which the network hides
 * (a partition, a switch port that does not forward yet); who owns an address is for a lease to say.
 */
export class L2Link implements Closable {
  readonly #options: ResolvedL2LinkOptions;
  readonly #state = new LatestValueCell<L2LinkState>(absent);
  readonly #interests: Interests;
  readonly #queue: PacedQueue;
  #transport: LinkTransport | undefined;
  #closed: CoreError | undefined;

  private constructor(options: ResolvedL2LinkOptions) {
    this.#options = options;
    this.#interests = new Interests(options.clock, (addresses) => this.#transport?.watch(addresses));
    this.#queue = new PacedQueue(options.clock, options.announce.perSecond);
  }

  /**
   * Opens the sockets. Throws `VIP_L2_INTERFACE_UNSUITABLE` (none of that name, or not Ethernet), `VIP_CAPABILITY_MISSING`,
   * `VIP_CONFIGURATION_INVALID`, `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`.
   */
  static async open(options: L2LinkOptions): Promise<L2Link> {
    const resolved = resolveL2LinkOptions(options);
    const { clock, interface: name, logger, maxPacketsPerSecond } = resolved;
    const link = new L2Link(resolved);
    const transport = await resolved.openTransport({
      ...{ interface: name, clock, logger, maxPacketsPerSecond },
      onState: (state) => link.#linkChanged(state),
      onPacket: (protocol, bytes, frameSource) => link.#receive(protocol, bytes, frameSource),
      onOverload: (dropped) => link.#notify({ type: 'vip.l2-overloaded', interface: name, dropped }),
    });
    if (transport.state?.isSuitable !== true) {
      transport[Symbol.dispose]();
      const what = transport.state === undefined ? 'there is none of that name' : 'it is no Ethernet, or does no ARP';
      throw new VipError(
        'VIP_L2_INTERFACE_UNSUITABLE',
        `expected ${name} to be an Ethernet interface of this network namespace: ${what}`,
        { fields: { interface: name } },
      );
    }
    link.#transport = transport;
    link.#linkChanged(transport.state);
    for (const finding of arpSettingFindings(name))
      logger.warn('a kernel setting makes virtual IPs unreliable on a machine with several interfaces', {
        ...{ interface: name, ...finding },
      });
    return link;
  }

  /** Name of the interface. */
  get interface(): string {
    return this.#options.interface;
  }

  get state(): LatestValue<L2LinkState> {
    return this.#state;
  }

  /**
   * Asks the link whether anybody has `ip` (not whether this machine has it). Of several that ask at the same time, at
   * most one is told that it is free.
   *
   * Throws `VIP_L2_LINK_DOWN` when that cannot be known: the interface is down or away, goes down meanwhile, or takes no
   * packet; `VIP_CONFIGURATION_INVALID` for what no single station can have; `CORE_CLOSED`.
   */
  async probe(ip: string, options: ProbeOptions = {}): Promise<ProbeResult> {
    const address = claimableAddress(ip);
    const { signal } = options;
    const { clock, random } = this.#options;
    const timings = options.timings === undefined ? this.#options.probe : resolveProbeTimings(options.timings);
    signal?.throwIfAborted();
    if (this.#closed !== undefined || !this.#state.current.up) throw this.#endOfProbe(address);
    const startedMs = clock.monotonicMs();
    const interest = this.#interests.at(address);
    let result: ProbeResult | undefined;
    try {
      result = await new Promise<ProbeResult>((resolve, reject) => {
        const onAbort = (): void => end(() => reject(signal?.reason as Error));
        const end = (settle: () => void): void => {
          probe.cancel();
          signal?.removeEventListener('abort', onAbort);
          interest.probes.delete(probe);
          settle();
        };
        const probe = new Probe({
          ...{ timings, clock, random },
          send: () => this.#sendProbe(address),
          onResult: (heard) => end(() => (heard === 'unheard' ? reject(this.#endOfProbe(address)) : resolve(heard))),
        });
        signal?.addEventListener('abort', onAbort, { once: true });
        interest.probes.add(probe);
        probe.start();
      });
      return result;
    } finally {
      this.#interests.release(address);
      this.#notify({
        type: 'vip.l2-probed',
        interface: this.interface,
        address,
        outcome: result === undefined ? 'aborted' : result.free ? 'free' : 'taken',
        ...(result?.free === false ? { mac: result.mac } : {}),
        durationMs: clock.monotonicMs() - startedMs,
      });
    }
  }

  /**
   * Tells the link that `ip` is here: now, a few times more, then slowly until `stop`; again when the link comes up or gets
   * another MAC address, and when another station claims `ip`. What cannot be sent is counted, and sent at its next turn.
   *
   * Throws `VIP_CONFIGURATION_INVALID` (no address of one station, or it is announced already), `CORE_CLOSED`.
   */
  announce(ip: string, options: AnnounceOptions): L2Announcement {
    const address = claimableAddress(ip);
    if (this.#closed !== undefined) throw this.#closed;
    const interest = this.#interests.at(address);
    if (interest.announcement !== undefined)
      throw new VipError('VIP_CONFIGURATION_INVALID', `${address} is announced on ${this.interface} already`);
    const { announce: timings, clock, logger, random } = this.#options;
    const about = { interface: this.interface, address };
    const announcement: Announcement = new Announcement({
      ...{ timings, clock, random },
      send: (reason) => this.#announce(announcement, address, reason, options.mayAnnounce),
      onConflict: (conflict) => this.#notify({ type: 'vip.l2-conflict', ...about, ...conflict }),
      onPersistentConflict: (conflict) => {
        logger.warn('another station uses a virtual IP that is announced here', { ...about, ...conflict });
        try {
          options.onConflict(conflict);
        } catch (error) {
          logger.error('the listener of address conflicts failed', { ...about, error: describeError(error) });
        }
      },
      onRateLimited: (reason) => this.#notify({ type: 'vip.l2-announcement-withheld', ...about, reason, why: 'rate' }),
    });
    interest.announcement = announcement;
    announcement.trigger('claim');
    const stop = (): void => {
      announcement.stop();
      this.#queue.withdraw(announcement);
      if (interest.announcement === announcement) interest.announcement = undefined;
      this.#interests.release(address);
    };
    return Object.freeze({
      ...{ address, stop, [Symbol.dispose]: stop },
      reannounce: () => announcement.trigger('requested'),
    });
  }

  /** Stops announcing, ends probes (they reject with `CORE_CLOSED`), and closes the sockets. Nothing has to drain. */
  close(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  destroy(reason?: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = new CoreError('CORE_CLOSED', `the link on ${this.interface} is closed`, { cause: reason });
    for (const { announcement, probes } of this.#interests.all) {
      announcement?.stop();
      for (const probe of [...probes]) probe.abandon();
    }
    this.#queue[Symbol.dispose]();
    this.#interests[Symbol.dispose]();
    this.#transport?.[Symbol.dispose]();
    this.#transport = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #linkChanged(link: LinkState | undefined): void {
    const before = this.#state.current;
    const now: L2LinkState =
      link?.isSuitable === true ? Object.freeze({ present: true, up: link.up, mac: link.mac }) : absent;
    if (now.present === before.present && now.up === before.up && now.mac === before.mac) return;
    this.#notify({ type: 'vip.l2-link', interface: this.interface, present: now.present, up: now.up });
    try {
      this.#state.set(now);
    } catch (error) {
      this.#options.logger.error('a listener of the state of a link failed', { error: describeError(error) });
    }
    for (const { announcement, probes } of this.#interests.all) {
      if (!now.up) for (const probe of [...probes]) probe.abandon();
      else announcement?.trigger('link-up');
    }
  }

  #receive(protocol: L2Protocol, bytes: Buffer, frameSource: Buffer): void {
    const own = this.#state.current.mac;
    const sighting = readSighting(protocol, bytes, frameSource);
    if (!sighting.ok) {
      const { reason } = sighting;
      this.#notify({ type: 'vip.l2-packet-refused', interface: this.interface, protocol, reason });
      return;
    }
    // Our own comes back where a network has a loop.
    if (sighting.value === undefined || sighting.value.mac === own) return;
    const interest = this.#interests.find(sighting.value.ip);
    if (interest === undefined) return;
    for (const probe of [...interest.probes]) probe.sighted(sighting.value);
    // To one who only asks, the kernel answers.
    if (sighting.value.kind === 'use') interest.announcement?.conflict(sighting.value.mac);
  }

  #sendProbe(address: string): boolean {
    const { mac, up } = this.#state.current;
    this.#interests.flush();
    return up && mac !== undefined && this.#send(probePacket(address, mac));
  }

  /** True when it goes out, at once or in its turn. */
  #announce(
    announcement: Announcement,
    address: string,
    reason: AnnounceReason,
    mayAnnounce: (() => boolean) | undefined,
  ): boolean {
    const about = { interface: this.interface, address, reason };
    const whyNot = (): 'link-down' | 'not-owner' | undefined =>
      !this.#state.current.up ? 'link-down' : saysYes(mayAnnounce) ? undefined : 'not-owner';
    const withhold = (why: 'link-down' | 'not-owner'): void =>
      this.#notify({ type: 'vip.l2-announcement-withheld', ...about, why });
    const refused = whyNot();
    if (refused !== undefined) {
      withhold(refused);
      return false;
    }
    this.#queue.submit(announcement, () => {
      // It may have waited.
      const why = whyNot();
      const { mac } = this.#state.current;
      if (why !== undefined || mac === undefined) {
        withhold(why ?? 'link-down');
        return;
      }
      const isRouter = address.includes(':') && isIpv6Router(this.interface);
      const sent = announcementPackets(address, mac, isRouter).map((packet) => this.#send(packet));
      if (sent.includes(true)) this.#notify({ type: 'vip.l2-announced', ...about });
      announcement.delivered(sent.includes(true));
    });
    return true;
  }

  #send(packet: OutgoingPacket): boolean {
    let error = 'EAGAIN';
    try {
      if (this.#transport?.send(packet) === true) return true;
    } catch (thrown) {
      if (!isSystemError(thrown)) throw thrown;
      error = thrown.code;
    }
    this.#notify({ type: 'vip.l2-send-failed', interface: this.interface, error });
    return false;
  }

  /** Why a probe has no answer. */
  #endOfProbe(address: string): CoreError | VipError {
    if (this.#closed !== undefined) return this.#closed;
    return new VipError(
      'VIP_L2_LINK_DOWN',
      `cannot tell whether ${address} is free: the interface ${this.interface} is down, away, or takes no packets`,
      { fields: { interface: this.interface, address } },
    );
  }

  #notify(event: L2Event): void {
    notify(this.#options.observer, event);
  }
}

function saysYes(mayAnnounce: (() => boolean) | undefined): boolean {
  if (mayAnnounce === undefined) return true;
  try {
    return mayAnnounce();
  } catch {
    return false;
  }
}
