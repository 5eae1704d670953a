import type { CaEvent } from '../ca/index.js';
import type { Clock, Observer } from '../core/index.js';
import type { CounterOf, GaugeOf } from './build-metrics.js';
import type { MetricInfo } from './metric-table.js';

export interface CertificateMetrics {
  readonly expiry: GaugeOf<MetricInfo>;
  readonly renewals: CounterOf<MetricInfo>;
  readonly failures: CounterOf<MetricInfo>;
}

/** Feeds the metrics of one process's own certificate from what its `SvidRenewer` reports. */
export function certificateObserver(
  { expiry, renewals, failures }: CertificateMetrics,
  clock: Clock,
): Observer<CaEvent> {
  let notAfterMs: number | undefined;
  // No certificate, no series: a value of 0 would read as "about to end".
  expiry.onCollect(() => (notAfterMs === undefined ? undefined : (notAfterMs - clock.now()) / 1000));
  return (event) => {
    if (event.type === 'svid-updated') {
      notAfterMs = event.notAfter.getTime();
      if (event.how === 'renewed') renewals.inc({});
    } else if (event.type === 'svid-renewal-failed' || event.type === 'svid-expired')
      failures.inc({ code: event.code });
  };
}
