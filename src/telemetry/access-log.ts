import type { Logger, Observer } from '../core/index.js';
import type { ConnectionFacts, MeshEvent } from '../mesh/index.js';

export interface AccessLogOptions {
  /** `refused` leaves out what was allowed. Default `all`. */
  readonly requests?: 'all' | 'refused' | undefined;
}

const maxPathLength = 512;

/**
 * The access log of the data path: one line `mesh request` for each judged request, from the very decision that was
 * enforced, and `mesh request malformed` for HTTP that was refused before judgement. Accepted and refused connections
 * have their own lines (`mesh connection closed`, `mesh connection refused`), which the data path writes itself.
 *
 * Holds the path without its query, cut to 512 characters, and no header: neither tokens nor cookies get into it.
 */
export function accessLog(logger: Logger, options: AccessLogOptions = {}): Observer<MeshEvent> {
  const refusedOnly = options.requests === 'refused';
  return (event) => {
    if (event.type === 'request') {
      const { decision, protocol } = event;
      if (decision.allowed && refusedOnly) return;
      // A refused connection is one line, and the data path has written it.
      if (!decision.allowed && protocol === 'tcp') return;
      logger[decision.allowed ? 'info' : 'warn']('mesh request', {
        side: 'inbound',
        protocol,
        method: event.method,
        path: event.path?.slice(0, maxPathLength),
        status: event.status,
        duration_ms: event.durationMs === undefined ? undefined : Math.round(event.durationMs * 10) / 10,
        allowed: decision.allowed,
        policy: decision.policy,
        rule: decision.rule,
        decision: decision.reason,
        ...connectionFields(event.connection),
      });
    } else if (event.type === 'request-malformed') {
      logger.warn('mesh request malformed', {
        side: 'inbound',
        status: event.status,
        problem: event.problem,
        ...connectionFields(event.connection),
      });
    }
  };
}

/** As in the lines of the data path, so that one search finds both. */
function connectionFields(connection: ConnectionFacts): Record<string, unknown> {
  return {
    connection: connection.id,
    trace_id: connection.traceId,
    source_principal: connection.principal,
    source_node: connection.node,
    source_address: connection.sourceAddress,
    via: connection.via,
    destination: connection.destination,
    workload: connection.workload,
    services: connection.services,
  };
}
