import { Registry } from 'prom-client';
import type { CaEvent } from '../ca/index.js';
import { systemClock } from '../core/index.js';
import type { Clock, Observer } from '../core/index.js';
import type { ControlPlaneEvent } from '../mesh/index.js';
import type { SnapshotEvent } from '../snapshot/index.js';
import { buildMetrics } from './build-metrics.js';
import { certificateObserver } from './certificate-observer.js';
import { controllerMetricTable } from './metric-table.js';

/** A controller's metrics: a registry of its own, and what feeds it. */
export interface ControllerMetrics {
  readonly registry: Registry;
  /** One observer per module, to be passed as its `observer` option; `ca` also to the controller's own `SvidRenewer`. */
  readonly observers: {
    readonly ca: Observer<CaEvent>;
    readonly snapshot: Observer<SnapshotEvent>;
    readonly controlPlane: Observer<ControlPlaneEvent>;
  };
}

/** The metrics of a controller (docs/metrics.md lists them). Every label has a bounded set of values. */
export function controllerMetrics(options: { readonly clock?: Clock | undefined } = {}): ControllerMetrics {
  const registry = new Registry();
  const metrics = buildMetrics(controllerMetricTable, registry);
  const { certExpiry: expiry, certRenewals: renewals, certRenewalFailures: failures } = metrics;
  const certificate = certificateObserver({ expiry, renewals, failures }, options.clock ?? systemClock);
  return Object.freeze({
    registry,
    observers: Object.freeze({
      ca: (event: CaEvent) => {
        certificate(event);
        if (event.type === 'ca-svid-issued') metrics.svidsIssued.inc({});
        else if (event.type === 'ca-workload-token-issued') metrics.tokensIssued.inc({});
        else if (event.type === 'ca-certificates') {
          // What was retired must not stay.
          metrics.caCertificateEnd.reset();
          for (const { certificate, stage, notAfter } of event.ends)
            metrics.caCertificateEnd.set({ certificate, stage }, notAfter.getTime() / 1000);
        } else if (event.type === 'ca-refused') metrics.caRefused.inc({ operation: event.operation, code: event.code });
      },
      snapshot: (event: SnapshotEvent) => {
        if (event.type === 'snapshot-published') {
          metrics.published.inc({});
          metrics.publishedBytes.inc({}, event.contentBytes);
        } else if (event.type === 'snapshot-answered') {
          metrics.answered.inc({ result: event.accepted ? 'accepted' : 'refused' });
        } else if (event.type === 'snapshot-stream-refused') metrics.streamsRefused.inc({});
      },
      controlPlane: (event: ControlPlaneEvent) => metrics.controlPlaneRefused.inc({ code: event.code }),
    }),
  });
}
