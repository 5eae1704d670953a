import type { NativeAddon } from '../../internal/native/addon.js';
import { AF_INET6, SOCK_DGRAM, SOL_IPV6 } from '../../internal/native/constants.js';
import { ipBytes } from '../../core/index.js';
import { solicitedNodeAddress } from './neighbor-discovery.js';

const IPV6_JOIN_GROUP = 20;
const IPV6_LEAVE_GROUP = 21;

/**
 * Memberships in the solicited-node groups of addresses that the interface does not (yet) have. The kernel reports them
 * (MLD), without which a snooping switch would keep other stations' probes from us (RFC 4862 section 5.4.2).
 */
export class SolicitedNodeGroups implements Disposable {
  readonly #addon: NativeAddon;
  readonly #index: number;
  readonly #fd: number;
  readonly #joined = new Set<string>();

  constructor(addon: NativeAddon, interfaceIndex: number) {
    this.#addon = addon;
    this.#index = interfaceIndex;
    this.#fd = addon.socket(AF_INET6, SOCK_DGRAM, 0);
  }

  /** Joins and leaves so that the groups are those of `ips`. Throws the `SystemError` of the call. */
  set(ips: readonly string[]): void {
    const wanted = new Set(ips.map(solicitedNodeAddress));
    for (const group of this.#joined) {
      if (wanted.has(group)) continue;
      this.#joined.delete(group);
      this.#change(IPV6_LEAVE_GROUP, group);
    }
    for (const group of wanted) {
      if (this.#joined.has(group)) continue;
      this.#change(IPV6_JOIN_GROUP, group);
      this.#joined.add(group);
    }
  }

  [Symbol.dispose](): void {
    this.#addon.close(this.#fd);
  }

  /** `struct ipv6_mreq`. */
  #change(option: number, group: string): void {
    const request = Buffer.alloc(20);
    request.set(ipBytes(group), 0);
    request.writeInt32LE(this.#index, 16);
    this.#addon.setsockopt(this.#fd, SOL_IPV6, option, request);
  }
}
