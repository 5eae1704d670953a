/** The metrics of virtual IPs; see metric-table.ts. */
import type { MetricInfo } from './metric-table.js';

const defineMetrics = <const T extends Record<string, MetricInfo>>(table: T): Readonly<T> => Object.freeze(table);

const mode = '`l2` or `bgp`';
const states = '`pending`, `probing`, `announcing`, `draining`, `withdrawn` or `conflicted`';

/** What an agent reports of its virtual IPs (`meshMetrics().observers.vip`). */
export const vipMetricTable = defineMetrics({
  addresses: {
    name: 'novaedge_vip_addresses',
    type: 'gauge',
    help: 'Addresses of virtual IPs assigned to this node, by where they stand; those that were removed are not counted.',
    labels: { mode, state: states },
  },
  transitions: {
    name: 'novaedge_vip_transitions_total',
    type: 'counter',
    help: 'Changes of state of the addresses.',
    labels: { mode, state: `the new one: ${states}` },
  },
  leases: {
    name: 'novaedge_vip_lease_changes_total',
    type: 'counter',
    help: 'Leases of layer 2 addresses: taken, given back, or ended against our will.',
    labels: { change: '`acquired`, `released`, `lost` or `expired`' },
  },
  conflicts: {
    name: 'novaedge_vip_conflicts_total',
    type: 'counter',
    help: 'Times that a station outside of the ownership was seen using an address.',
    labels: { when: '`probing` (before we used it) or `announcing`' },
  },
  quiesced: {
    name: 'novaedge_vip_quiesced_total',
    type: 'counter',
    help: 'Times that new connections were held before an address was withdrawn by BGP.',
    labels: { outcome: '`quiet` (those under way had ended), `late` (some were cut) or `failed`' },
  },
  swept: {
    name: 'novaedge_vip_swept_total',
    type: 'counter',
    help: 'Addresses that an earlier run had left on an interface and that were removed.',
    labels: {},
  },
  failures: {
    name: 'novaedge_vip_failures_total',
    type: 'counter',
    help: 'Steps that failed; each is tried again.',
    labels: { code: 'an error code of docs/errors.md' },
  },
  announcements: {
    name: 'novaedge_vip_l2_announcements_total',
    type: 'counter',
    help: 'Gratuitous ARP and unsolicited neighbour advertisements, sent or withheld.',
    labels: {
      reason: '`claim`, `burst`, `repeat`, `link-up`, `defence` or `requested`',
      result: '`sent`, or why not: `not-owner`, `rate`, `link-down`',
    },
  },
  l2Refused: {
    name: 'novaedge_vip_l2_packets_refused_total',
    type: 'counter',
    help: 'ARP and neighbour discovery packets that were malformed or not to be believed.',
    labels: { protocol: '`arp` or `nd`', reason: 'what was wrong' },
  },
  l2Overload: {
    name: 'novaedge_vip_l2_packets_dropped_total',
    type: 'counter',
    help: 'ARP and neighbour discovery packets that were more than are looked at.',
    labels: {},
  },
  l2SendFailures: {
    name: 'novaedge_vip_l2_send_failures_total',
    type: 'counter',
    help: 'Packets of layer 2 that the kernel did not take.',
    labels: { error: 'name of the errno' },
  },
  bgpEstablished: {
    name: 'novaedge_vip_bgp_sessions_established',
    type: 'gauge',
    help: 'BGP sessions that are established now.',
    labels: {},
  },
  bgpTransitions: {
    name: 'novaedge_vip_bgp_transitions_total',
    type: 'counter',
    help: 'Changes of state of BGP peers (RFC 4271).',
    labels: { state: 'the new one' },
  },
  bgpNotifications: {
    name: 'novaedge_vip_bgp_notifications_total',
    type: 'counter',
    help: 'NOTIFICATION messages of BGP.',
    labels: { direction: '`sent` or `received`', code: 'its code, 1 to 8, or `other`' },
  },
  bgpMalformed: {
    name: 'novaedge_vip_bgp_malformed_total',
    type: 'counter',
    help: 'Messages of BGP peers that broke the protocol; each ended its session.',
    labels: { reason: 'the broken rule' },
  },
  bgpFaults: {
    name: 'novaedge_vip_bgp_attribute_faults_total',
    type: 'counter',
    help: 'Malformed attributes that were survived as RFC 7606 has it.',
    labels: { action: '`treat-as-withdraw` or `attribute-discard`' },
  },
  bgpRefused: {
    name: 'novaedge_vip_bgp_connections_refused_total',
    type: 'counter',
    help: 'Connections to the BGP port that were not taken.',
    labels: { reason: '`unknown-peer`, `wrong-local-address`, `peer-idle` or `closing`' },
  },
  bgpRoutes: {
    name: 'novaedge_vip_bgp_routes_total',
    type: 'counter',
    help: 'Routes in UPDATE messages; nothing of what is received is kept.',
    labels: { direction: '`sent` or `received`', change: '`announced` or `withdrawn`' },
  },
  bfdTransitions: {
    name: 'novaedge_vip_bfd_transitions_total',
    type: 'counter',
    help: 'Changes reported of BFD sessions.',
    labels: { state: '`admin-down`, `down`, `init` or `up`' },
  },
  bfdRefused: {
    name: 'novaedge_vip_bfd_packets_refused_total',
    type: 'counter',
    help: 'BFD packets that were dropped.',
    labels: { reason: 'which rule of RFC 5880 or 5881 they broke' },
  },
  bfdWorkerFailures: {
    name: 'novaedge_vip_bfd_worker_failures_total',
    type: 'counter',
    help: 'Times that the thread of BFD ended unasked and was started again.',
    labels: {},
  },
});
