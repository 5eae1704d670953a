import { describeError } from '../../core/index.js';
import type { Clock, Logger } from '../../core/index.js';
import { nativeAddon } from '../../internal/native/addon.js';
import type { NativeAddon } from '../../internal/native/addon.js';
import { LinkWatch } from './link-state.js';
import type { LinkState } from './link-state.js';
import { SolicitedNodeGroups } from './multicast-groups.js';
import { PacketSocket } from './packet-socket.js';
import type { L2Protocol, OutgoingPacket } from './sighting.js';

/** What the protocol needs of an interface: its state, and packets both ways. Tests put their own in its place. */
export interface LinkTransport extends Disposable {
  /** Undefined while there is no such interface. */
  readonly state: LinkState | undefined;
  /** False when it cannot go out now (down, no room). Throws a `SystemError` for other failures. */
  send(packet: OutgoingPacket): boolean;
  /** Sets the addresses whose packets are to be heard. */
  watch(ips: readonly string[]): void;
}

export interface TransportHandlers {
  readonly onState: (state: LinkState | undefined) => void;
  readonly onPacket: (protocol: L2Protocol, bytes: Buffer, frameSource: Buffer) => void;
  readonly onOverload: (dropped: number) => void;
}

export interface TransportOptions extends TransportHandlers {
  readonly interface: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxPacketsPerSecond: number;
}

export type OpenTransport = (options: TransportOptions) => Promise<LinkTransport>;

/** Everything that belongs to one incarnation of the interface. */
interface Sockets {
  readonly index: number;
  readonly arp: PacketSocket;
  readonly nd: PacketSocket;
  readonly groups: SolicitedNodeGroups;
}

/** The kernel's: two packet sockets, made anew when the interface is. Throws `VIP_CAPABILITY_MISSING`, and what the addon throws. */
export const openNativeTransport: OpenTransport = (options) => NativeTransport.open(options);

class NativeTransport implements LinkTransport {
  readonly #options: TransportOptions;
  readonly #addon: NativeAddon;
  #link: LinkWatch | undefined;
  #sockets: Sockets | undefined;
  #watched: readonly string[] = [];

  private constructor(options: TransportOptions) {
    this.#options = options;
    this.#addon = nativeAddon('announcing virtual IPs');
  }

  static async open(options: TransportOptions): Promise<NativeTransport> {
    const transport = new NativeTransport(options);
    transport.#link = await LinkWatch.start(options.interface, (state) => transport.#changed(state), options.logger);
    try {
      const { state } = transport;
      if (state?.isSuitable === true) transport.#openSockets(state.index);
    } catch (error) {
      transport[Symbol.dispose]();
      throw error;
    }
    return transport;
  }

  get state(): LinkState | undefined {
    return this.#link?.state;
  }

  send(packet: OutgoingPacket): boolean {
    return this.#sockets?.[packet.protocol].send(packet) ?? false;
  }

  watch(ips: readonly string[]): void {
    this.#watched = ips;
    if (this.#sockets !== undefined) this.#apply(this.#sockets);
  }

  [Symbol.dispose](): void {
    this.#closeSockets();
    this.#link?.[Symbol.dispose]();
  }

  #changed(state: LinkState | undefined): void {
    if (state?.isSuitable !== true || state.index !== this.#sockets?.index) this.#closeSockets();
    if (state?.isSuitable === true && this.#sockets === undefined) {
      try {
        this.#openSockets(state.index);
      } catch (error) {
        this.#warn('no packet socket could be opened on an interface', error);
      }
    }
    this.#options.onState(state);
  }

  #openSockets(interfaceIndex: number): void {
    const { clock, maxPacketsPerSecond, onOverload, onPacket } = this.#options;
    const open = (protocol: L2Protocol): PacketSocket =>
      new PacketSocket({
        ...{ addon: this.#addon, clock, protocol, interfaceIndex, maxPacketsPerSecond, onOverload },
        onPacket: (bytes, frameSource) => onPacket(protocol, bytes, frameSource),
      });
    const opened: Disposable[] = [];
    const keep = <T extends Disposable>(part: T): T => {
      opened.push(part);
      return part;
    };
    try {
      const sockets = {
        index: interfaceIndex,
        arp: keep(open('arp')),
        nd: keep(open('nd')),
        groups: keep(new SolicitedNodeGroups(this.#addon, interfaceIndex)),
      };
      this.#apply(sockets);
      this.#sockets = sockets;
    } catch (error) {
      for (const part of opened) part[Symbol.dispose]();
      throw error;
    }
  }

  #closeSockets(): void {
    const sockets = this.#sockets;
    this.#sockets = undefined;
    sockets?.arp[Symbol.dispose]();
    sockets?.nd[Symbol.dispose]();
    sockets?.groups[Symbol.dispose]();
  }

  #apply({ arp, nd, groups }: Sockets): void {
    const ipv6 = this.#watched.filter((ip) => ip.includes(':'));
    arp.watch(this.#watched);
    nd.watch(this.#watched);
    try {
      groups.set(ipv6);
    } catch (error) {
      this.#warn('a solicited-node group could not be joined', error);
    }
  }

  #warn(message: string, error: unknown): void {
    this.#options.logger.warn(message, { interface: this.#options.interface, error: describeError(error) });
  }
}
