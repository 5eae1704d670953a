import { ipFamily } from '../../core/index.js';
import type { Random } from '../../core/index.js';
import type { NativeAddon } from '../../internal/native/addon.js';
import { AF_INET, AF_INET6, SOCK_DGRAM, SOL_IP, SOL_IPV6, SOL_SOCKET } from '../../internal/native/constants.js';
import { isSystemError } from '../../internal/native/errors.js';
import { bindTo, scopedSockaddr } from './bind-to.js';
import { isLinkLocal } from './settings.js';
import type { BfdSettings } from './settings.js';
import {
  IPV6_TCLASS,
  IPV6_UNICAST_HOPS,
  IP_TOS,
  IP_TTL,
  SO_BINDTODEVICE,
  SO_BINDTOIFINDEX,
  SO_PRIORITY,
  priorityControl,
  trafficClassControl,
} from './socket-options.js';
import { dropEverythingFilter } from './ttl-filter.js';

/** RFC 5881 section 4: source ports are from here to 65535. */
const firstSourcePort = 49_152;
const sourcePorts = 65_536 - firstSourcePort;
const bindAttempts = 64;

/** The socket that one session sends by: TTL 255, a source port of its own, and bound to the interface if there is one. */
export class SendSocket {
  readonly sourcePort: number;
  readonly interfaceIndex: number | undefined;
  readonly #addon: NativeAddon;
  readonly #fd: number;
  readonly #settings: BfdSettings;
  /** Sockaddrs of the peer, by port. */
  readonly #peers = new Map<number, Buffer>();

  /** Takes a port that is not among `taken`. Throws a `SystemError`. */
  constructor(addon: NativeAddon, random: Random, settings: BfdSettings, taken: ReadonlySet<number>) {
    this.#addon = addon;
    this.#settings = settings;
    const family = ipFamily(settings.local);
    this.#fd = addon.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    try {
      // Nothing is read from it, so nothing may queue up in it.
      addon.attachFilter(this.#fd, dropEverythingFilter());
      addon.setsockopt(this.#fd, SOL_SOCKET, SO_PRIORITY, priorityControl);
      if (family === 6) {
        addon.setsockopt(this.#fd, SOL_IPV6, IPV6_UNICAST_HOPS, 255);
        addon.setsockopt(this.#fd, SOL_IPV6, IPV6_TCLASS, trafficClassControl);
      } else {
        addon.setsockopt(this.#fd, SOL_IP, IP_TTL, 255);
        addon.setsockopt(this.#fd, SOL_IP, IP_TOS, trafficClassControl);
      }
      if (settings.interfaceName !== undefined) {
        addon.setsockopt(this.#fd, SOL_SOCKET, SO_BINDTODEVICE, Buffer.from(`${settings.interfaceName}\0`));
        this.interfaceIndex = addon.getsockopt(this.#fd, SOL_SOCKET, SO_BINDTOIFINDEX, 4).readInt32LE(0);
      }
      this.sourcePort = this.#bind(random, taken);
    } catch (error) {
      addon.close(this.#fd);
      throw error;
    }
  }

  /** The scope of a link-local address; 0 for others. */
  get scope(): number {
    return isLinkLocal(this.#settings.local) ? (this.interfaceIndex ?? 0) : 0;
  }

  /** Throws a `SystemError`. */
  send(bytes: Uint8Array, port: number): void {
    let address = this.#peers.get(port);
    if (address === undefined) {
      address = scopedSockaddr(
        this.#settings.peer,
        port,
        isLinkLocal(this.#settings.peer) ? (this.interfaceIndex ?? 0) : 0,
      );
      this.#peers.set(port, address);
    }
    this.#addon.sendto(this.#fd, bytes, address);
  }

  close(): void {
    this.#addon.close(this.#fd);
  }

  #bind(random: Random, taken: ReadonlySet<number>): number {
    for (let attempt = 1; ; attempt += 1) {
      const port = firstSourcePort + Math.floor(random.fraction() * sourcePorts);
      if (taken.has(port) && attempt < bindAttempts) continue;
      try {
        bindTo(this.#addon, this.#fd, this.#settings.local, port, this.scope);
        return port;
      } catch (error) {
        if (!isSystemError(error, 'EADDRINUSE') || attempt >= bindAttempts) throw error;
      }
    }
  }
}
