/** Says what became of a connection, in the log and to the observer, in one form for both ends of the data path. */
import type { Decision } from '../authz/index.js';
import { describeError, notify } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import type { DetectedProtocol } from '../traffic/index.js';
import type { ConnectionFacts, MeshEvent } from './events.js';
import { refusalReasons } from './refusal.js';
import type { RefusalReason } from './refusal.js';

export interface ConnectionEnd {
  readonly outcome: 'eof' | 'reset' | 'error' | 'refused' | 'aborted';
  readonly reason?: RefusalReason | undefined;
  readonly sentBytes?: number | undefined;
  readonly receivedBytes?: number | undefined;
}

export class ConnectionLog {
  readonly #side: 'inbound' | 'outbound';
  readonly #logger: Logger;
  readonly #observer: Observer<MeshEvent>;
  readonly #clock: Clock;

  constructor(options: {
    readonly side: 'inbound' | 'outbound';
    readonly logger: Logger;
    readonly observer: Observer<MeshEvent>;
    readonly clock: Clock;
  }) {
    this.#side = options.side;
    this.#logger = options.logger;
    this.#observer = options.observer;
    this.#clock = options.clock;
  }

  /** A connection was turned away. */
  refused(
    connection: ConnectionFacts,
    reason: RefusalReason,
    details: {
      readonly detail?: string | undefined;
      readonly decision?: Decision | undefined;
      readonly error?: unknown;
      readonly protocol?: DetectedProtocol | undefined;
    },
  ): void {
    const { decision, detail, error, protocol } = details;
    this.#logger.warn('mesh connection refused', {
      side: this.#side,
      reason,
      meaning: refusalReasons[reason].meaning,
      ...(detail === undefined ? {} : { detail }),
      ...(error === undefined ? {} : { error: describeError(error) }),
      ...(decision === undefined ? {} : { policy: decision.policy, rule: decision.rule, decision: decision.reason }),
      ...(protocol === undefined ? {} : { protocol }),
      ...factsForLog(connection),
    });
    notify(this.#observer, {
      type: 'connection-refused',
      side: this.#side,
      connection,
      reason,
      decision,
      ...(protocol === undefined ? {} : { protocol }),
    });
  }

  /** A connection was accepted; call the result once when it ended. */
  opened(connection: ConnectionFacts): (end: ConnectionEnd) => void {
    const startedMs = this.#clock.monotonicMs();
    notify(this.#observer, { type: 'connection-opened', side: this.#side, connection });
    return (end) => {
      const durationMs = Math.round(this.#clock.monotonicMs() - startedMs);
      const { outcome, reason, sentBytes = 0, receivedBytes = 0 } = end;
      this.#logger.info('mesh connection closed', {
        side: this.#side,
        outcome,
        ...(reason === undefined ? {} : { reason, meaning: refusalReasons[reason].meaning }),
        sent_bytes: sentBytes,
        received_bytes: receivedBytes,
        duration_ms: durationMs,
        ...factsForLog(connection),
      });
      notify(this.#observer, {
        type: 'connection-closed',
        side: this.#side,
        connection,
        outcome,
        reason,
        sentBytes,
        receivedBytes,
        durationMs,
      });
    };
  }
}

/** Log fields in the style of the metrics: snake case, absent ones left out. */
export function factsForLog(connection: ConnectionFacts): Record<string, unknown> {
  const fields: Record<string, unknown> = {
    trace_id: connection.traceId,
    source_principal: connection.principal,
    source_node: connection.node,
    source_address: connection.sourceAddress,
    via: connection.via,
    destination: connection.destination,
    workload: connection.workload,
    services: connection.services,
  };
  for (const key of Object.keys(fields)) if (fields[key] === undefined) delete fields[key];
  return fields;
}
