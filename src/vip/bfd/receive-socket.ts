import { ipFamily } from '../../core/index.js';
import type { NativeAddon, NativePoll } from '../../internal/native/addon.js';
import {
  AF_INET,
  AF_INET6,
  IPV6_V6ONLY,
  POLL_READABLE,
  SOCK_DGRAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from '../../internal/native/constants.js';
import { decodeSockaddr } from '../../internal/native/sockaddr.js';
import { bindTo } from './bind-to.js';
import type { BfdDatagram } from './network.js';
import type { BfdTransport } from './settings.js';
import {
  IPV6_RECVHOPLIMIT,
  IPV6_RECVPKTINFO,
  IP_PKTINFO,
  IP_RECVTTL,
  SK_MEMINFO_DROPS,
  SO_MEMINFO,
} from './socket-options.js';
import { leastTtlFilter } from './ttl-filter.js';

/** After so many datagrams other sockets and timers have their turn. */
const burst = 64;

export interface ReceiveSocketOptions {
  readonly local: string;
  readonly transport: BfdTransport;
  readonly port: number;
  /** For a link-local address. */
  readonly scope: number;
  readonly leastTtl: number;
  readonly onDatagram: (datagram: BfdDatagram) => void;
}

/** One port of one local address, for all sessions from there; the TTL is judged by the kernel before it wakes us. */
export class ReceiveSocket {
  readonly #addon: NativeAddon;
  readonly #options: ReceiveSocketOptions;
  readonly #fd: number;
  readonly #poll: NativePoll;
  // One byte more than any packet of version 1 can say it has, so that no length is mistaken.
  readonly #buffer = Buffer.alloc(256);
  #countedDrops = 0;
  #closed = false;

  /** Throws a `SystemError`. */
  constructor(addon: NativeAddon, options: ReceiveSocketOptions) {
    this.#addon = addon;
    this.#options = options;
    const family = ipFamily(options.local);
    const fd = addon.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    this.#fd = fd;
    try {
      // Before bind: from then on datagrams come in.
      this.setLeastTtl(options.leastTtl);
      if (family === 6) {
        addon.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, 1);
        addon.setsockopt(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
        addon.setsockopt(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
      } else {
        addon.setsockopt(fd, SOL_IP, IP_RECVTTL, 1);
        addon.setsockopt(fd, SOL_IP, IP_PKTINFO, 1);
      }
      bindTo(addon, fd, options.local, options.port, options.scope);
      this.#poll = addon.poll(fd, POLL_READABLE, () => this.read(burst));
    } catch (error) {
      addon.close(fd);
      throw error;
    }
  }

  setLeastTtl(leastTtl: number): void {
    this.#addon.attachFilter(this.#fd, leastTtlFilter(ipFamily(this.#options.local), leastTtl));
  }

  /** Hands over at most `limit` datagrams that wait. */
  read(limit: number): void {
    const { local, transport, onDatagram } = this.#options;
    for (let count = 0; count < limit && !this.#closed; count += 1) {
      const message = this.#addon.recvmsg(this.#fd, this.#buffer);
      if (message === undefined) return;
      const source = decodeSockaddr(message.address);
      if (source === undefined) continue;
      onDatagram({
        bytes: this.#buffer.subarray(0, message.length),
        transport,
        source: source.ip,
        local,
        ttl: message.ttl,
        interfaceIndex: message.interfaceIndex,
      });
    }
  }

  /** Datagrams dropped by the filter (or for want of room) since the last call. */
  takeDrops(): number {
    const memory = this.#addon.getsockopt(this.#fd, SOL_SOCKET, SO_MEMINFO, 4 * (SK_MEMINFO_DROPS + 1));
    const drops = memory.length < 4 * (SK_MEMINFO_DROPS + 1) ? 0 : memory.readUInt32LE(4 * SK_MEMINFO_DROPS);
    const fresh = (drops - this.#countedDrops) >>> 0;
    this.#countedDrops = drops;
    return fresh;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.pollClose(this.#poll);
    this.#addon.close(this.#fd);
  }
}
