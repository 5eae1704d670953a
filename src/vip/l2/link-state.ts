import { AF_UNSPEC } from '../../internal/native/constants.js';
import { NETLINK_ROUTE, NLM_F_DUMP, NetlinkSocket, netlinkAttributes } from '../../internal/native/netlink.js';
import type { NetlinkMessage } from '../../internal/native/netlink.js';
import { describeError } from '../../core/index.js';
import type { Logger } from '../../core/index.js';
import { macText } from './mac.js';

/** The state of one interface, by name, followed over rtnetlink (rtnetlink(7)). */
export interface LinkState {
  /** Tells an interface from a later one of the same name. */
  readonly index: number;
  readonly mac: string;
  /** Administratively up, and with a carrier. */
  readonly up: boolean;
  /** Ethernet that does ARP: no loopback, no tunnel. */
  readonly isSuitable: boolean;
}

const RTMGRP_LINK = 1;
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const ARPHRD_ETHER = 1;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_RUNNING = 0x40;
const IFF_NOARP = 0x80;

export class LinkWatch implements Disposable {
  readonly #interface: string;
  readonly #onChange: (state: LinkState | undefined) => void;
  readonly #logger: Logger;
  readonly #socket: NetlinkSocket;
  #state: LinkState | undefined;
  #heard = 0;

  private constructor(name: string, onChange: (state: LinkState | undefined) => void, logger: Logger) {
    this.#interface = name;
    this.#onChange = onChange;
    this.#logger = logger;
    this.#socket = new NetlinkSocket({
      protocol: NETLINK_ROUTE,
      feature: 'announcing virtual IPs',
      groups: RTMGRP_LINK,
      onMessage: (message) => this.#receive(message),
      onLost: () => void this.#readAgain(),
    });
  }

  /** Subscribes, then reads; `onChange` hears of every later state, `undefined` when the interface is gone. */
  static async start(
    name: string,
    onChange: (state: LinkState | undefined) => void,
    logger: Logger,
  ): Promise<LinkWatch> {
    const watch = new LinkWatch(name, onChange, logger);
    try {
      watch.#state = await watch.#read();
    } catch (error) {
      watch[Symbol.dispose]();
      throw error;
    }
    return watch;
  }

  /** The state now; undefined while there is no such interface. */
  get state(): LinkState | undefined {
    return this.#state;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  async #read(): Promise<LinkState | undefined> {
    for (;;) {
      const heardBefore = this.#heard;
      const messages = await this.#socket.request(RTM_GETLINK, NLM_F_DUMP, Buffer.alloc(16));
      // A change that was told meanwhile may be older or newer than what was read.
      if (this.#heard !== heardBefore) continue;
      return messages.map(parseLink).find((link) => link?.name === this.#interface)?.state;
    }
  }

  #receive(message: NetlinkMessage): void {
    const link = parseLink(message);
    if (link === undefined) return;
    const isKnown = link.state.index === this.#state?.index;
    if (isKnown || link.name === this.#interface) this.#heard += 1;
    if (message.type === RTM_NEWLINK && link.name === this.#interface) this.#set(link.state);
    // Deleted, or it has another name now.
    else if (isKnown) this.#set(undefined);
  }

  #set(state: LinkState | undefined): void {
    const before = this.#state;
    this.#state = state;
    if (before === undefined && state === undefined) return;
    const isSame =
      before?.index === state?.index &&
      before?.mac === state?.mac &&
      before?.up === state?.up &&
      before?.isSuitable === state?.isSuitable;
    if (!isSame) this.#onChange(state);
  }

  /** After messages were lost. */
  async #readAgain(): Promise<void> {
    try {
      this.#set(await this.#read());
    } catch (error) {
      this.#logger.warn('the state of an interface could not be read again', {
        interface: this.#interface,
        error: describeError(error),
      });
    }
  }
}

function parseLink({ type, payload }: NetlinkMessage): { name: string; state: LinkState } | undefined {
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || payload.length < 16) return undefined;
  // Messages of the bridge family speak of a port, not of the device.
  if (payload.readUInt8(0) !== AF_UNSPEC) return undefined;
  const attributes = netlinkAttributes(payload, 16);
  const name = attributes.get(IFLA_IFNAME)?.toString('utf8').replace(/\0.*$/s, '');
  if (name === undefined) return undefined;
  const flags = payload.readUInt32LE(8);
  const mac = attributes.get(IFLA_ADDRESS);
  return {
    name,
    state: {
      index: payload.readInt32LE(4),
      mac: mac === undefined ? '' : macText(mac),
      up: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
      isSuitable:
        payload.readUInt16LE(2) === ARPHRD_ETHER && mac?.length === 6 && (flags & (IFF_LOOPBACK | IFF_NOARP)) === 0,
    },
  };
}
