/**
 * Every metric, once: the registries are built from this table, and docs/metrics.md is generated from it, so names, help
 * texts and labels cannot drift apart. The names of the first five are a promise to existing dashboards.
 */

export interface MetricInfo {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** What it counts, as a sentence. */
  readonly help: string;
  /** Every label, with its values. */
  readonly labels: Readonly<Record<string, string>>;
}

const defineMetrics = <const T extends Record<string, MetricInfo>>(table: T): Readonly<T> => Object.freeze(table);

const side = '`inbound` (at the destination) or `outbound` (at the source)';
const end = '`server` or `client`';
const service =
  "`namespace/name` of the destination's first service, else of its workload; `unknown`; `other` beyond the limit";
const code = 'an error code of docs/errors.md, or `unknown`';

/** What an agent reports (`meshMetrics`). */
export const agentMetrics = defineMetrics({
  connectionsActive: {
    name: 'novaedge_mesh_connections_active',
    type: 'gauge',
    help: 'Connections open on the data path now.',
    labels: { side },
  },
  requests: {
    name: 'novaedge_mesh_requests_total',
    type: 'counter',
    help: 'Judged requests: each HTTP request, and each connection that is judged as a whole (counted when refused, or when it ends).',
    labels: {
      protocol: '`http1` or `tcp`',
      method: 'a common HTTP method, `other`, or `none` for tcp',
      verdict: '`allowed` or `denied`',
      status: 'class of the HTTP status, such as `2xx`; `none`',
      service,
    },
  },
  authDenied: {
    name: 'novaedge_mesh_auth_denied_total',
    type: 'counter',
    help: "Requests and connections that the destination's agent refused for want of identity or permission, each once.",
    labels: { reason: 'a refusal reason, such as `denied-by-policy` or `token-expired`', service },
  },
  certExpiry: {
    name: 'novaedge_mesh_cert_expiry_seconds',
    type: 'gauge',
    help: "Seconds until the agent's certificate ends, at the moment of the scrape; negative once it has ended.",
    labels: {},
  },
  certRenewals: {
    name: 'novaedge_mesh_cert_renewals_total',
    type: 'counter',
    help: "Renewals of the agent's certificate that succeeded.",
    labels: {},
  },
  certRenewalFailures: {
    name: 'novaedge_mesh_cert_renewal_failures_total',
    type: 'counter',
    help: "Attempts to renew the agent's certificate, or to replace one that ended, that failed; each is tried again.",
    labels: { code },
  },
  certDenied: {
    name: 'novaedge_mesh_cert_denied',
    type: 'gauge',
    help: "Whether the deny list names the agent's own certificate, identity or node, so that it serves nothing with it: 1 or 0.",
    labels: {},
  },
  workloadTokens: {
    name: 'novaedge_mesh_workload_tokens_total',
    type: 'counter',
    help: 'Attempts to get a fresh workload token.',
    labels: { result: '`ok`, or an error code' },
  },
  requestDuration: {
    name: 'novaedge_mesh_request_duration_seconds',
    type: 'histogram',
    help: 'HTTP requests, from the end of the head to the end of the response, at the destination.',
    labels: { verdict: '`allowed` or `denied`' },
  },
  requestsMalformed: {
    name: 'novaedge_mesh_requests_malformed_total',
    type: 'counter',
    help: 'HTTP requests that were refused before judgement: malformed, ambiguous, or beyond a limit.',
    labels: { status: 'class of the HTTP status; `none`' },
  },
  connectionsRefused: {
    name: 'novaedge_mesh_connections_refused_total',
    type: 'counter',
    help: 'Connections that were refused; at the source also those that the destination refused.',
    labels: { side, reason: 'a refusal reason' },
  },
  connectionsEnded: {
    name: 'novaedge_mesh_connections_ended_total',
    type: 'counter',
    help: 'Connections that had been accepted and have ended.',
    labels: { side, outcome: '`eof`, `reset`, `error`, `refused` (revoked while open) or `aborted`' },
  },
  bytes: {
    name: 'novaedge_mesh_bytes_total',
    type: 'counter',
    help: 'Payload bytes to and from the other agent, counted when a connection ends.',
    labels: { side, direction: '`sent` or `received`' },
  },
  plaintext: {
    name: 'novaedge_mesh_plaintext_connections_total',
    type: 'counter',
    help: 'Plaintext connections from outside the mesh to enrolled workloads.',
    labels: {
      mode: '`STRICT`, `PERMISSIVE` or `DISABLE`',
      verdict: '`refused` (by mode), `allowed` or `denied` (by policy)',
    },
  },
  tunnelHandshakes: {
    name: 'novaedge_mesh_tunnel_handshakes_total',
    type: 'counter',
    help: 'Tunnel handshakes, the check of the peer included.',
    labels: { end, result: '`ok`, or an error code' },
  },
  tunnelSessions: {
    name: 'novaedge_mesh_tunnel_sessions_active',
    type: 'gauge',
    help: 'Tunnel sessions open now.',
    labels: { end },
  },
  tunnelStreams: {
    name: 'novaedge_mesh_tunnel_streams_total',
    type: 'counter',
    help: 'CONNECT requests on tunnel sessions.',
    labels: { end, result: '`opened`, or the class of the refusing status' },
  },
  tunnelEvidence: {
    name: 'novaedge_mesh_tunnel_evidence_total',
    type: 'counter',
    help: 'Fresh tokens announced on open sessions.',
    labels: { end, status: 'class of the answer' },
  },
  snapshots: {
    name: 'novaedge_mesh_snapshots_total',
    type: 'counter',
    help: 'Snapshots that were applied, or refused whole (NACK) while the last good one goes on serving.',
    labels: { result: '`applied` or `refused`', from: '`controller` or `cache`' },
  },
  snapshotSequence: {
    name: 'novaedge_mesh_snapshot_sequence',
    type: 'gauge',
    help: 'Sequence number of the snapshot in force; 0 before the first.',
    labels: {},
  },
  controllerConnected: {
    name: 'novaedge_mesh_controller_connected',
    type: 'gauge',
    help: 'Whether the stream of snapshots from the controller is up: 1 or 0.',
    labels: {},
  },
  captured: {
    name: 'novaedge_mesh_captured_connections_total',
    type: 'counter',
    help: 'Connections that the kernel handed to the interception listeners.',
    labels: { result: '`taken`, or why not: `loop`, `limit`, `no-original-destination`, `handler-failed`' },
  },
  rules: {
    name: 'novaedge_mesh_interception_updates_total',
    type: 'counter',
    help: "Changes of the kernel's interception rules: applied, failed, or found changed by somebody else.",
    labels: { result: '`applied`, `failed` or `drifted`' },
  },
});

/** What a controller reports (`controllerMetrics`). */
export const controllerMetricTable = defineMetrics({
  certExpiry: {
    name: 'novaedge_mesh_controller_cert_expiry_seconds',
    type: 'gauge',
    help: "Seconds until the controller's own certificate ends, at the moment of the scrape; negative once it has ended.",
    labels: {},
  },
  certRenewals: {
    name: 'novaedge_mesh_controller_cert_renewals_total',
    type: 'counter',
    help: "Renewals of the controller's own certificate that succeeded.",
    labels: {},
  },
  certRenewalFailures: {
    name: 'novaedge_mesh_controller_cert_renewal_failures_total',
    type: 'counter',
    help: "Attempts to renew the controller's own certificate that failed, as when the audit log cannot be written.",
    labels: { code },
  },
  caCertificateEnd: {
    name: 'novaedge_mesh_ca_certificate_not_after_timestamp_seconds',
    type: 'gauge',
    help: "Unix time at which a certificate that the CA's signing rests on ends. Nothing is issued beyond the first end of stage `active`.",
    labels: {
      certificate: '`root`, or `intermediate` (under an external root; of several, the one that ends first)',
      stage: '`active` (signs), `prepared` (signs next) or `outgoing` (signs no more)',
    },
  },
  svidsIssued: {
    name: 'novaedge_mesh_ca_certificates_issued_total',
    type: 'counter',
    help: 'Certificates the CA has issued.',
    labels: {},
  },
  tokensIssued: {
    name: 'novaedge_mesh_ca_workload_tokens_issued_total',
    type: 'counter',
    help: 'Workload tokens the CA has issued.',
    labels: {},
  },
  caRefused: {
    name: 'novaedge_mesh_ca_refused_total',
    type: 'counter',
    help: 'Requests to the CA that were refused.',
    labels: { operation: '`join`, `renew`, `workload-token` or `bundle`', code },
  },
  published: {
    name: 'novaedge_mesh_snapshots_published_total',
    type: 'counter',
    help: 'Snapshots sent to agents.',
    labels: {},
  },
  publishedBytes: {
    name: 'novaedge_mesh_snapshots_published_bytes_total',
    type: 'counter',
    help: 'Their content, in bytes.',
    labels: {},
  },
  answered: {
    name: 'novaedge_mesh_snapshots_answered_total',
    type: 'counter',
    help: 'Answers of agents to snapshots.',
    labels: { result: '`accepted` or `refused`' },
  },
  streamsRefused: {
    name: 'novaedge_mesh_snapshot_streams_refused_total',
    type: 'counter',
    help: 'Agents that asked for snapshots and were refused.',
    labels: {},
  },
  controlPlaneRefused: {
    name: 'novaedge_mesh_control_plane_refused_total',
    type: 'counter',
    help: 'Connections to the control plane that were refused or ended.',
    labels: { code },
  },
});
