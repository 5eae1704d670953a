/**
 * Plaintext that was captured on its way to an enrolled pod of this node (listener :15006): refused in STRICT mode; in
 * PERMISSIVE and DISABLE judged by the same engine, without a principal, so that allow-by-identity still denies.
 */
import type { Duplex } from 'node:stream';
import { describeError, formatSocketAddress, notify, noObserver, silentLogger, systemClock } from '../../core/index.js';
import type { Clock, Logger, Observer, SocketAddress } from '../../core/index.js';
import { resetSocket } from '../../internal/reset-socket.js';
import { ConnectionLog } from '../connection-log.js';
import type { ConnectionFacts, MeshEvent } from '../events.js';
import { resourceKey } from '../mesh-index.js';
import { answerRefusal } from '../answer-refusal.js';
import { refusalReasons } from '../refusal.js';
import { traceContext } from '../trace-context.js';
import type { MeshViews } from '../mesh-views.js';
import type { InboundPath } from './inbound-path.js';

/** A connection taken from the kernel, with where it was going. `TproxyListener` of `meshwright/tproxy` delivers these. */
export interface CapturedConnection {
  readonly socket: Duplex;
  readonly originalDestination: SocketAddress;
  readonly source: SocketAddress;
}

export interface PlaintextPathOptions {
  readonly views: MeshViews;
  readonly inbound: InboundPath;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<MeshEvent> | undefined;
}

export class PlaintextPath {
  readonly #views: MeshViews;
  readonly #inbound: InboundPath;
  readonly #clock: Clock;
  readonly #observer: Observer<MeshEvent>;
  readonly #log: ConnectionLog;
  readonly #logger: Logger;

  constructor(options: PlaintextPathOptions) {
    this.#views = options.views;
    this.#inbound = options.inbound;
    this.#clock = options.clock ?? systemClock;
    this.#observer = options.observer ?? noObserver;
    this.#logger = options.logger ?? silentLogger;
    this.#log = new ConnectionLog({
      side: 'inbound',
      logger: this.#logger,
      observer: this.#observer,
      clock: this.#clock,
    });
  }

  /** Serves one captured connection to its end. Never throws: a failure in here ends that connection alone. */
  async onConnection(captured: CapturedConnection): Promise<void> {
    captured.socket.on('error', () => undefined);
    try {
      await this.#serve(captured);
    } catch (error) {
      this.#logger.error('serving captured plaintext failed', { error: describeError(error) });
      resetSocket(captured.socket);
    }
  }

  async #serve(captured: CapturedConnection): Promise<void> {
    const { socket, originalDestination, source } = captured;
    const trace = traceContext();
    const workload = this.#views.current?.index.workloadAt(originalDestination.ip);
    const connection: ConnectionFacts = {
      id: `${trace.traceId.slice(0, 8)}-${formatSocketAddress(originalDestination)}`,
      traceId: trace.traceId,
      via: 'none',
      sourceAddress: source.ip,
      destination: formatSocketAddress(originalDestination),
      workload: workload === undefined ? undefined : resourceKey(workload),
    };
    const mode = workload?.mtlsMode ?? 'STRICT';
    if (mode === 'STRICT') {
      this.#log.refused(connection, 'plaintext-strict', { detail: `plaintext from ${source.ip}` });
      notify(this.#observer, { type: 'plaintext-inbound', mode, verdict: 'refused', connection });
      resetSocket(socket);
      return;
    }
    const gone = new AbortController();
    socket.once('close', () => gone.abort());
    let accepted = false;
    const outcome = await this.#inbound.serve({
      source: { via: 'none', address: source.ip },
      destination: originalDestination,
      traceId: trace.traceId,
      signal: gone.signal,
      accept: () => {
        accepted = true;
        notify(this.#observer, { type: 'plaintext-inbound', mode, verdict: 'allowed', connection });
        return socket;
      },
    });
    if (outcome.served || accepted) return;
    notify(this.#observer, { type: 'plaintext-inbound', mode, verdict: 'denied', connection });
    if (outcome.reason === 'too-many-connections') resetSocket(socket);
    else await answerRefusal(socket, refusalReasons[outcome.reason].status, { clock: this.#clock });
  }
}
