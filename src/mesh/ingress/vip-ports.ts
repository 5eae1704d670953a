import { describeError, formatSocketAddress } from '../../core/index.js';
import type { Clock, Logger, SocketAddress, Timer } from '../../core/index.js';
import { VipListener } from '../../vip/index.js';
import type { VipConnection } from '../../vip/index.js';

export interface VipPortsOptions {
  readonly onConnection: (connection: VipConnection) => void;
  /** A port is bound now. */
  readonly onBound: () => void;
  /** Some could not be bound; reconcile again. */
  readonly onRetry: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Port {
  readonly address: SocketAddress;
  readonly listener: Promise<VipListener | undefined>;
  bound: VipListener | undefined;
  /** No longer wanted, and held until the address is gone from the routers and from this node. */
  leaving?: { readonly hold: Disposable | undefined; readonly timer: Timer } | undefined;
}

/** Between two attempts to listen where it failed. */
const listenRetryMs = 5_000;
/** How long a port is held that is not wanted any more: longer than a withdrawal takes. */
const leavingMs = 5_000;

/** The listeners on ports of virtual IPs. Names of ports are as `formatSocketAddress` writes them. */
export class VipPorts {
  readonly #options: VipPortsOptions;
  readonly #ports = new Map<string, Port>();
  #retry: Timer | undefined;
  #closed = false;

  constructor(options: VipPortsOptions) {
    this.#options = options;
  }

  /**
   * Listens on these. Of an address of which no port is left, the others hold new connections for some seconds before they
   * close: it is about to be another node's, which takes them.
   */
  reconcile(wanted: ReadonlyMap<string, SocketAddress>): void {
    const addresses = new Set([...wanted.values()].map(({ ip }) => ip));
    for (const [name, port] of this.#ports) {
      if (wanted.has(name)) this.#keep(port);
      else if (addresses.has(port.address.ip)) this.#end(name, port);
      else this.#leave(name, port);
    }
    for (const [name, address] of wanted) if (!this.#ports.has(name)) this.#listen(name, address);
  }

  has(name: string): boolean {
    return this.#ports.has(name);
  }

  isBound(name: string): boolean {
    return this.#ports.get(name)?.bound !== undefined;
  }

  /** Whether new connections to it wait for another node. */
  isHeld(name: string): boolean {
    return this.#ports.get(name)?.bound?.held === true;
  }

  /** All ports of an address; see `VipListener.quiesce`. */
  async quiesce(ip: string, options: { readonly signal: AbortSignal }): Promise<void> {
    const ports = [...this.#ports.values()].filter(({ address }) => address.ip === ip);
    await Promise.all(ports.map(async ({ bound, listener }) => (bound ?? (await listener))?.quiesce(options)));
  }

  /** Takes no more connections; resolves when those that are open have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    for (const { leaving } of this.#ports.values()) leaving?.timer.cancel();
    await Promise.all([...this.#ports.values()].map(async ({ listener }) => (await listener)?.close()));
  }

  destroy(): void {
    void this.close();
    for (const { listener } of this.#ports.values()) void listener.then((each) => each?.destroy());
  }

  #listen(name: string, address: SocketAddress): void {
    const { onBound, onConnection, clock, logger } = this.#options;
    const listen = async (): Promise<VipListener | undefined> => {
      try {
        const listener = await VipListener.listen({ address, onConnection, clock, logger });
        // It may have been given up meanwhile; whoever did that closes it.
        if (this.#ports.get(name) === port) port.bound = listener;
        onBound();
        return listener;
      } catch (error) {
        // Until it can, the address is not announced from here.
        logger.error('a port of a virtual IP cannot be served', { address: name, error: describeError(error) });
        if (this.#ports.get(name) === port) this.#ports.delete(name);
        if (!this.#closed) this.#retry ??= clock.timer(listenRetryMs, () => this.#again());
        return undefined;
      }
    };
    const port: Port = { address, bound: undefined, listener: listen() };
    this.#ports.set(name, port);
  }

  #again(): void {
    this.#retry = undefined;
    this.#options.onRetry();
  }

  #keep(port: Port): void {
    port.leaving?.timer.cancel();
    port.leaving?.hold?.[Symbol.dispose]();
    port.leaving = undefined;
  }

  #leave(name: string, port: Port): void {
    if (port.leaving !== undefined) return;
    const { bound } = port;
    if (bound === undefined) {
      this.#end(name, port);
      return;
    }
    const timer = this.#options.clock.timer(leavingMs, () => this.#end(name, port));
    port.leaving = { timer, hold: this.#hold(bound) };
  }

  #hold(listener: VipListener): Disposable | undefined {
    try {
      return listener.hold();
    } catch (error) {
      const address = formatSocketAddress(listener.address);
      this.#options.logger.error('connections to a virtual IP could not be held', {
        address,
        error: describeError(error),
      });
      return undefined;
    }
  }

  #end(name: string, port: Port): void {
    this.#ports.delete(name);
    port.leaving?.timer.cancel();
    void port.listener.then((listener) => listener?.close());
  }
}
