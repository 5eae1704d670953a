/** docs/metrics.md, made from the tables that the registries are built from. */

interface MetricInfo {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, string>>;
}

type MetricTable = Readonly<Record<string, MetricInfo>>;

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
}

function section(title: string, intro: string, table: MetricTable): readonly string[] {
  const rows = Object.values(table).map(({ name, type, help, labels }) => {
    const described = Object.entries(labels).map(([label, values]) => `\`${label}\`: ${cell(values)}`);
    return `| \`${name}\` | ${type} | ${cell(help)} | ${described.join('<br>')} |`;
  });
  return [`## ${title}`, '', intro, '', '| metric | type | meaning | labels |', '|---|---|---|---|', ...rows, ''];
}

export function renderMetricReference(tables: {
  readonly agent: MetricTable;
  readonly vip: MetricTable;
  readonly controller: MetricTable;
}): string {
  return [
    '# Metrics',
    '',
    "Served by `metricsServer` of `meshwright/telemetry` at `/metrics` in Prometheus' text format; the reference agent listens on",
    '127.0.0.1:9090, the reference controller on 127.0.0.1:9091. `/healthz` answers 200, or 503 with the reason.',
    '',
    'Every label has a bounded set of values. Labels never hold addresses, identities or paths: those are in the log, which',
    "has a line for every refusal. A metric without labels starts at 0 (the certificate's end appears with the first",
    'certificate); a series with labels appears with its first event.',
    '',
    'This page is generated from the metric tables in `src/telemetry` by `npm run update`; a test compares the two.',
    '',
    ...section('Agent', 'From `meshMetrics()`.', tables.agent),
    ...section('Virtual IPs', 'From `meshMetrics()` too, fed by its observer `vip`.', tables.vip),
    ...section('Controller', 'From `controllerMetrics()`.', tables.controller),
    '## What to watch',
    '',
    '- `novaedge_mesh_cert_expiry_seconds` below a fifth of the lifetime: renewal has failed since it was due at 80 %.',
    '- `min(novaedge_mesh_ca_certificate_not_after_timestamp_seconds{stage="active"}) - time() < 30 * 86400`: the root, or what is above the CA under an',
    '  external one, ends within a month; begin `meshwright ca rotate` (or `csr` and `install`) in time. It takes two to three days with',
    '  SVIDs of 24 hours, and certificates are cut short from one SVID lifetime before the end. Keys of workload tokens and JWT-SVIDs have no end.',
    '- `novaedge_mesh_cert_denied` at 1: the agent is on the deny list and serves nothing with its identity.',
    '- `novaedge_mesh_controller_connected` at 0: the agent serves its last snapshot and cannot learn of changes.',
    '- `rate(novaedge_mesh_snapshots_total{result="refused"}[5m])`: the controller sends what the agent cannot apply.',
    '- `rate(novaedge_mesh_auth_denied_total[5m])` by `reason`: a policy that is too tight, or somebody who tries doors.',
    '- `novaedge_mesh_plaintext_connections_total{verdict="allowed"}` still moving: not the time to go from PERMISSIVE to STRICT.',
    '- `novaedge_mesh_interception_updates_total{result="drifted"}`: another program changes the interception rules.',
    '- `sum(novaedge_vip_addresses{mode="l2",state="announcing"})` over all nodes: should be the number of layer 2 addresses.',
    '- `novaedge_vip_conflicts_total` moving: a station outside of the mesh uses a virtual IP.',
    '- `rate(novaedge_vip_bgp_transitions_total{state="idle"}[5m])`: a session flaps; the log says why in words.',
    '',
  ].join('\n');
}
