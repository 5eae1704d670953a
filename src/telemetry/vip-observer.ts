import type { Observer } from '../core/index.js';
import type { VipEvent, VipStatus } from '../vip/index.js';
import type { MetricsOf } from './build-metrics.js';
import type { vipMetricTable } from './vip-metric-table.js';

export type VipMetricSet = MetricsOf<typeof vipMetricTable>;

/** Counts what a `VipManager` and its parts report. */
export function vipObserver(metrics: VipMetricSet): Observer<VipEvent> {
  const established = new Set<string>();
  return (event) => {
    switch (event.type) {
      case 'vip.state':
        countState(metrics, event.status, event.from);
        return;
      case 'vip.lease':
        metrics.leases.inc({ change: event.change });
        return;
      case 'vip.conflict':
        metrics.conflicts.inc({ when: event.when });
        return;
      case 'vip.quiesced':
        metrics.quiesced.inc({ outcome: event.outcome });
        return;
      case 'vip.swept':
        metrics.swept.inc({});
        return;
      case 'vip.failure':
        metrics.failures.inc({ code: event.code });
        return;
      case 'vip.l2-announced':
        metrics.announcements.inc({ reason: event.reason, result: 'sent' });
        return;
      case 'vip.l2-announcement-withheld':
        metrics.announcements.inc({ reason: event.reason, result: event.why });
        return;
      case 'vip.l2-packet-refused':
        metrics.l2Refused.inc({ protocol: event.protocol, reason: event.reason });
        return;
      case 'vip.l2-overloaded':
        metrics.l2Overload.inc({}, event.dropped);
        return;
      case 'vip.l2-send-failed':
        metrics.l2SendFailures.inc({ error: event.error });
        return;
      case 'vip.bgp-peer-state':
        metrics.bgpTransitions.inc({ state: event.to });
        if (event.to === 'established') established.add(event.peer);
        else established.delete(event.peer);
        metrics.bgpEstablished.set({}, established.size);
        return;
      case 'vip.bgp-notification':
        metrics.bgpNotifications.inc({
          direction: event.direction,
          // What a peer sends may be any number.
          code: event.code >= 1 && event.code <= 8 ? String(event.code) : 'other',
        });
        return;
      case 'vip.bgp-malformed':
        metrics.bgpMalformed.inc({ reason: event.reason });
        return;
      case 'vip.bgp-attribute-fault':
        metrics.bgpFaults.inc({ action: event.action });
        return;
      case 'vip.bgp-connection-refused':
        metrics.bgpRefused.inc({ reason: event.reason });
        return;
      case 'vip.bgp-update-sent':
      case 'vip.bgp-update-received': {
        const direction = event.type === 'vip.bgp-update-sent' ? 'sent' : 'received';
        metrics.bgpRoutes.inc({ direction, change: 'announced' }, event.announced);
        metrics.bgpRoutes.inc({ direction, change: 'withdrawn' }, event.withdrawn);
        return;
      }
      case 'vip.bfd-state':
        metrics.bfdTransitions.inc({ state: event.status.state });
        return;
      case 'vip.bfd-packets-refused':
        for (const [reason, count] of Object.entries(event.refusals)) metrics.bfdRefused.inc({ reason }, count);
        return;
      case 'vip.bfd-worker-failed':
        metrics.bfdWorkerFailures.inc({});
        return;
      case 'vip.l2-link':
      case 'vip.l2-probed':
      case 'vip.l2-conflict':
      case 'vip.bgp-end-of-rib':
      case 'vip.bgp-collision':
      case 'vip.bgp-peer-error':
        // In the log, or part of what is counted above.
        return;
    }
  };
}

function countState(metrics: VipMetricSet, { mode, state }: VipStatus, from: VipStatus['state'] | undefined): void {
  metrics.transitions.inc({ mode, state });
  // Withdrawn is where an address ends that is no longer assigned.
  if (from !== undefined && from !== 'withdrawn') metrics.addresses.inc({ mode, state: from }, -1);
  if (state !== 'withdrawn') metrics.addresses.inc({ mode, state });
}
