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
import type { Clock, Closable, LatestValue, Logger, SocketAddress, Timer } from '../../core/index.js';
import { resetSocket } from '../../internal/reset-socket.js';
import { splice } from '../../internal/splice.js';
import { VipListener } from '../../vip/index.js';
import type { VipConnection } from '../../vip/index.js';
import { ConnectionQuota } from '../connection-quota.js';
import type { CapturedConnection } from '../inbound/plaintext-path.js';
import { resourceKey } from '../mesh-index.js';
import type { MeshIndex } from '../mesh-index.js';
import type { MeshViews } from '../mesh-views.js';
import { EndpointPicker } from '../outbound/endpoint-picker.js';
import type { ServiceEndpoint } from '../resources.js';
import type { MeshVip } from '../vip-resources.js';

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

/** Between two attempts to listen where it failed. */
const listenRetryMs = 5_000;

type Target = MeshVip['targets'][number];

export class VipIngress implements Closable {
  readonly #options: VipIngressOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #picker = new EndpointPicker();
  readonly #quota: ConnectionQuota;
  /** By address and port. */
  readonly #listeners = new Map<string, Promise<VipListener | undefined>>();
  readonly #bound = new Set<string>();
  readonly #serving = new LatestValueCell<readonly MeshVip[]>([]);
  readonly #stopped = new AbortController();
  readonly #subscription: Disposable;
  #retry: Timer | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: VipIngressOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
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

  /** Takes no more connections; resolves when those that are open have ended. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  destroy(): void {
    void this.close();
    this.#stopped.abort(new Error('the ingress was stopped'));
    for (const listener of this.#listeners.values()) void listener.then((each) => each?.destroy());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    this.#subscription[Symbol.dispose]();
    this.#retry?.cancel();
    const listeners = await Promise.all(this.#listeners.values());
    for (const listener of listeners) await listener?.close();
  }

  #reconcile(): void {
    if (this.#closed !== undefined) return;
    const index = this.#options.views.current?.index;
    const vips = index?.state.vips ?? [];
    const wanted = new Map(
      vips.flatMap((vip) =>
        vip.targets.flatMap(({ port }) =>
          vip.addresses.map((ip) => [formatSocketAddress({ ip, port }), socketAddress(ip, port)] as const),
        ),
      ),
    );
    for (const [key, listener] of this.#listeners) {
      if (wanted.has(key)) continue;
      this.#listeners.delete(key);
      this.#bound.delete(key);
      void listener.then((each) => each?.close());
    }
    for (const [key, address] of wanted) {
      if (!this.#listeners.has(key)) this.#listeners.set(key, this.#listen(key, address));
    }
    this.#judge();
  }

  async #listen(key: string, address: SocketAddress): Promise<VipListener | undefined> {
    try {
      const listener = await VipListener.listen({
        address,
        onConnection: (connection) => void this.#onConnection(connection),
        logger: this.#logger,
      });
      // It may have been given up meanwhile; whoever did that closes it.
      if (this.#listeners.has(key)) this.#bound.add(key);
      this.#judge();
      return listener;
    } catch (error) {
      // Until it can, the address is not announced from here.
      this.#logger.error('a port of a virtual IP cannot be served', { address: key, error: describeError(error) });
      this.#listeners.delete(key);
      if (this.#closed === undefined) this.#retry ??= this.#clock.timer(listenRetryMs, () => this.#again());
      return undefined;
    }
  }

  #again(): void {
    this.#retry = undefined;
    this.#reconcile();
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
        vip.addresses.every((ip) => this.#bound.has(formatSocketAddress({ ip, port: target.port }))) &&
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
    const target = index?.state.vips
      .find(({ addresses }) => addresses.includes(destination.ip))
      ?.targets.find(({ port }) => port === destination.port);
    const gone = new AbortController();
    socket.once('close', () => gone.abort(new Error('the client went away')));
    const signal = AbortSignal.any([gone.signal, this.#stopped.signal]);
    const local = index === undefined || target === undefined ? [] : localEndpoints(index, target, destination.ip);
    const port = { port: destination.port, protocol: 'TCP' as const, endpoints: [...local] };
    for (const endpoint of this.#picker.candidates(formatSocketAddress(destination), port)) {
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
      address: formatSocketAddress(destination),
      source: source.ip,
    });
    resetSocket(socket);
  }
}

/** Ready endpoints on this node; those of the address's own family first, since a pod may have both. */
function localEndpoints(index: MeshIndex, target: Target, ip: string): readonly ServiceEndpoint[] {
  const service = index.state.services.find((each) => resourceKey(each) === target.service);
  const port = service?.ports.find((each) => each.protocol === 'TCP' && each.port === target.servicePort);
  const local = (port?.endpoints ?? []).filter((endpoint) => endpoint.ready && endpoint.node === index.node);
  const same = local.filter(({ address }) => address.includes(':') === ip.includes(':'));
  return same.length > 0 ? same : local;
}
