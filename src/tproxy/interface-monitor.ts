import { describeError, silentLogger } from '../core/index.js';
import type { Closable, Logger } from '../core/index.js';
import { NETLINK_ROUTE, NetlinkSocket } from '../internal/native/netlink.js';
import type { NetlinkMessage } from '../internal/native/netlink.js';
import { RTM_DELLINK, listInterfaces, parseLink } from './network-interfaces.js';
import type { HostInterface } from './network-interfaces.js';

const RTMGRP_LINK = 1;

/** An interface that is gone (`removed`), or that is new or has a new name. */
export interface InterfaceChange extends HostInterface {
  readonly removed: boolean;
}

export interface InterfaceMonitorOptions {
  readonly onChange: (change: InterfaceChange) => void;
  readonly logger?: Logger | undefined;
}

/**
 * Watches the interfaces of this namespace (rtnetlink multicast) and says when one goes, comes, or comes anew under an old
 * name. Does not report changes of state, address or flags.
 *
 * When the kernel drops messages (a burst), all interfaces are read again and the differences reported, so none is missed.
 */
export class InterfaceMonitor implements Closable {
  readonly #byIndex = new Map<number, string>();
  readonly #onChange: (change: InterfaceChange) => void;
  readonly #logger: Logger;
  readonly #socket: NetlinkSocket;
  #closed = false;

  private constructor(options: InterfaceMonitorOptions) {
    this.#onChange = options.onChange;
    this.#logger = options.logger ?? silentLogger;
    this.#socket = new NetlinkSocket({
      protocol: NETLINK_ROUTE,
      feature: 'watching network interfaces',
      groups: RTMGRP_LINK,
      onMessage: (message) => this.#receive(message),
      onLost: () => void this.#resynchronise(),
    });
  }

  /** Subscribes, then reads what is there; changes are reported from here on. Throws `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`. */
  static async start(options: InterfaceMonitorOptions): Promise<InterfaceMonitor> {
    const monitor = new InterfaceMonitor(options);
    try {
      for (const { index, name } of await listInterfaces()) monitor.#byIndex.set(index, name);
    } catch (error) {
      monitor.destroy();
      throw error;
    }
    return monitor;
  }

  /** The interface of that name now. */
  byName(name: string): HostInterface | undefined {
    for (const [index, known] of this.#byIndex) if (known === name) return { name, index };
    return undefined;
  }

  /** The interface of that index now. */
  byIndex(index: number): HostInterface | undefined {
    const name = this.#byIndex.get(index);
    return name === undefined ? undefined : { name, index };
  }

  close(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive(message: NetlinkMessage): void {
    const link = parseLink(message);
    if (link === undefined) return;
    if (message.type === RTM_DELLINK) this.#removed(link.index);
    else this.#present(link);
  }

  #present({ index, name }: HostInterface): void {
    const known = this.#byIndex.get(index);
    if (known === name) return;
    this.#byIndex.set(index, name);
    if (known !== undefined) this.#tell({ index, name: known, removed: true });
    this.#tell({ index, name, removed: false });
  }

  #removed(index: number): void {
    const name = this.#byIndex.get(index);
    if (!this.#byIndex.delete(index) || name === undefined) return;
    this.#tell({ index, name, removed: true });
  }

  #tell(change: InterfaceChange): void {
    try {
      this.#onChange(change);
    } catch (error) {
      this.#logger.error('the listener of interface changes failed', { error: describeError(error) });
    }
  }

  async #resynchronise(): Promise<void> {
    try {
      const now = await listInterfaces();
      if (this.#closed) return;
      const present = new Set(now.map(({ index }) => index));
      for (const index of [...this.#byIndex.keys()]) if (!present.has(index)) this.#removed(index);
      for (const link of now) this.#present(link);
    } catch (error) {
      this.#logger.error('interfaces could not be read again', { error: describeError(error) });
    }
  }
}
