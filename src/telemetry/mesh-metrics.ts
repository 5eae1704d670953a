import { Registry } from 'prom-client';
import type { CaEvent } from '../ca/index.js';
import { systemClock } from '../core/index.js';
import type { Clock, Observer } from '../core/index.js';
import type { MeshEvent } from '../mesh/index.js';
import type { SnapshotEvent } from '../snapshot/index.js';
import type { TproxyEvent } from '../tproxy/index.js';
import type { TunnelEvent } from '../tunnel/index.js';
import type { VipEvent } from '../vip/index.js';
import { BoundedLabel, statusClass } from './bounded-label.js';
import { buildMetrics } from './build-metrics.js';
import { certificateObserver } from './certificate-observer.js';
import type { MetricsOf } from './build-metrics.js';
import { TelemetryError } from './errors.js';
import { meshObserver } from './mesh-observer.js';
import { agentMetrics } from './metric-table.js';
import { vipMetricTable } from './vip-metric-table.js';
import { vipObserver } from './vip-observer.js';

export interface MeshMetricsOptions {
  /** Distinct values of the `service` label; further services are counted as `other`. Default 500; 1 to 10,000. */
  readonly maxServices?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** An agent's metrics: a registry of its own, and what feeds it. */
export interface MeshMetrics {
  readonly registry: Registry;
  /** One observer per module, to be passed as its `observer` option. */
  readonly observers: {
    readonly mesh: Observer<MeshEvent>;
    readonly tunnel: Observer<TunnelEvent>;
    readonly snapshot: Observer<SnapshotEvent>;
    readonly tproxy: Observer<TproxyEvent>;
    readonly ca: Observer<CaEvent>;
    readonly vip: Observer<VipEvent>;
  };
}

/**
 * The metrics of an agent (docs/metrics.md lists them). Every label has a bounded set of values.
 *
 * Throws `TELEMETRY_OPTION_INVALID`.
 *
 * @example
 * const metrics = meshMetrics();
 * const tunnel = Http2MtlsTunnel.client({ svid, bundle, observer: metrics.observers.tunnel });
 * const server = await metricsServer({ port: 9090, registry: metrics.registry });
 */
export function meshMetrics(options: MeshMetricsOptions = {}): MeshMetrics {
  const { maxServices = 500, clock = systemClock } = options;
  if (!Number.isInteger(maxServices) || maxServices < 1 || maxServices > 10_000) {
    throw new TelemetryError(
      'TELEMETRY_OPTION_INVALID',
      `maxServices must be a whole number from 1 to 10000, got ${String(maxServices)}`,
    );
  }
  const registry = new Registry();
  const metrics = buildMetrics(agentMetrics, registry);
  return Object.freeze({
    registry,
    observers: Object.freeze({
      mesh: meshObserver(metrics, new BoundedLabel(maxServices)),
      tunnel: tunnelObserver(metrics),
      snapshot: snapshotObserver(metrics),
      tproxy: tproxyObserver(metrics),
      ca: agentCaObserver(metrics, clock),
      vip: vipObserver(buildMetrics(vipMetricTable, registry)),
    }),
  });
}

type AgentMetrics = MetricsOf<typeof agentMetrics>;

function tunnelObserver(metrics: AgentMetrics): Observer<TunnelEvent> {
  return (event) => {
    const end = event.side;
    switch (event.type) {
      case 'handshake':
        metrics.tunnelHandshakes.inc({ end, result: event.ok ? 'ok' : (event.reason ?? 'unknown') });
        return;
      case 'session-opened':
        metrics.tunnelSessions.inc({ end });
        return;
      case 'session-closed':
        metrics.tunnelSessions.inc({ end }, -1);
        return;
      case 'stream-opened':
        metrics.tunnelStreams.inc({ end, result: 'opened' });
        return;
      case 'stream-refused':
        metrics.tunnelStreams.inc({ end, result: statusClass(event.status) });
        return;
      case 'stream-closed':
        return;
      case 'evidence':
        metrics.tunnelEvidence.inc({ end, status: statusClass(event.status) });
        return;
    }
  };
}

function snapshotObserver(metrics: AgentMetrics): Observer<SnapshotEvent> {
  return (event) => {
    if (event.type === 'snapshot-applied') {
      metrics.snapshots.inc({ result: 'applied', from: event.from });
      metrics.snapshotSequence.set({}, event.sequence);
    } else if (event.type === 'snapshot-refused') {
      metrics.snapshots.inc({ result: 'refused', from: event.from });
    } else if (event.type === 'snapshot-stream') {
      metrics.controllerConnected.set({}, event.connected ? 1 : 0);
    }
  };
}

function tproxyObserver(metrics: AgentMetrics): Observer<TproxyEvent> {
  return (event) => {
    switch (event.type) {
      case 'tproxy.connection':
        metrics.captured.inc({ result: 'taken' });
        return;
      case 'tproxy.connection-refused':
        metrics.captured.inc({ result: event.reason });
        return;
      case 'tproxy.rules-applied':
        metrics.rules.inc({ result: 'applied' });
        return;
      case 'tproxy.rules-failed':
        metrics.rules.inc({ result: 'failed' });
        return;
      case 'tproxy.rules-drifted':
        metrics.rules.inc({ result: 'drifted' });
        return;
    }
  };
}

function agentCaObserver(metrics: AgentMetrics, clock: Clock): Observer<CaEvent> {
  const { certExpiry: expiry, certRenewals: renewals, certRenewalFailures: failures } = metrics;
  const certificate = certificateObserver({ expiry, renewals, failures }, clock);
  return (event) => {
    certificate(event);
    if (event.type === 'svid-denied') metrics.certDenied.set({}, event.denied === undefined ? 0 : 1);
    else if (event.type === 'workload-token-updated') metrics.workloadTokens.inc({ result: 'ok' });
    else if (event.type === 'workload-token-failed') metrics.workloadTokens.inc({ result: event.code });
  };
}
