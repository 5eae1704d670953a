/**
 * From an admitted connection to its end: dial the workload, only then accept, and pass the bytes as the admission demands,
 * unread or with every HTTP request judged.
 */
import type { Duplex } from 'node:stream';
import { describeError, ipFamily, notify } from '../../core/index.js';
import type { Clock, Logger, Observer } from '../../core/index.js';
import { resetSocket } from '../../internal/reset-socket.js';
import { splice } from '../../internal/splice.js';
import { detectProtocol } from '../../traffic/index.js';
import type { DetectedProtocol } from '../../traffic/index.js';
import { factsForLog } from '../connection-log.js';
import type { ConnectionEnd, ConnectionLog } from '../connection-log.js';
import type { MeshEvent } from '../events.js';
import type { MeshViews } from '../mesh-views.js';
import type { RefusalReason } from '../refusal.js';
import type { Arrival, DeliveryDial, Served } from './arrival.js';
import { ConnectionRevoked } from './live-connection.js';
import type { LiveConnection } from './live-connection.js';
import { serveHttp } from './serve-http.js';

export interface DeliveryOptions {
  readonly views: MeshViews;
  readonly dial: DeliveryDial;
  readonly detectTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: Observer<MeshEvent>;
  readonly log: ConnectionLog;
}

export class Delivery {
  readonly #options: DeliveryOptions;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** Resolves when the connection is over, or when it was refused before it was accepted. */
  async run(arrival: Arrival, connection: LiveConnection): Promise<Served> {
    const signal = AbortSignal.any([arrival.signal, connection.signal]);
    const dial = (): Promise<Duplex> =>
      this.#options.dial({ destination: arrival.destination, sourceIp: keptSource(arrival), signal });
    const refused = (fallback: RefusalReason, error?: unknown): Served => {
      const reason = revokedReason(connection.signal) ?? (arrival.signal.aborted ? 'source-gone' : fallback);
      this.#options.log.refused(connection.facts, reason, { error });
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
    const ended = this.#options.log.opened(connection.facts);
    try {
      const end = await this.#passJudged(connection, downstream, upstream, dial);
      const reason = revokedReason(connection.signal) ?? end.reason;
      ended({ ...end, reason, outcome: reason === undefined ? end.outcome : 'refused' });
    } catch (error) {
      this.#options.logger.error('mesh connection failed', {
        error: describeError(error),
        ...factsForLog(connection.facts),
      });
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
        timeoutMs: this.#options.detectTimeoutMs,
        clock: this.#options.clock,
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
          clock: this.#options.clock,
          logger: this.#options.logger,
          observer: this.#options.observer,
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
      notify(this.#options.observer, { type: 'request', connection: connection.facts, protocol: 'tcp', decision });
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
    notify(this.#options.observer, { type: 'request', connection: connection.facts, protocol: 'tcp', decision });
    if (decision.allowed) return true;
    const hint =
      protocol === 'tls'
        ? 'the application speaks TLS on a port with HTTP rules; the rules cannot be evaluated, so remove them or let the mesh do the encryption'
        : protocol === 'http2'
          ? 'the application speaks HTTP/2 on a port with HTTP rules; only HTTP/1 is judged by request'
          : protocol === 'silent'
            ? 'the client sent nothing (a server-first protocol?) on a port with HTTP rules'
            : 'the application does not speak HTTP on a port with HTTP rules';
    this.#options.log.refused(connection.facts, 'http-required', { detail: hint, decision, protocol });
    return false;
  }
}

/** The address to keep towards the workload: only one of the destination's own family can be. */
function keptSource({ source, destination }: Arrival): string | undefined {
  if (source.address === undefined) return undefined;
  return ipFamily(source.address) === ipFamily(destination.ip) ? source.address : undefined;
}

function revokedReason(signal: AbortSignal): RefusalReason | undefined {
  return signal.aborted && signal.reason instanceof ConnectionRevoked ? signal.reason.reason : undefined;
}
