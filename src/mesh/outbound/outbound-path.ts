/**
 * The source's end of the data path: a captured connection of a pod of this node is given its identity and carried to
 * the agent of the destination's node, or straight into this node's own inbound end.
 *
 *   who is calling (pinned address) -> where to (snapshot) -> tunnel or local -> bytes
 *
 * Nothing is ever passed on in plaintext: what cannot be carried is refused.
 */
import type { Duplex } from 'node:stream';
import {
  describeError,
  formatSocketAddress,
  isMeshwrightError,
  noObserver,
  silentLogger,
  systemClock,
} from '../../core/index.js';
import type { Clock, Closable, Logger, Observer } from '../../core/index.js';
import { resetSocket } from '../../internal/reset-socket.js';
import { splice } from '../../internal/splice.js';
import { agentId, TrustDomain, workloadId, workloadTokenHeader } from '../../spiffe/index.js';
import type { SpiffeId, WorkloadTokenSource } from '../../spiffe/index.js';
import { TunnelRefused } from '../../tunnel/index.js';
import type { TunnelClient } from '../../tunnel/index.js';
import { answerRefusal } from '../answer-refusal.js';
import { ConnectionLog } from '../connection-log.js';
import { ConnectionQuota } from '../connection-quota.js';
import type { ConnectionFacts, MeshEvent } from '../events.js';
import type { CapturedConnection } from '../inbound/plaintext-path.js';
import type { InboundPath } from '../inbound/inbound-path.js';
import type { MeshViews } from '../mesh-views.js';
import type { MeshView } from '../mesh-view.js';
import { resourceKey } from '../mesh-index.js';
import type { ServiceEndpoint, Workload } from '../resources.js';
import { refusalReasons } from '../refusal.js';
import type { RefusalReason } from '../refusal.js';
import { traceContext } from '../trace-context.js';
import type { TraceContext } from '../trace-context.js';
import { EndpointPicker } from './endpoint-picker.js';
import { EvidenceRefresher } from './evidence-refresher.js';
import type { LocalAuthenticator } from './local-authenticator.js';
import type { SourcePins } from './source-pins.js';

export interface OutboundPathOptions {
  readonly views: MeshViews;
  readonly client: TunnelClient;
  readonly tokens: WorkloadTokenSource;
  /** Serves destinations on this very node. */
  readonly inbound: InboundPath;
  readonly local: LocalAuthenticator;
  /** Undefined only where the operator trusts the network for source addresses (`trustNetworkForSource`). */
  readonly pins: SourcePins | undefined;
  /** Endpoints tried before giving up, when none took a byte. Default 3. */
  readonly maxAttempts?: number | undefined;
  /** Default 4,096; further ones are reset. */
  readonly maxConnections?: number | undefined;
  /** Of one source address. Default half of `maxConnections`. */
  readonly maxConnectionsPerSource?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<MeshEvent> | undefined;
}

interface Attempt {
  readonly workload: Workload;
  readonly principal: SpiffeId;
  readonly captured: CapturedConnection;
  readonly facts: ConnectionFacts;
  readonly trace: TraceContext;
  readonly signal: AbortSignal;
}

/** `served`: bytes went both ways and it is over. `next`: nothing was sent, another endpoint may be tried. */
type AttemptOutcome =
  | { readonly kind: 'served' }
  | { readonly kind: 'refused' | 'next'; readonly reason: RefusalReason; readonly detail: string };

export class OutboundPath implements Closable {
  readonly #options: OutboundPathOptions;
  readonly #clock: Clock;
  readonly #log: ConnectionLog;
  readonly #picker = new EndpointPicker();
  readonly #evidence: EvidenceRefresher;
  readonly #maxAttempts: number;
  readonly #quota: ConnectionQuota;
  readonly #logger: Logger;
  readonly #connections = new Map<CapturedConnection, Promise<void>>();
  #closing = false;

  constructor(options: OutboundPathOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#maxAttempts = options.maxAttempts ?? 3;
    const { maxConnections = 4_096, logger = silentLogger } = options;
    this.#logger = logger;
    this.#quota = new ConnectionQuota({
      maxConnections,
      maxConnectionsPerSource: options.maxConnectionsPerSource ?? Math.ceil(maxConnections / 2),
    });
    this.#log = new ConnectionLog({
      side: 'outbound',
      logger,
      observer: options.observer ?? noObserver,
      clock: this.#clock,
    });
    this.#evidence = new EvidenceRefresher({
      client: options.client,
      tokens: options.tokens,
      local: options.local,
      clock: this.#clock,
      logger,
    });
  }

  /** Connections being carried, for status. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Pushes fresh evidence for every open stream: call it when tokens or the agent's SVID were renewed. */
  refreshEvidence(): Promise<void> {
    return this.#evidence.refresh();
  }

  /** The outbound listener's `onConnection`. Never throws; always answers or closes. */
  onConnection(captured: CapturedConnection): Promise<void> {
    captured.socket.on('error', () => undefined);
    const carried = this.#carry(captured)
      .catch((error: unknown) => {
        this.#logger.error('carrying a captured connection failed', { error: describeError(error) });
        resetSocket(captured.socket);
      })
      .finally(() => this.#connections.delete(captured));
    this.#connections.set(captured, carried);
    return carried;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#connections.values());
    this.#evidence.destroy();
  }

  destroy(reason?: Error): void {
    this.#closing = true;
    this.#evidence.destroy();
    for (const captured of this.#connections.keys()) captured.socket.destroy(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #carry(captured: CapturedConnection): Promise<void> {
    const { socket, originalDestination, source } = captured;
    const trace = traceContext();
    const view = this.#options.views.current;
    const workload = view?.index.workloadAt(source.ip);
    const local = workload !== undefined && workload.node === view?.index.node ? workload : undefined;
    const principal = view === undefined || local === undefined ? undefined : principalOf(view, local);
    const facts: ConnectionFacts = Object.freeze({
      id: `${trace.traceId.slice(0, 8)}-${formatSocketAddress(originalDestination)}`,
      traceId: trace.traceId,
      principal: principal?.toString(),
      node: view?.index.node,
      sourceAddress: source.ip,
      destination: formatSocketAddress(originalDestination),
    });
    const refuse = async (reason: RefusalReason, detail: string): Promise<void> => {
      this.#log.refused(facts, reason, { detail });
      await answerRefusal(socket, refusalReasons[reason].status, { clock: this.#clock });
    };

    const place = this.#quota.take(source.ip);
    if (typeof place === 'string') {
      this.#log.refused(facts, 'too-many-connections', { detail: place });
      // At once: an answer would take the place that there is not.
      resetSocket(socket);
      return;
    }
    using _place = place;
    if (view === undefined) return await refuse('no-snapshot', 'no snapshot yet');
    if (this.#closing) return await refuse('shutting-down', 'not taking connections');
    if (local === undefined || principal === undefined) {
      return await refuse('source-unknown', `${source.ip} is no workload of node ${view.index.node}`);
    }
    if (this.#options.pins?.isPinned(local) === false) {
      return await refuse('source-unpinned', `${resourceKey(local)} is not pinned to an interface`);
    }
    const candidates = this.#candidates(view, originalDestination);
    if (candidates === undefined) return await refuse('destination-unknown', facts.destination);
    if (candidates.length === 0) return await refuse('no-ready-endpoint', facts.destination);

    const gone = new AbortController();
    socket.once('close', () => gone.abort());
    const attempt: Attempt = { workload: local, principal, captured, facts, trace, signal: gone.signal };
    let last: { reason: RefusalReason; detail: string } = { reason: 'endpoint-unreachable', detail: 'none tried' };
    for (const endpoint of candidates.slice(0, this.#maxAttempts)) {
      if (gone.signal.aborted) return;
      const outcome =
        endpoint.node === view.index.node
          ? await this.#carryLocally(attempt, endpoint)
          : await this.#carryByTunnel(attempt, endpoint, view);
      if (outcome.kind === 'served') return;
      last = outcome;
      if (outcome.kind === 'refused') break;
    }
    return await refuse(last.reason, last.detail);
  }

  /** Where the connection may go, best first; undefined when it is nowhere the mesh knows. */
  #candidates(view: MeshView, to: CapturedConnection['originalDestination']): readonly ServiceEndpoint[] | undefined {
    const destination = view.index.destinationAt(to.ip, to.port);
    if (destination === undefined) return undefined;
    if (destination.kind === 'service') {
      return this.#picker.candidates(formatSocketAddress(to), destination.port);
    }
    const { workload } = destination;
    return [{ address: to.ip, port: to.port, workload: resourceKey(workload), node: workload.node, ready: true }];
  }

  async #carryLocally(attempt: Attempt, endpoint: ServiceEndpoint): Promise<AttemptOutcome> {
    const { captured, trace, signal, principal } = attempt;
    const source = await this.#options.local.authenticate(principal);
    if ('refused' in source) return { kind: 'refused', reason: source.refused, detail: source.detail };
    const release = this.#evidence.trackLocal(principal);
    const outcome = await this.#options.inbound
      .serve({
        source: { ...source, address: captured.source.ip },
        destination: { ip: endpoint.address, port: endpoint.port },
        traceId: trace.traceId,
        signal,
        accept: () => captured.socket,
      })
      .finally(release);
    if (outcome.served) return { kind: 'served' };
    return {
      kind: concernsEndpoint(refusalReasons[outcome.reason].status) ? 'next' : 'refused',
      reason: outcome.reason,
      detail: refusalReasons[outcome.reason].meaning,
    };
  }

  async #carryByTunnel(attempt: Attempt, endpoint: ServiceEndpoint, view: MeshView): Promise<AttemptOutcome> {
    const { captured, principal, trace, signal, facts } = attempt;
    const node = view.index.nodeNamed(endpoint.node);
    const address = node?.addresses[0];
    if (node === undefined || address === undefined) {
      return { kind: 'next', reason: 'endpoint-unreachable', detail: `node ${endpoint.node} is not in the snapshot` };
    }
    const peer = agentId(principal.trustDomain, node.name);
    const tunnel = { address: { ip: address, port: node.tunnelPort }, peer };
    let stream: Duplex;
    try {
      const connected = await this.#options.client.connect({
        ...tunnel,
        authority: formatSocketAddress({ ip: endpoint.address, port: endpoint.port }),
        headers: async ({ keyThumbprint }) => ({
          [workloadTokenHeader]: await this.#options.tokens.token(principal, { keyThumbprint, signal }),
          forwarded: `for="${formatSocketAddress(captured.source)}"`,
          traceparent: trace.traceparent,
          baggage: `k8s.namespace.name=${attempt.workload.namespace},k8s.pod.name=${attempt.workload.name}`,
        }),
        signal,
      });
      stream = connected.stream;
    } catch (error) {
      return this.#tunnelFailure(error, peer);
    }
    stream.on('error', () => undefined);
    const release = this.#evidence.track({ principal, peer });
    const ended = this.#log.opened(facts);
    try {
      // No signal: the application's side being done must not cut what is still on its way to the other agent.
      const result = await splice(captured.socket, stream);
      ended({ outcome: result.outcome, sentBytes: result.aToBBytes, receivedBytes: result.bToABytes });
    } finally {
      release();
    }
    return { kind: 'served' };
  }

  #tunnelFailure(error: unknown, peer: SpiffeId): AttemptOutcome {
    const detail = `${peer.toString()}: ${describeError(error)}`;
    if (error instanceof TunnelRefused) {
      return concernsEndpoint(error.status)
        ? { kind: 'next', reason: 'endpoint-unreachable', detail }
        : { kind: 'refused', reason: 'refused-by-destination', detail };
    }
    const unauthenticated = isMeshwrightError(error) && /^(?:CA_|TUNNEL_SVID_)/.test(error.code);
    return unauthenticated
      ? { kind: 'refused', reason: 'source-unauthenticated', detail }
      : { kind: 'next', reason: 'endpoint-unreachable', detail };
  }
}

/**
 * Whether a refusal is about that endpoint only (not there, not ready, overloaded), so that another may be tried. A 403 is an
 * answer about this source: it is never taken to another endpoint.
 */
function concernsEndpoint(status: number): boolean {
  return status >= 500 || status === 404;
}

function principalOf(view: MeshView, workload: Workload): SpiffeId {
  return workloadId(TrustDomain.parse(view.index.state.trustDomain), workload.namespace, workload.serviceAccount);
}
