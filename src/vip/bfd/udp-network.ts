import type { Random } from '../../core/index.js';
import type { NativeAddon } from '../../internal/native/addon.js';
import type { BfdChannel, BfdDatagram, BfdNetwork } from './network.js';
import { ReceiveSocket } from './receive-socket.js';
import { SendSocket } from './send-socket.js';
import { leastTtlOf, transportsOf } from './settings.js';
import type { BfdSettings, BfdTransport } from './settings.js';

/** Destination ports of RFC 5881 and RFC 5883. */
const ports: Readonly<Record<BfdTransport, number>> = { 'single-hop': 3784, multihop: 4784 };
const everything = 4096;

interface Shared {
  readonly socket: ReceiveSocket;
  /** The least TTL of each session that listens here. */
  readonly leastTtls: Map<BfdChannel, number>;
}

/** The kernel's UDP, by the native addon. */
export class UdpNetwork implements BfdNetwork {
  readonly #addon: NativeAddon;
  readonly #random: Random;
  readonly #onDatagram: (datagram: BfdDatagram) => void;
  readonly #receivers = new Map<string, Shared>();
  readonly #sourcePorts = new Set<number>();

  constructor(addon: NativeAddon, random: Random, onDatagram: (datagram: BfdDatagram) => void) {
    this.#addon = addon;
    this.#random = random;
    this.#onDatagram = onDatagram;
  }

  open(settings: BfdSettings): BfdChannel {
    const sender = new SendSocket(this.#addon, this.#random, settings, this.#sourcePorts);
    this.#sourcePorts.add(sender.sourcePort);
    const releases: (() => void)[] = [];
    const channel: BfdChannel = {
      interfaceIndex: sender.interfaceIndex,
      send: (bytes, transport) => sender.send(bytes, ports[transport]),
      close: () => {
        for (const release of releases.splice(0)) release();
        this.#sourcePorts.delete(sender.sourcePort);
        sender.close();
      },
    };
    try {
      for (const transport of transportsOf(settings)) {
        releases.push(this.#listen(channel, settings, transport, sender.scope));
      }
    } catch (error) {
      channel.close();
      throw error;
    }
    return channel;
  }

  drain(): void {
    for (const { socket } of this.#receivers.values()) socket.read(everything);
  }

  takeFiltered(): number {
    let count = 0;
    for (const { socket } of this.#receivers.values()) count += socket.takeDrops();
    return count;
  }

  close(): void {
    for (const { socket } of this.#receivers.values()) socket.close();
    this.#receivers.clear();
  }

  /** Shares or opens the receiving socket; gives what ends the session's part in it. */
  #listen(channel: BfdChannel, settings: BfdSettings, transport: BfdTransport, scope: number): () => void {
    const leastTtl = leastTtlOf(settings, transport);
    const key = `${settings.local}%${String(scope)} ${transport}`;
    let shared = this.#receivers.get(key);
    if (shared === undefined) {
      const { local } = settings;
      const socket = new ReceiveSocket(this.#addon, {
        local,
        transport,
        port: ports[transport],
        scope,
        leastTtl,
        onDatagram: this.#onDatagram,
      });
      shared = { socket, leastTtls: new Map() };
      this.#receivers.set(key, shared);
    }
    const { socket, leastTtls } = shared;
    leastTtls.set(channel, leastTtl);
    // The filter of a shared socket lets through what any of its sessions takes; each judges again.
    socket.setLeastTtl(Math.min(...leastTtls.values()));
    return () => {
      leastTtls.delete(channel);
      if (leastTtls.size > 0) {
        socket.setLeastTtl(Math.min(...leastTtls.values()));
      } else {
        this.#receivers.delete(key);
        socket.close();
      }
    };
  }
}
