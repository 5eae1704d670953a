/**
 * The destination's end of the data path: everything that wants to reach a workload of this node comes through here,
 * whether it arrives by tunnel, from a pod of this very node, or as plaintext.
 *
 *   authenticate -> admit (own snapshot, engine) -> register -> dial the workload -> only now accept -> bytes
 *
 * `close` lets running connections finish, `destroy` ends them.
 */
import type { Duplex } from 'node:stream';
import {
  describeError,
  formatSocketAddress,
  ipFamily,
  notify,
  noObserver,
  parseSocketAddress,
  silentLogger,
  systemClock,
} from '../../core/index.js';
import type { Clock, Closable, Logger, Observer, SocketAddress } from '../../core/index.js';
import { resetSocket } from '../../internal/reset-socket.js';
import { splice } from '../../internal/splice.js';
import type { TrustBundle } from '../../spiffe/index.js';
import { detectProtocol } from '../../traffic/index.js';
import type { DetectedProtocol } from '../../traffic/index.js';
import type { TunnelRequest, TunnelAnnouncement } from '../../tunnel/index.js';
import type { AuthenticatedSource } from '../authenticated-source.js';
import { verifiedSourceAddress } from './source-address.js';
import type { EvidenceStore } from '../evidence.js';
import type { ConnectionFacts, MeshEvent } from '../events.js';
import type { MeshView } from '../mesh-view.js';
import { refusalReasons } from '../refusal.js';
import type { RefusalReason } from '../refusal.js';
import { traceContext } from '../trace-context.js';
import { admit } from './admission.js';
import type { Admission } from './admission.js';
import { ConnectionLog, factsForLog } from '../connection-log.js';
import type { ConnectionEnd } from '../connection-log.js';
import { ConnectionQuota } from '../connection-quota.js';
import { serveHttp } from './serve-http.js';
import { ConnectionRevoked, LiveConnection } from './live-connection.js';
import type { PeerAuthenticator } from './peer-authenticator.js';

/** Opens the plain connection to a workload. */
export type DeliveryDial = (request: {
  readonly destination: SocketAddress;
  /** Keep this source address, where the platform can. Only ever a verified one. */
  readonly sourceIp?: string | undefined;
  readonly signal: AbortSignal;
}) => Promise<Duplex>;

/** The agent's view, and word of newer ones. `SnapshotStore` of `meshwright/snapshot` satisfies it through `viewsOf`. */
export interface MeshViews {
  /** Undefined until the first snapshot: everything is refused. */
  readonly current: MeshView | undefined;
  subscribe(listener: (view: MeshView) => void): Disposable;
}

export interface InboundPathOptions {
  readonly views: MeshViews;
  readonly authenticator: PeerAuthenticator;
  readonly evidence: EvidenceStore;
  readonly dial: DeliveryDial;
  /** The agent's own listeners, refused as destinations. Default 15001, 15002, 15006. */
  readonly ownPorts?: readonly number[] | undefined;
  /** How long an application may take to send its first byte before it counts as server-first. Default 3,000. */
  readonly detectTimeoutMs?: number | undefined;
  /** Default 4,096; further ones are refused. */
  readonly maxConnections?: number | undefined;
  /** Of one source: a (principal, node), or an address of plaintext. Default half of `maxConnections`. */
  readonly maxConnectionsPerSource?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<MeshEvent> | undefined;
}

/** Something that asks for a destination and can be answered. */
export interface Arrival {
  readonly source: AuthenticatedSource;
  readonly destination: SocketAddress;
  readonly traceId: string;
  /** Aborts when the asking side goes away. */
  readonly signal: AbortSignal;
  /** Called once, after the workload was reached. */
  accept(): Duplex;
}

/** How an arrival ended. A refused one was never accepted, so the caller still has to answer. */
export type Served =
  | { readonly served: true }
  | { readonly served: false; readonly reason: RefusalReason; readonly admission?: Admission | undefined };

export class InboundPath implements Closable {
  readonly #options: InboundPathOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observer: Observer<MeshEvent>;
  readonly #ownPorts: ReadonlySet<number>;
  readonly #detectTimeoutMs: number;
  readonly #quota: ConnectionQuota;
  readonly #connections = new Map<LiveConnection, Promise<void>>();
  readonly #subscription: Disposable;
  readonly #bundleSubscription: Disposable;
  readonly #log: ConnectionLog;
  #closing = false;
  #numbered = 0;

  constructor(options: InboundPathOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
    this.#ownPorts = new Set(options.ownPorts ?? [15001, 15002, 15006]);
    this.#detectTimeoutMs = options.detectTimeoutMs ?? 3_000;
    const { maxConnections = 4_096 } = options;
    this.#quota = new ConnectionQuota({
      maxConnections,
      maxConnectionsPerSource: options.maxConnectionsPerSource ?? Math.ceil(maxConnections / 2),
    });
    this.#log = new ConnectionLog({
      side: 'inbound',
      logger: this.#logger,
      observer: this.#observer,
      clock: this.#clock,
    });
    this.#subscription = options.views.subscribe((view) => {
      for (const connection of this.#connections.keys()) connection.reconsider(view);
    });
    this.#bundleSubscription = options.authenticator.bundle.subscribe((bundle) => {
      for (const connection of this.#connections.keys()) revokeDenied(connection, bundle);
    });
  }

  /** Connections being served, for status. */
  get connections(): readonly ConnectionFacts[] {
    return [...this.#connections.keys()].map((connection) => connection.facts);
  }

  /** The tunnel server's `onConnect`. Never throws; always answers. */
  async onConnect(request: TunnelRequest): Promise<void> {
    const reason = await this.#onConnect(request);
    if (reason === undefined) return;
    try {
      request.refuse(refusalReasons[reason].status);
    } catch (error) {
      // The tunnel has answered by itself (too late), or `accept` failed half way: the stream is over in both cases.
      this.#logger.debug('refusal not sent', { reason, error: describeError(error) });
    }
  }

  /** The reason to refuse with; undefined when it was accepted. */
  async #onConnect(request: TunnelRequest): Promise<RefusalReason | undefined> {
    const trace = traceContext(request.headers['traceparent']);
    const id = `${trace.traceId.slice(0, 8)}-${request.authority}`;
    const unverified: ConnectionFacts = {
      id,
      traceId: trace.traceId,
      node: request.peer.spiffeId.toString(),
      destination: request.authority,
    };
    const refuse = (reason: RefusalReason, detail: string): RefusalReason => {
      this.#log.refused(unverified, reason, { detail });
      return reason;
    };

    let destination: SocketAddress;
    try {
      destination = parseSocketAddress(request.authority);
    } catch {
      return refuse('authority-malformed', 'expected IP:port');
    }
    const verified = await this.#options.authenticator.authenticate(request.peer, request.session, request.headers);
    if ('refused' in verified) return refuse(verified.refused, verified.detail);
    const address = verifiedSourceAddress(this.#options.views.current, verified, request.headers['forwarded']);
    const outcome = await this.serve({
      source: address === undefined ? verified : { ...verified, address },
      destination,
      traceId: trace.traceId,
      signal: request.signal,
      accept: () => request.accept(),
    });
    return outcome.served ? undefined : outcome.reason;
  }

  /** The tunnel server's `onAnnounce`: fresh evidence for streams that are open. Answers a status. */
  async onAnnounce(announcement: TunnelAnnouncement): Promise<number> {
    const { peer, session, headers } = announcement;
    const verified = await this.#options.authenticator.authenticate(peer, session, headers);
    if (!('refused' in verified)) return 204;
    this.#logger.warn('workload evidence refused', {
      reason: verified.refused,
      detail: verified.detail,
      peer: peer.spiffeId.toString(),
    });
    return refusalReasons[verified.refused].status;
  }

  /**
   * Serves one arrival to its end. Resolves `served: false` with the reason when it was refused before `accept`;
   * what goes wrong later ends the stream and is logged here. Never rejects.
   */
  async serve(arrival: Arrival): Promise<Served> {
    const view = this.#options.views.current;
    const base = this.#facts(arrival, undefined);
    if (view === undefined || this.#closing) {
      const reason = view === undefined ? 'no-snapshot' : 'shutting-down';
      this.#log.refused(base, reason, {});
      return { served: false, reason };
    }
    const admission = admit(view, arrival.source, arrival.destination, this.#ownPorts);
    const facts = this.#facts(arrival, admission);
    if (!admission.admitted) {
      this.#log.refused(facts, admission.reason, { detail: admission.detail, decision: admission.decision });
      return { served: false, reason: admission.reason, admission };
    }

    const place = this.#quota.take(sourceOf(arrival.source));
    if (typeof place === 'string') {
      this.#log.refused(facts, 'too-many-connections', { detail: place });
      return { served: false, reason: 'too-many-connections', admission };
    }
    const connection = new LiveConnection({
      source: arrival.source,
      destination: arrival.destination,
      facts,
      admission,
      ownPorts: this.#ownPorts,
    });
    const { promise: over, resolve: end } = withResolvers();
    // Registered before the first await: a snapshot that comes while dialling must find it.
    this.#connections.set(connection, over);
    // It was authenticated before an await, and may have been denied since.
    revokeDenied(connection, this.#options.authenticator.bundle.current);
    const { evidence } = arrival.source;
    const watch =
      evidence === undefined
        ? undefined
        : this.#options.evidence.watch(evidence, () =>
            connection.revoke('evidence-expired', 'no fresh token or certificate came in time'),
          );
    try {
      return await this.#deliver(arrival, connection);
    } catch (error) {
      this.#log.refused(facts, 'internal-error', { error });
      return { served: false, reason: 'internal-error', admission };
    } finally {
      place[Symbol.dispose]();
      watch?.[Symbol.dispose]();
      connection.closed();
      this.#connections.delete(connection);
      end();
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#connections.values());
    this.#subscription[Symbol.dispose]();
    this.#bundleSubscription[Symbol.dispose]();
  }

  destroy(reason?: Error): void {
    this.#closing = true;
    this.#subscription[Symbol.dispose]();
    this.#bundleSubscription[Symbol.dispose]();
    for (const connection of this.#connections.keys())
      connection.revoke('shutting-down', reason?.message ?? 'destroyed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #deliver(arrival: Arrival, connection: LiveConnection): Promise<Served> {
    const signal = AbortSignal.any([arrival.signal, connection.signal]);
    const dial = (): Promise<Duplex> =>
      this.#options.dial({ destination: arrival.destination, sourceIp: keptSource(arrival), signal });
    const refused = (fallback: RefusalReason, error?: unknown): Served => {
      const reason = revokedReason(connection.signal) ?? (arrival.signal.aborted ? 'source-gone' : fallback);
      this.#log.refused(connection.facts, reason, { error });
      return { served: false, reason };
    };
    let upstream: Duplex;
    try {
      upstream = await dial();
    } catch (error) {
      return refused('deliver-failed', error);
    }
    // Errors surface through splice and the HTTP proxy; between them a stray one must not end the process.
    upstream.on('error', () => undefined);
    try {
      if (signal.aborted) return refused('source-gone');
      let downstream: Duplex;
      try {
        downstream = arrival.accept();
      } catch (error) {
        // The asking side left, or the tunnel had already given up waiting, while the workload was dialled.
        return refused('source-gone', error);
      }
      downstream.on('error', () => undefined);
      await this.#pass(connection, downstream, upstream, dial);
      return { served: true };
    } finally {
      upstream.destroy();
    }
  }

  /** Passes bytes, and reports the end. Whatever fails in here ends this connection alone. */
  async #pass(
    connection: LiveConnection,
    downstream: Duplex,
    upstream: Duplex,
    dial: () => Promise<Duplex>,
  ): Promise<void> {
    const ended = this.#log.opened(connection.facts);
    try {
      const end = await this.#passJudged(connection, downstream, upstream, dial);
      const reason = revokedReason(connection.signal) ?? end.reason;
      ended({ ...end, reason, outcome: reason === undefined ? end.outcome : 'refused' });
    } catch (error) {
      this.#logger.error('mesh connection failed', { error: describeError(error), ...factsForLog(connection.facts) });
      resetSocket(downstream);
      resetSocket(upstream);
      ended({ outcome: 'error', reason: 'internal-error' });
    }
  }

  /**
   * Passes bytes, judged as the admission demands. From here on both streams tell by themselves when they are over, so
   * only a revocation cuts: the asking side being done must not cut short what is still on its way to the workload.
   */
  async #passJudged(
    connection: LiveConnection,
    downstream: Duplex,
    upstream: Duplex,
    dial: () => Promise<Duplex>,
  ): Promise<ConnectionEnd> {
    const { signal } = connection;
    if (connection.admission.verdict === 'needs-http') {
      const { protocol } = await detectProtocol(downstream, {
        timeoutMs: this.#detectTimeoutMs,
        clock: this.#clock,
        signal,
      }).catch(() => ({ protocol: 'closed' as const }));
      if (protocol === 'closed') {
        resetSocket(downstream);
        return { outcome: 'eof' };
      }
      if (protocol === 'http1') {
        connection.open('http');
        return serveHttp({
          connection,
          views: this.#options.views,
          downstream,
          upstream,
          dial,
          clock: this.#clock,
          logger: this.#logger,
          observer: this.#observer,
          signal,
        });
      }
      if (!this.#passOpaque(connection, protocol)) {
        resetSocket(downstream);
        return { outcome: 'refused', reason: 'http-required' };
      }
    }
    if (connection.admission.verdict === 'allow') {
      const { decision } = connection.admission;
      notify(this.#observer, { type: 'request', connection: connection.facts, protocol: 'tcp', decision });
    }
    connection.open('opaque');
    const result = await splice(downstream, upstream, { signal });
    return { outcome: result.outcome, receivedBytes: result.aToBBytes, sentBytes: result.bToABytes };
  }

  /** HTTP rules concern this connection, but it does not speak HTTP/1 in the clear: judge it as opaque bytes. */
  #passOpaque(connection: LiveConnection, protocol: DetectedProtocol): boolean {
    const view = this.#options.views.current;
    if (view === undefined) return false;
    const decision = connection.judgeOpaque(view);
    notify(this.#observer, { type: 'request', connection: connection.facts, protocol: 'tcp', decision });
    if (decision.allowed) return true;
    const hint =
      protocol === 'tls'
        ? 'the application speaks TLS on a port with HTTP rules; the rules cannot be evaluated, so remove them or let the mesh do the encryption'
        : protocol === 'http2'
          ? 'the application speaks HTTP/2 on a port with HTTP rules; only HTTP/1 is judged by request'
          : protocol === 'silent'
            ? 'the client sent nothing (a server-first protocol?) on a port with HTTP rules'
            : 'the application does not speak HTTP on a port with HTTP rules';
    this.#log.refused(connection.facts, 'http-required', { detail: hint, decision, protocol });
    return false;
  }

  #facts(arrival: Arrival, admission: Admission | undefined): ConnectionFacts {
    const { source } = arrival;
    const destination = formatSocketAddress(arrival.destination);
    this.#numbered += 1;
    return Object.freeze({
      // Numbered: the trace is the peer's choice, and two connections must never pass for one.
      id: `${arrival.traceId.slice(0, 8)}-${destination}-${String(this.#numbered)}`,
      traceId: arrival.traceId,
      principal: source.principal?.toString(),
      node: source.node,
      via: source.via,
      sourceAddress: source.address,
      destination,
      workload:
        admission?.workload === undefined ? undefined : `${admission.workload.namespace}/${admission.workload.name}`,
      services: admission?.services,
    });
  }
}

/** The address to keep towards the workload: only one of the destination's own family can be. */
/** Ends a connection whose source the deny list of `bundle` names. */
function revokeDenied(connection: LiveConnection, bundle: TrustBundle): void {
  const { principal, node } = connection.source;
  const reason = bundle.denied.reasonFor({ spiffeId: principal, node });
  if (reason !== undefined) connection.revoke('identity-denied', reason);
}

function keptSource({ source, destination }: Arrival): string | undefined {
  if (source.address === undefined) return undefined;
  return ipFamily(source.address) === ipFamily(destination.ip) ? source.address : undefined;
}

/** Whom the quota counts: what was verified, or for plaintext the address of the TCP peer. */
function sourceOf({ principal, node, address }: AuthenticatedSource): string {
  return principal === undefined ? `address ${address ?? ''}` : `${principal.toString()} ${node ?? ''}`;
}

function revokedReason(signal: AbortSignal): RefusalReason | undefined {
  return signal.aborted && signal.reason instanceof ConnectionRevoked ? signal.reason.reason : undefined;
}

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
