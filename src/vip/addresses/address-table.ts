import { ipFamily } from '../../core/index.js';
import { NETLINK_ROUTE, NLM_F_DUMP, NetlinkRequestError, NetlinkSocket } from '../../internal/native/netlink.js';
import { netlinkAttribute, netlinkAttributes } from '../../internal/native/netlink.js';
import { VipError } from '../errors.js';
import {
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
  decodeAddress,
  encodeAddress,
  encodeAddressKey,
} from './address-message.js';
import type { KernelAddress } from './address-message.js';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const IFLA_IFNAME = 3;
const errnos = { EPERM: 1, ENODEV: 19, EEXIST: 17, EADDRNOTAVAIL: 99 } as const;

/** An own address on a device. */
export interface OwnAddress {
  readonly ip: string;
  /** Name of the device. */
  readonly device: string;
}

export interface AddressTableOptions {
  /** What marks addresses as ours in the kernel (IFA_PROTO), 4 to 255. Default 109. One number per program on a machine. */
  readonly tag?: number | undefined;
}

const defaultTag = 109;

/**
 * Own addresses on the devices of this network namespace, by rtnetlink: /32 and /128, marked as ours, with lifetimes that
 * the kernel enforces. What somebody else put there is never changed or removed.
 *
 * Kernels before 5.18 keep no mark. There an address that is on the device already counts as somebody else's, and what a
 * killed process left goes when its lifetime ends. Changing addresses needs CAP_NET_ADMIN.
 */
export class AddressTable implements Disposable {
  readonly #socket: NetlinkSocket;
  readonly #tag: number;
  readonly #indexes = new Map<string, number>();

  /** Throws `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`, `VIP_CONFIGURATION_INVALID`. */
  constructor(options: AddressTableOptions = {}) {
    const { tag = defaultTag } = options;
    // 1 to 3 are the kernel's own.
    if (!Number.isInteger(tag) || tag < 4 || tag > 255) {
      throw new VipError('VIP_CONFIGURATION_INVALID', `expected the address tag to be 4 to 255, got ${String(tag)}`);
    }
    this.#tag = tag;
    this.#socket = new NetlinkSocket({ protocol: NETLINK_ROUTE, feature: 'virtual IPs' });
  }

  /**
   * Puts the address on the device, for `lifetimeSeconds` (undefined: for ever). Throws `VIP_ADDRESS_FOREIGN` when somebody
   * else has put it there, `VIP_DEVICE_MISSING`, `VIP_CAPABILITY_MISSING`, `VIP_ADDRESS_REFUSED`.
   */
  async add(address: OwnAddress, lifetimeSeconds: number | undefined): Promise<void> {
    try {
      await this.#set(address, lifetimeSeconds, NLM_F_CREATE | NLM_F_EXCL);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw this.#explained(error, address);
      const device = await this.#index(address.device);
      const there = (await this.#list()).find((entry) => entry.ip === address.ip && entry.device === device);
      if (there !== undefined && there.tag !== this.#tag) {
        const message = `${address.ip} is on ${address.device} already, and not by this program: remove it, or take another address`;
        throw new VipError('VIP_ADDRESS_FOREIGN', message, { fields: { ...address } });
      }
      await this.refresh(address, lifetimeSeconds);
    }
  }

  /** Starts the lifetime of an own address over. Puts it back where somebody took it away. Throws as `add`. */
  async refresh(address: OwnAddress, lifetimeSeconds: number | undefined): Promise<void> {
    try {
      await this.#set(address, lifetimeSeconds, NLM_F_CREATE | NLM_F_REPLACE);
    } catch (error) {
      throw this.#explained(error, address);
    }
  }

  /** Takes an own address away; does nothing when it is not there, or the device is gone. Call it for nobody else's. */
  async remove(address: OwnAddress): Promise<void> {
    const known = this.#indexes.get(address.device);
    try {
      // With a known index the request is sent before this returns.
      const device = known ?? (await this.#index(address.device));
      await this.#socket.request(RTM_DELADDR, 0, encodeAddressKey(address.ip, device));
    } catch (error) {
      const isGone = isErrno(error, 'EADDRNOTAVAIL') || isErrno(error, 'ENODEV');
      if (!isGone) throw this.#explained(error, address);
      // Perhaps only the index is: the device was made anew.
      if (known !== undefined && this.#indexes.delete(address.device)) await this.remove(address);
    }
  }

  /** All addresses with our mark, on whatever device. */
  async listOwn(): Promise<readonly OwnAddress[]> {
    const own = (await this.#list()).filter(({ tag }) => tag === this.#tag);
    if (own.length === 0) return [];
    const names = await this.#names();
    return own.flatMap(({ ip, device }) => {
      const name = names.get(device);
      return name === undefined ? [] : [{ ip, device: name }];
    });
  }

  /** Removes what an earlier run left, but for what `keep` wants to keep. Returns what it removed. */
  async sweep(keep: (address: OwnAddress) => boolean = () => false): Promise<readonly OwnAddress[]> {
    const left = (await this.listOwn()).filter((address) => !keep(address));
    for (const address of left) await this.remove(address);
    return left;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #set(address: OwnAddress, lifetimeSeconds: number | undefined, flags: number): Promise<void> {
    const known = this.#indexes.get(address.device);
    const device = known ?? (await this.#index(address.device));
    const payload = encodeAddress({ ip: address.ip, device, lifetimeSeconds, tag: this.#tag });
    try {
      await this.#socket.request(RTM_NEWADDR, flags, payload);
    } catch (error) {
      this.#indexes.delete(address.device);
      // Made anew under the same name since: once more with the new index.
      if (known === undefined || !isErrno(error, 'ENODEV')) throw error;
      await this.#set(address, lifetimeSeconds, flags);
    }
  }

  async #list(): Promise<readonly KernelAddress[]> {
    const messages = await this.#socket.request(RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(8));
    return messages.flatMap((message) => decodeAddress(message) ?? []);
  }

  async #index(device: string): Promise<number> {
    const name = netlinkAttribute(IFLA_IFNAME, Buffer.from(`${device}\0`));
    const answers = await this.#socket.request(RTM_GETLINK, 0, Buffer.concat([Buffer.alloc(16), name]));
    const answer = answers.find(({ type, payload }) => type === RTM_NEWLINK && payload.length >= 16);
    if (answer === undefined) throw new NetlinkRequestError(-errnos.ENODEV);
    const index = answer.payload.readInt32LE(4);
    this.#indexes.set(device, index);
    return index;
  }

  async #names(): Promise<ReadonlyMap<number, string>> {
    const links = await this.#socket.request(RTM_GETLINK, NLM_F_DUMP, Buffer.alloc(16));
    return new Map(
      links.flatMap(({ type, payload }) => {
        const name =
          type === RTM_NEWLINK && payload.length >= 16 ? netlinkAttributes(payload, 16).get(IFLA_IFNAME) : undefined;
        return name === undefined
          ? []
          : [[payload.readInt32LE(4), name.toString('utf8').replace(/\0.*$/s, '')] as const];
      }),
    );
  }

  #explained(error: unknown, { ip, device }: OwnAddress): unknown {
    if (!(error instanceof NetlinkRequestError)) return error;
    const fields = { ip, device };
    if (isErrno(error, 'EPERM')) {
      const message = `changing the address ${ip} on ${device} needs the capability CAP_NET_ADMIN`;
      return new VipError('VIP_CAPABILITY_MISSING', message, { cause: error, fields });
    }
    if (isErrno(error, 'ENODEV')) {
      return new VipError('VIP_DEVICE_MISSING', `there is no network device ${device} here`, { cause: error, fields });
    }
    const hint = ipFamily(ip) === 6 ? ' (is IPv6 switched off on it?)' : '';
    const message = `the kernel refused the address ${ip} on ${device} with errno ${String(-error.errno)}${hint}`;
    return new VipError('VIP_ADDRESS_REFUSED', message, { cause: error, fields });
  }
}

function isErrno(error: unknown, name: keyof typeof errnos): boolean {
  return error instanceof NetlinkRequestError && -error.errno === errnos[name];
}
