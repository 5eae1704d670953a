/**
 * What comes in at virtual IPs: for each port that leads to a service, a listener that hands connections to the service's
 * ready pods on this very node. Clients outside the mesh have no identity: an enrolled pod is reached only as plaintext is
 * (STRICT refuses, else judged without a principal), any other pod directly, such as a gateway that is a client of the mesh.
 */
import type { Duplex } from 'node:stream';
import {
  LatestValueCell,
  describeError,
  formatSocketAddress,
  ipFamily,
  silentLogger,
  socketAddress,
  systemClock,
} from '../../core/index.js';
import type { Clock, Closable, LatestValue, Logger, SocketAddress } from '../../core/index.js';
import { resetSocket } from '../../internal/reset-socket.js';
import { splice } from '../../internal/splice.js';
import type { VipConnection } from '../../vip/index.js';
import { ConnectionQuota } from '../connection-quota.js';
import type { CapturedConnection } from '../inbound/plaintext-path.js';
import { resourceKey } from '../mesh-index.js';
import type { MeshIndex } from '../mesh-index.js';
import type { MeshViews } from '../mesh-views.js';
import { EndpointPicker } from '../outbound/endpoint-picker.js';
import type { ServiceEndpoint } from '../resources.js';
import type { MeshVip } from '../vip-resources.js';
import { VipPorts } from './vip-ports.js';

export interface VipIngressOptions {
  readonly views: MeshViews;
  /** Judges connections to enrolled pods. */
  readonly plaintext: { onConnection(captured: CapturedConnection): Promise<void> };
  /** Connects to a pod past the interception rules. */
  readonly dial: (request: {
    readonly destination: SocketAddress;
    /** The client's, to be kept where the platform can; left out where the pod's address is of another family. */
    readonly sourceIp: string | undefined;
    readonly signal: AbortSignal;
  }) => Promise<Duplex>;
  /** Connections at once, over all virtual IPs: at least 1. Default 4,096; further ones are reset. */
  readonly maxConnections?: number | undefined;
  /** Of one client address. Default half of `maxConnections`. */
  readonly maxConnectionsPerSource?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

type Target = MeshVip['targets'][number];

export class VipIngress implements Closable {
  readonly #options: VipIngressOptions;
  readonly #logger: Logger;
  readonly #picker = new EndpointPicker();
  readonly #quota: ConnectionQuota;
  readonly #ports: VipPorts;
  /** Where each port led last. */
  readonly #targets = new Map<string, Target>();
  readonly #serving = new LatestValueCell<readonly MeshVip[]>([]);
  readonly #stopped = new AbortController();
  readonly #subscription: Disposable;
  #closed: Promise<void> | undefined;

  constructor(options: VipIngressOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#ports = new VipPorts({
      onConnection: (connection) => void this.#onConnection(connection),
      onBound: () => this.#judge(),
      onRetry: () => this.#reconcile(),
      clock: options.clock ?? systemClock,
      logger: this.#logger,
    });
    const { maxConnections = 4_096 } = options;
    this.#quota = new ConnectionQuota({
      maxConnections,
      maxConnectionsPerSource: options.maxConnectionsPerSource ?? Math.ceil(maxConnections / 2),
    });
    this.#subscription = options.views.subscribe(() => this.#reconcile());
    this.#reconcile();
  }

  /**
   * The virtual IPs that this node can serve now: every port that leads to a service is listened on, and has a ready pod
   * here. Only these are to be announced.
   */
  get serving(): LatestValue<readonly MeshVip[]> {
    return this.#serving;
  }

  /**
   * Holds new connections to an address until `signal` aborts, and resolves when those under way have ended. For a
   * `VipManager`: `quiesce: (address, options) => ingress.quiesce(address, options)`.
   */
  quiesce(address: string, options: { readonly signal: AbortSignal }): Promise<void> {
    return this.#ports.quiesce(address, options);
  }

  /** Takes no more connections; resolves when those that are open have ended. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  destroy(): void {
    void this.close();
    this.#stopped.abort(new Error('the ingress was stopped'));
    this.#ports.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    this.#subscription[Symbol.dispose]();
    await this.#ports.close();
  }

  #reconcile(): void {
    if (this.#closed !== undefined) return;
    const wanted = new Map<string, SocketAddress>();
    for (const { addresses, targets } of this.#options.views.current?.index.state.vips ?? []) {
      for (const target of targets) {
        for (const ip of addresses) {
          const address = socketAddress(ip, target.port);
          wanted.set(formatSocketAddress(address), address);
          this.#targets.set(formatSocketAddress(address), target);
        }
      }
    }
    this.#ports.reconcile(wanted);
    for (const name of this.#targets.keys()) if (!this.#ports.has(name)) this.#targets.delete(name);
    this.#judge();
  }

  #judge(): void {
    const index = this.#options.views.current?.index;
    const serving = (index?.state.vips ?? []).filter((vip) => index !== undefined && this.#canServe(index, vip));
    const before = this.#serving.current;
    if (serving.length === before.length && serving.every((vip, position) => vip === before[position])) return;
    this.#serving.set(serving);
  }

  #canServe(index: MeshIndex, vip: MeshVip): boolean {
    return vip.targets.every(
      (target) =>
        vip.addresses.every((ip) => this.#ports.isBound(formatSocketAddress({ ip, port: target.port }))) &&
        vip.addresses.some((ip) => localEndpoints(index, target, ip).length > 0),
    );
  }

  async #onConnection({ socket, destination, source }: VipConnection): Promise<void> {
    const place = this.#quota.take(source.ip);
    if (typeof place === 'string') {
      // As often as a client likes: not a line each in a log that is read.
      this.#logger.debug('connection to a virtual IP refused', { source: source.ip, reason: place });
      resetSocket(socket);
      return;
    }
    socket.once('close', () => place[Symbol.dispose]());
    const index = this.#options.views.current?.index;
    const name = formatSocketAddress(destination);
    const gone = new AbortController();
    socket.once('close', () => gone.abort(new Error('the client went away')));
    const signal = AbortSignal.any([gone.signal, this.#stopped.signal]);
    const endpoints = index === undefined ? [] : [...this.#endpointsFor(index, name, destination.ip)];
    const port = { port: destination.port, protocol: 'TCP' as const, endpoints };
    for (const endpoint of this.#picker.candidates(name, port)) {
      const pod = socketAddress(endpoint.address, endpoint.port);
      if (index?.workloadAt(pod.ip)?.enrolled === true) {
        await this.#options.plaintext.onConnection({ socket, originalDestination: pod, source });
        return;
      }
      try {
        const sourceIp = ipFamily(source.ip) === ipFamily(pod.ip) ? source.ip : undefined;
        const upstream = await this.#options.dial({ destination: pod, sourceIp, signal });
        await splice(socket, upstream, { signal });
        return;
      } catch (error) {
        if (signal.aborted) break;
        this.#logger.debug('a pod behind a virtual IP cannot be reached', {
          pod: formatSocketAddress(pod),
          error: describeError(error),
        });
      }
    }
    this.#logger.warn('connection to a virtual IP refused: no pod on this node can be reached', {
      address: name,
      source: source.ip,
    });
    resetSocket(socket);
  }

  /**
   * A connection that was under way when the address was given up is still served: by pods that are not ready any more, too,
   * which as a rule are about to end.
   */
  #endpointsFor(index: MeshIndex, name: string, ip: string): readonly ServiceEndpoint[] {
    const target = this.#targets.get(name);
    if (target === undefined) return [];
    const ready = localEndpoints(index, target, ip);
    if (ready.length > 0 || !this.#ports.isHeld(name)) return ready;
    return localEndpoints(index, target, ip, () => true).map((endpoint) => ({ ...endpoint, ready: true }));
  }
}

/** Ready endpoints on this node; those of the address's own family first, since a pod may have both. */
function localEndpoints(
  index: MeshIndex,
  target: Target,
  ip: string,
  suits: (endpoint: ServiceEndpoint) => boolean = ({ ready }) => ready,
): readonly ServiceEndpoint[] {
  const service = index.state.services.find((each) => resourceKey(each) === target.service);
  const port = service?.ports.find((each) => each.protocol === 'TCP' && each.port === target.servicePort);
  const local = (port?.endpoints ?? []).filter((endpoint) => suits(endpoint) && endpoint.node === index.node);
  const same = local.filter(({ address }) => address.includes(':') === ip.includes(':'));
  return same.length > 0 ? same : local;
}
