/**
 * One node of a test mesh: the same data path as the reference agent's, with the kernel's part (interception, marked
 * sockets) replaced by loopback listeners and an address table.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { formatSocketAddress, systemClock } from '../core/index.js';
import type { Clock, Logger, SocketAddress } from '../core/index.js';
import {
  EvidenceStore,
  InboundPath,
  LocalAuthenticator,
  OutboundPath,
  PeerAuthenticator,
  PlaintextPath,
  SourcePins,
  prepareMeshView,
  scopeToNode,
  viewsOf,
} from '../mesh/index.js';
import type { MeshEvent, MeshState, MeshView } from '../mesh/index.js';
import { SnapshotStore } from '../snapshot/index.js';
import { authorizeAgent } from '../spiffe/index.js';
import type { SpiffeId, TrustBundle, X509Svid } from '../spiffe/index.js';
import { Http2MtlsTunnel } from '../tunnel/index.js';
import type { TunnelClient, TunnelServer } from '../tunnel/index.js';
import type { TestNodeIdentity } from './test-node-identity.js';

export interface TestNodeOptions {
  readonly name: string;
  readonly identity: TestNodeIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onEvent: (event: MeshEvent) => void;
  readonly detectTimeoutMs?: number | undefined;
  /** The real loopback address behind a workload's address of the model; undefined when nothing listens there. */
  readonly resolve: (destination: SocketAddress) => SocketAddress | undefined;
}

interface Parts {
  readonly store: SnapshotStore<MeshState, MeshView>;
  readonly pins: SourcePins;
  readonly server: TunnelServer;
  readonly client: TunnelClient;
  readonly inbound: InboundPath;
  readonly plaintext: PlaintextPath;
  readonly outbound: OutboundPath;
}

export class TestNode {
  readonly name: string;
  readonly #options: TestNodeOptions;
  readonly #parts: Parts;

  private constructor(options: TestNodeOptions, parts: Parts) {
    this.name = options.name;
    this.#options = options;
    this.#parts = parts;
  }

  static async start(options: TestNodeOptions): Promise<TestNode> {
    const { clock, logger, name } = options;
    // Certificates and tokens live by the test's clock. Keepalive and time-outs are about the real network under it: a
    // jump of an hour must not look like an hour without an answer.
    const network: Clock = {
      now: () => clock.now(),
      monotonicMs: () => systemClock.monotonicMs(),
      timer: (delayMs, fn, timerOptions) => systemClock.timer(delayMs, fn, timerOptions),
    };
    const { svid, bundle, tokens } = options.identity;
    const store = new SnapshotStore<MeshState, MeshView>({ prepare: prepareMeshView(name, { clock }) });
    const views = viewsOf(store);
    const evidence = new EvidenceStore({ clock });
    const pins = new SourcePins();
    const observer = options.onEvent;
    const authenticator = new PeerAuthenticator({
      bundle,
      evidence,
      clock,
      knowsNode: (node) => views.current?.index.nodeNamed(node) !== undefined,
    });
    const inbound = new InboundPath({
      views,
      authenticator,
      evidence,
      clock: network,
      logger,
      observer,
      ownPorts: [],
      detectTimeoutMs: options.detectTimeoutMs,
      dial: ({ destination, signal }) => dialLoopback(options.resolve(destination), destination, signal),
    });
    const server = await Http2MtlsTunnel.listen({
      host: '127.0.0.1',
      port: 0,
      svid,
      bundle,
      authorizePeer: authorizeAgent(),
      onConnect: (request) => inbound.onConnect(request),
      onAnnounce: (announcement) => inbound.onAnnounce(announcement),
      clock: network,
      logger,
    });
    const client = Http2MtlsTunnel.client({ svid, bundle, clock: network, logger });
    const local = new LocalAuthenticator({ svid, bundle, tokens, evidence, clock });
    const outbound = new OutboundPath({
      views,
      client,
      tokens,
      inbound,
      local,
      pins,
      clock: network,
      logger,
      observer,
    });
    const plaintext = new PlaintextPath({ views, inbound, clock: network, logger, observer });
    options.identity.onFreshToken(() => void outbound.refreshEvidence());
    svid.subscribe(() => void outbound.refreshEvidence());
    return new TestNode(options, { store, pins, server, client, inbound, plaintext, outbound });
  }

  get tunnelAddress(): SocketAddress {
    return this.#parts.server.address;
  }

  /** The agent's certificate now, for tests that impersonate it. */
  get svid(): X509Svid {
    return this.#options.identity.svid.current;
  }

  /** What the agent trusts now. */
  get bundle(): TrustBundle {
    return this.#options.identity.bundle.current;
  }

  /** What the agent would attach for this workload, for tests that steal it. */
  token(workload: SpiffeId): Promise<string> {
    return this.#options.identity.tokens.token(workload, { keyThumbprint: this.svid.keyThumbprint });
  }

  /** Applies a mesh state, as the controller's snapshot would be. Rejects (and keeps the old one) when it is refused. */
  async apply(state: MeshState): Promise<void> {
    await this.#parts.store.swap(scopeToNode(state, this.name));
    const view = this.#parts.store.current?.value;
    this.#parts.pins.replace(
      new Map(
        (view?.index.localWorkloads ?? []).map((workload, index) => [workload, { name: `pod${String(index)}`, index }]),
      ),
    );
  }

  /** A new key and certificate, and fresh evidence for what is open. */
  async renew(): Promise<void> {
    await this.#options.identity.renew();
    await this.#parts.outbound.refreshEvidence();
  }

  /** A captured connection of a local workload. */
  captureOutbound(socket: Socket, source: SocketAddress, originalDestination: SocketAddress): Promise<void> {
    return this.#parts.outbound.onConnection({ socket, source, originalDestination });
  }

  /** Captured plaintext on its way to a local workload. */
  captureInbound(socket: Socket, source: SocketAddress, originalDestination: SocketAddress): Promise<void> {
    return this.#parts.plaintext.onConnection({ socket, source, originalDestination });
  }

  async stop(): Promise<void> {
    const { outbound, inbound, client, server } = this.#parts;
    const reason = new Error('the test mesh was closed');
    outbound.destroy(reason);
    inbound.destroy(reason);
    client.destroy(reason);
    server.destroy(reason);
    await Promise.all([outbound.close(), inbound.close(), client.close(), server.close()]);
    await this.#options.identity.close();
  }
}

function dialLoopback(address: SocketAddress | undefined, wanted: SocketAddress, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (address === undefined) {
      reject(new Error(`nothing listens at ${formatSocketAddress(wanted)}`));
      return;
    }
    const socket = connect({ host: address.ip, port: address.port, allowHalfOpen: true, noDelay: true });
    const onAbort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', reject);
    socket.once('close', () => signal.removeEventListener('abort', onAbort));
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
