/**
 * The destination's end of the data path: everything that wants to reach a workload of this node comes through here,
 * whether it arrives by tunnel, from a pod of this very node, or as plaintext.
 *
 *   authenticate -> admit (own snapshot, engine) -> register -> dial the workload -> only now accept -> bytes
 *
 * `close` lets running connections finish, `destroy` ends them.
 */
import {
  describeError,
  formatSocketAddress,
  noObserver,
  parseSocketAddress,
  silentLogger,
  systemClock,
} from '../../core/index.js';
import type { Clock, Closable, Logger, Observer, SocketAddress } from '../../core/index.js';
import type { TrustBundle } from '../../spiffe/index.js';
import type { TunnelRequest, TunnelAnnouncement } from '../../tunnel/index.js';
import type { AuthenticatedSource } from '../authenticated-source.js';
import { ConnectionLog } from '../connection-log.js';
import { ConnectionQuota } from '../connection-quota.js';
import type { EvidenceStore } from '../evidence.js';
import type { ConnectionFacts, MeshEvent } from '../events.js';
import type { MeshView } from '../mesh-view.js';
import type { MeshViews } from '../mesh-views.js';
import { refusalReasons } from '../refusal.js';
import type { RefusalReason } from '../refusal.js';
import { traceContext } from '../trace-context.js';
import { admit } from './admission.js';
import type { Admission } from './admission.js';
import type { Arrival, DeliveryDial, Served } from './arrival.js';
import { Delivery } from './delivery.js';
import { GrantEnds } from './grant-ends.js';
import { LiveConnection } from './live-connection.js';
import type { PeerAuthenticator } from './peer-authenticator.js';
import { verifiedSourceAddress } from './source-address.js';

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

export class InboundPath implements Closable {
  readonly #options: InboundPathOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observer: Observer<MeshEvent>;
  readonly #ownPorts: ReadonlySet<number>;
  readonly #delivery: Delivery;
  readonly #quota: ConnectionQuota;
  readonly #connections = new Map<LiveConnection, Promise<void>>();
  readonly #subscription: Disposable;
  readonly #grantEnds: GrantEnds;
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
    this.#delivery = new Delivery({
      views: options.views,
      dial: options.dial,
      detectTimeoutMs: options.detectTimeoutMs ?? 3_000,
      clock: this.#clock,
      logger: this.#logger,
      observer: this.#observer,
      log: this.#log,
    });
    const reconsider = (view: MeshView): void => {
      for (const connection of this.#connections.keys()) connection.reconsider(view);
    };
    this.#grantEnds = new GrantEnds({ clock: this.#clock, logger: this.#logger, onEnded: reconsider });
    if (options.views.current !== undefined) this.#grantEnds.follow(options.views.current);
    this.#subscription = options.views.subscribe((view) => {
      reconsider(view);
      this.#grantEnds.follow(view);
    });
    this.#bundleSubscription = options.authenticator.bundle.subscribe((bundle) => {
      options.evidence.keepTokenKeys(new Set(bundle.workloadTokenKeys.map(({ kid }) => kid)));
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
        : this.#options.evidence.watch(evidence, (end) => {
            if (end === 'expired') connection.revoke('evidence-expired', 'no fresh token or certificate came in time');
            else connection.revoke('evidence-withdrawn', 'the key that signed its token was withdrawn');
          });
    try {
      return await this.#delivery.run(arrival, connection);
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
    this.#grantEnds.close();
    this.#bundleSubscription[Symbol.dispose]();
  }

  destroy(reason?: Error): void {
    this.#closing = true;
    this.#subscription[Symbol.dispose]();
    this.#grantEnds.close();
    this.#bundleSubscription[Symbol.dispose]();
    for (const connection of this.#connections.keys())
      connection.revoke('shutting-down', reason?.message ?? 'destroyed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
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

/** Ends a connection whose source the deny list of `bundle` names. */
function revokeDenied(connection: LiveConnection, bundle: TrustBundle): void {
  const { principal, node, serialNumber } = connection.source;
  const reason = bundle.denied.reasonFor({ spiffeId: principal, node, serialNumber });
  if (reason !== undefined) connection.revoke('identity-denied', reason);
}

/** Whom the quota counts: what was verified, or for plaintext the address of the TCP peer. */
function sourceOf({ principal, node, address }: AuthenticatedSource): string {
  return principal === undefined ? `address ${address ?? ''}` : `${principal.toString()} ${node ?? ''}`;
}

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
