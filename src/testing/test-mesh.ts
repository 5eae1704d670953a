/**
 * A whole mesh inside one test: CA, nodes with real mTLS tunnels on loopback, workloads with real servers, policies, and
 * a clock under the test's control. The data path is the library's own; only the kernel's part is replaced, by
 * listeners that stand for the ClusterIPs.
 */
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { SpiffeCA } from '../ca/index.js';
import type { WorkloadTokenIssuer } from '../ca/index.js';
import { formatSocketAddress, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Logger, SocketAddress } from '../core/index.js';
import { parseMeshState, workloadRegistry } from '../mesh/index.js';
import type { MeshEvent, MeshState, MeshStateInput } from '../mesh/index.js';
import { workloadId } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import { TestingError } from './errors.js';
import { FakeClock } from './fake-clock.js';
import { modelOf } from './test-mesh-model.js';
import { startTestController } from './test-controller.js';
import type { TestController } from './test-controller.js';
import { TestNode } from './test-node.js';
import { handedIdentity, joinedIdentity } from './test-node-identity.js';
import type { TestNodeIdentity } from './test-node-identity.js';
import type { TestMeshOptions, TestServer } from './test-mesh-options.js';

export interface TestResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface TestRequestOptions {
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
}

/** A workload of the mesh as a client. */
export interface TestWorkload {
  readonly spiffeId: SpiffeId;
  /** Its address in the model. */
  readonly address: string;
  /**
   * An HTTP request as the application would make it: `http://service.namespace[:port]/path`, or a workload's address.
   * Rejects when the connection was reset.
   */
  fetch(url: string, options?: TestRequestOptions): Promise<TestResponse>;
  /** A raw connection to `service.namespace:port` or `address:port`. */
  connect(target: string): Promise<Socket>;
  /** A loopback address that leads to `service.namespace:port` as this workload: for clients that are programs of their own. */
  listenerFor(target: string): Promise<SocketAddress>;
}

/**
 * Makes a test mesh; it is up when the promise resolves. Close it (or `await using`) at the end of the test.
 *
 * @example
 * await using mesh = await createTestMesh({
 *   workloads: {
 *     'shop/web': { node: 'a' },
 *     'shop/api': { node: 'b', servers: { 8080: (request, response) => response.end('hello') } },
 *   },
 *   services: { 'shop/api': { workloads: ['shop/api'], port: 80 } },
 * });
 * const { status } = await mesh.workload('shop/web').fetch('http://api.shop/');
 */
export async function createTestMesh(options: TestMeshOptions): Promise<TestMesh> {
  return TestMesh.create(options);
}

export class TestMesh implements AsyncDisposable {
  readonly ca: SpiffeCA;
  readonly clock: Clock;
  /** Everything the data paths of all nodes reported, in order. */
  readonly events: MeshEvent[] = [];
  readonly #issuer: WorkloadTokenIssuer;
  #controller: TestController | undefined;
  readonly #state: { current: MeshState };
  readonly #nodes = new Map<string, TestNode>();
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();
  /** `ip:port` of the model -> where the test's server really listens. */
  readonly #real = new Map<string, SocketAddress>();
  readonly #listeners = new Map<string, Promise<SocketAddress>>();

  private constructor(ca: SpiffeCA, clock: Clock, state: MeshState, tokenTtlMs: number | undefined) {
    this.ca = ca;
    this.clock = clock;
    this.#state = { current: state };
    this.#issuer = ca.tokens({ registry: workloadRegistry(this.#state), ttlMs: tokenTtlMs });
  }

  /** See `createTestMesh`. */
  static async create(options: TestMeshOptions): Promise<TestMesh> {
    const { controlPlane = false } = options;
    if (controlPlane && options.clock !== undefined) {
      const message = 'expected no clock with controlPlane: what goes over it lives by the real one';
      throw new TestingError('TESTING_ARGUMENT_INVALID', message);
    }
    const clock = options.clock ?? (controlPlane ? systemClock : new FakeClock({ start: systemClock.now() }));
    const ca = await SpiffeCA.create({
      trustDomain: options.trustDomain ?? 'cluster.local',
      clock,
      svidTtlMs: options.svidTtlMs,
    });
    const model = modelOf(options);
    const mesh = new TestMesh(ca, clock, parseMeshState(model), options.tokenTtlMs);
    try {
      await mesh.#start(options, model);
      return mesh;
    } catch (error) {
      await mesh.close();
      throw error;
    }
  }

  /** The resources as the controller would have them. */
  get state(): MeshState {
    return this.#state.current;
  }

  /** The control plane, where the mesh has one. */
  get controller(): TestController | undefined {
    return this.#controller;
  }

  /** By `namespace/name`. */
  workload(key: string): TestWorkload {
    const found = this.state.workloads.find(({ namespace, name }) => `${namespace}/${name}` === key);
    if (found === undefined)
      throw new TestingError('TESTING_ARGUMENT_INVALID', `expected a workload of the mesh, got ${key}`);
    const address = found.addresses[0] ?? '';
    const listenerFor = (target: string): Promise<SocketAddress> => this.#listenerFor(found.node, address, target);
    return {
      spiffeId: workloadId(this.ca.trustDomain, found.namespace, found.serviceAccount),
      address,
      listenerFor,
      connect: async (target) => this.#track(await connectTo(await listenerFor(target))),
      fetch: async (url, request = {}) => {
        const { hostname, port, pathname, search, host } = new URL(url);
        const to = await listenerFor(`${hostname}:${port === '' ? '80' : port}`);
        return fetchFrom(to, host, `${pathname}${search}`, request);
      },
    };
  }

  node(name: string): TestNode {
    const found = this.#nodes.get(name);
    if (found === undefined)
      throw new TestingError('TESTING_ARGUMENT_INVALID', `expected a node of the mesh, got ${name}`);
    return found;
  }

  /** A workload token as the CA issues it to a node; the CA refuses workloads that do not run there. */
  async issueToken(node: string, workload: SpiffeId, confirmationKey: string): Promise<string> {
    return (await this.#issuer.issue({ node, workload, confirmationKey })).token;
  }

  /** Replaces the resources on every node, as a new snapshot; live connections are judged anew. */
  async update(change: (state: MeshState) => MeshStateInput): Promise<void> {
    const next = parseMeshState(change(this.state));
    await Promise.all([...this.#nodes.values()].map((node) => node.apply(next)));
    this.#state.current = next;
  }

  /** Replaces the policies. */
  async setPolicies(policies: readonly Readonly<Record<string, unknown>>[]): Promise<void> {
    await this.update((state) => ({ ...state, policies: policies.map((manifest) => ({ manifest: { ...manifest } })) }));
  }

  /** Plaintext from outside the mesh, captured on its way to a workload's address. */
  async connectPlaintext(from: string, to: SocketAddress): Promise<Socket> {
    const workload = this.state.workloads.find(({ addresses }) => addresses.includes(to.ip));
    if (workload === undefined)
      throw new TestingError('TESTING_ARGUMENT_INVALID', `no workload has the address ${to.ip}`);
    const node = this.node(workload.node);
    const listener = await this.#listen((socket) => {
      void node.captureInbound(socket, { ip: from, port: socket.remotePort ?? 1 }, to);
    });
    return this.#track(await connectTo(listener));
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...this.#nodes.values()].map((node) => node.stop()));
    await Promise.all([...this.#servers].map((server) => new Promise((resolve) => server.close(resolve))));
    await this.#controller?.close();
    await this.ca.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(
    { workloads, logger = silentLogger, detectTimeoutMs, controlPlane = false }: TestMeshOptions,
    model: MeshStateInput,
  ): Promise<void> {
    for (const workload of this.state.workloads) {
      const servers = workloads[`${workload.namespace}/${workload.name}`]?.servers ?? {};
      for (const [port, server] of Object.entries(servers)) {
        const real = await this.#serve(server);
        this.#real.set(formatSocketAddress({ ip: workload.addresses[0] ?? '', port: Number(port) }), real);
      }
    }
    if (controlPlane) {
      this.#controller = await startTestController({ ca: this.ca, issuer: this.#issuer, logger });
    }
    const onEvent = (event: MeshEvent): void => void this.events.push(event);
    for (const { name } of this.state.nodes) {
      const node = await TestNode.start({
        name,
        identity: await this.#identityOf(name, logger),
        clock: this.clock,
        logger: logger.child({ node: name }),
        onEvent,
        detectTimeoutMs,
        resolve: (destination) => this.#real.get(formatSocketAddress(destination)),
      });
      this.#nodes.set(name, node);
    }
    await this.update(() => ({
      ...model,
      nodes: model.nodes.map((node) => ({ ...node, tunnelPort: this.node(node.name).tunnelAddress.port })),
    }));
  }

  async #identityOf(name: string, logger: Logger): Promise<TestNodeIdentity> {
    const { ca, clock } = this;
    if (this.#controller === undefined) return handedIdentity({ name, ca, issuer: this.#issuer, clock });
    const joinToken = await (await ca.joinTokens()).create({ node: name });
    return joinedIdentity({ name, trustDomain: ca.trustDomain, address: this.#controller.address, joinToken, logger });
  }

  /** A test's server, on a loopback port of its own. */
  async #serve(server: TestServer): Promise<SocketAddress> {
    if (typeof server === 'function') return this.#bind(createHttpServer(server));
    return this.#listen(server.tcp);
  }

  #listen(onConnection: (socket: Socket) => void): Promise<SocketAddress> {
    return this.#bind(createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false }, onConnection));
  }

  async #bind(server: Server): Promise<SocketAddress> {
    server.on('connection', (socket) => void this.#track(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.#servers.add(server);
    return { ip: '127.0.0.1', port: (server.address() as AddressInfo).port };
  }

  #track(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }

  /** One listener for each (workload, target), made when first used. */
  #listenerFor(node: string, source: string, target: string): Promise<SocketAddress> {
    const key = `${source} ${target}`;
    const known = this.#listeners.get(key);
    if (known !== undefined) return known;
    const destination = this.#resolveTarget(target);
    const listener = this.#listen((socket) => {
      void this.node(node).captureOutbound(socket, { ip: source, port: socket.remotePort ?? 1 }, destination);
    });
    this.#listeners.set(key, listener);
    return listener;
  }

  #resolveTarget(target: string): SocketAddress {
    const [host = '', port = '80'] = target.split(':');
    const [name, namespace] = host.split('.');
    const service = this.state.services.find((each) => each.name === name && each.namespace === namespace);
    return { ip: service?.clusterIps[0] ?? host, port: Number(port) };
  }
}

function connectTo(address: SocketAddress): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address.ip, port: address.port, allowHalfOpen: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function fetchFrom(to: SocketAddress, host: string, path: string, options: TestRequestOptions): Promise<TestResponse> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        host: to.ip,
        port: to.port,
        path,
        method: options.method ?? 'GET',
        headers: { host, ...options.headers },
        agent: false,
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.once('error', reject);
        incoming.once('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    outgoing.once('error', reject);
    outgoing.end(options.body);
  });
}
