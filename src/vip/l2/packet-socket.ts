import type { Clock, Timer } from '../../core/index.js';
import type { NativeAddon, NativePoll } from '../../internal/native/addon.js';
import { POLL_READABLE, SOCK_DGRAM } from '../../internal/native/constants.js';
import { isSystemError } from '../../internal/native/errors.js';
import { VipError } from '../errors.js';
import { macBytes } from './mac.js';
import { arpFilter, neighborFilter } from './packet-filter.js';
import type { L2Protocol, OutgoingPacket } from './sighting.js';

/** A packet socket (packet(7)) of one protocol on one interface. */
export interface PacketSocketOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly protocol: L2Protocol;
  readonly interfaceIndex: number;
  readonly onPacket: (bytes: Buffer, frameSource: Buffer) => void;
  /** More came than `maxPacketsPerSecond`; `dropped` is what the kernel threw away. */
  readonly onOverload: (dropped: number) => void;
  /** Beyond it reading pauses, and the kernel drops what its queue does not hold. */
  readonly maxPacketsPerSecond: number;
}

const AF_PACKET = 17;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const PACKET_MULTICAST = 2;
const windowMs = 100;

export class PacketSocket implements Disposable {
  readonly #options: PacketSocketOptions;
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(2048);
  #poll: NativePoll | undefined;
  #resume: Timer | undefined;
  #windowStartMs = 0;
  #seen = 0;
  #closed = false;

  /** Hears of nothing until `watch`. Throws `VIP_CAPABILITY_MISSING`, or the `SystemError` of the call. */
  constructor(options: PacketSocketOptions) {
    const { addon } = options;
    this.#options = options;
    this.#fd = openPacketSocket(addon);
    try {
      // The filter comes before the binding, so that nothing unfiltered is ever queued.
      this.watch([]);
      addon.bind(this.#fd, this.#address(new Uint8Array(6)));
      this.#listen();
    } catch (error) {
      addon.close(this.#fd);
      throw error;
    }
  }

  /** Sets the addresses whose packets are heard. */
  watch(ips: readonly string[]): void {
    const { addon, protocol } = this.#options;
    addon.attachFilter(this.#fd, protocol === 'arp' ? arpFilter(ips) : neighborFilter(ips));
  }

  /** False when the kernel has no room now. Throws a `SystemError`, such as ENETDOWN. */
  send(packet: OutgoingPacket): boolean {
    return this.#options.addon.sendto(this.#fd, packet.bytes, this.#address(macBytes(packet.destinationMac))) >= 0;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#resume?.cancel();
    if (this.#poll !== undefined) this.#options.addon.pollClose(this.#poll);
    this.#options.addon.close(this.#fd);
  }

  #listen(): void {
    const { addon } = this.#options;
    this.#poll = addon.poll(this.#fd, POLL_READABLE, () => this.#receive());
    addon.pollUnref(this.#poll);
  }

  #receive(): void {
    const { addon, onPacket } = this.#options;
    while (!this.#closed) {
      if (this.#isOverLimit()) {
        this.#pause();
        return;
      }
      let received;
      try {
        received = addon.recvmsg(this.#fd, this.#buffer);
      } catch (error) {
        // The interface went down or away; the watch of the link says so too, and what to do.
        if (isSystemError(error)) continue;
        throw error;
      }
      if (received === undefined) return;
      const { address, length } = received;
      // Higher types are for another station's address, or our own going out.
      if (address.length < 18 || address.readUInt8(10) > PACKET_MULTICAST) continue;
      onPacket(this.#buffer.subarray(0, length), address.subarray(12, 18));
    }
  }

  #isOverLimit(): boolean {
    const { clock, maxPacketsPerSecond } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#windowStartMs >= windowMs) {
      this.#windowStartMs = nowMs;
      this.#seen = 0;
    }
    this.#seen += 1;
    return this.#seen > (maxPacketsPerSecond * windowMs) / 1000;
  }

  #pause(): void {
    const { addon, clock, onOverload } = this.#options;
    if (this.#poll !== undefined) addon.pollClose(this.#poll);
    this.#poll = undefined;
    this.#resume = clock.timer(windowMs, () => {
      this.#windowStartMs = clock.monotonicMs();
      this.#seen = 0;
      this.#listen();
    });
    // tp_packets, tp_drops; reading clears them.
    onOverload(addon.getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, 8).readUInt32LE(4));
  }

  /** `struct sockaddr_ll`. */
  #address(mac: Uint8Array): Buffer {
    const out = Buffer.alloc(20);
    out.writeUInt16LE(AF_PACKET, 0);
    out.writeUInt16BE(this.#options.protocol === 'arp' ? ETH_P_ARP : ETH_P_IPV6, 2);
    out.writeInt32LE(this.#options.interfaceIndex, 4);
    out.writeUInt8(6, 11);
    out.set(mac, 12);
    return out;
  }
}

function openPacketSocket(addon: NativeAddon): number {
  try {
    // Protocol 0: it receives nothing before it is bound.
    return addon.socket(AF_PACKET, SOCK_DGRAM, 0);
  } catch (error) {
    if (!isSystemError(error, 'EPERM', 'EACCES')) throw error;
    throw new VipError(
      'VIP_CAPABILITY_MISSING',
      'the kernel refused a packet socket (AF_PACKET), with which virtual IPs are probed and announced on layer 2; ' +
        'run as root or grant CAP_NET_RAW',
      { cause: error, fields: { capability: 'CAP_NET_RAW' } },
    );
  }
}
