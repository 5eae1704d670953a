import type { Observer } from '../core/index.js';
import { refusalReasons } from '../mesh/index.js';
import type { ConnectionFacts, MeshEvent, RefusalReason } from '../mesh/index.js';
import { methodClass } from '../traffic/index.js';
import type { BoundedLabel } from './bounded-label.js';
import { statusClass } from './bounded-label.js';
import type { MetricsOf } from './build-metrics.js';
import type { agentMetrics } from './metric-table.js';

type AgentMetrics = MetricsOf<typeof agentMetrics>;

/** Refusals that say nothing about identity or permission. `http-required` and `plaintext-strict` have their own events. */
const notAuthorization: ReadonlySet<RefusalReason> = new Set<RefusalReason>([
  'authority-malformed',
  'authority-not-local',
  'authority-not-enrolled',
  'authority-not-ready',
  'deliver-failed',
  'destination-gone',
  'destination-unknown',
  'endpoint-unreachable',
  'http-required',
  'no-ready-endpoint',
  'no-snapshot',
  'plaintext-strict',
  'shutting-down',
  'too-many-connections',
  'source-gone',
  'internal-error',
]);

/** Turns what the data path reports into metrics. */
export function meshObserver(metrics: AgentMetrics, services: BoundedLabel): Observer<MeshEvent> {
  /** Open inbound connections, and whether a request was reported for them; what has none is judged as a whole. */
  const open = new Map<string, boolean>();
  const serviceOf = ({ services: names, workload }: ConnectionFacts): string => services.of(names?.[0] ?? workload);
  const countWhole = (connection: ConnectionFacts, verdict: 'allowed' | 'denied'): void =>
    metrics.requests.inc({
      protocol: 'tcp',
      method: 'none',
      verdict,
      status: 'none',
      service: serviceOf(connection),
    });
  const countDenied = (connection: ConnectionFacts, reason: RefusalReason): void => {
    if (reason in refusalReasons && !notAuthorization.has(reason)) {
      metrics.authDenied.inc({ reason, service: serviceOf(connection) });
    }
  };

  return (event) => {
    const { connection } = event;
    switch (event.type) {
      case 'connection-opened':
        metrics.connectionsActive.inc({ side: event.side });
        if (event.side === 'inbound') open.set(connection.id, false);
        return;
      case 'connection-closed': {
        const { side, outcome, reason, sentBytes, receivedBytes } = event;
        metrics.connectionsActive.inc({ side }, -1);
        metrics.connectionsEnded.inc({ side, outcome });
        metrics.bytes.inc({ side, direction: 'sent' }, sentBytes);
        metrics.bytes.inc({ side, direction: 'received' }, receivedBytes);
        if (side === 'outbound') return;
        if (open.get(connection.id) === false) countWhole(connection, 'allowed');
        open.delete(connection.id);
        if (reason !== undefined) countDenied(connection, reason);
        return;
      }
      case 'connection-refused':
        metrics.connectionsRefused.inc({ side: event.side, reason: event.reason });
        // The source only repeats what the destination decided.
        if (event.side === 'outbound') return;
        if (event.decision !== undefined && event.reason !== 'http-required') countWhole(connection, 'denied');
        countDenied(connection, event.reason);
        return;
      case 'request': {
        const { protocol, decision, status, durationMs } = event;
        if (open.has(connection.id)) open.set(connection.id, true);
        const verdict = decision.allowed ? 'allowed' : 'denied';
        const service = serviceOf(connection);
        const method = protocol === 'http1' ? methodClass(event.method ?? '') : 'none';
        metrics.requests.inc({ protocol, method, verdict, status: statusClass(status), service });
        if (!decision.allowed) {
          metrics.authDenied.inc({ reason: protocol === 'http1' ? 'denied-by-policy' : 'http-required', service });
        }
        if (durationMs !== undefined) metrics.requestDuration.observe({ verdict }, durationMs / 1000);
        return;
      }
      case 'request-malformed':
        if (open.has(connection.id)) open.set(connection.id, true);
        metrics.requestsMalformed.inc({ status: statusClass(event.status) });
        return;
      case 'plaintext-inbound':
        metrics.plaintext.inc({ mode: event.mode, verdict: event.verdict });
        return;
    }
  };
}
