import { readFileSync } from 'node:fs';
import type { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { renderMetricReference } from '../../scripts/generate/metric-reference.js';
import type { ConnectionFacts, MeshEvent } from '../../src/mesh/index.js';
import type { VipStatus } from '../../src/vip/index.js';
import {
  agentMetrics,
  combineObservers,
  controllerMetricTable,
  vipMetricTable,
  controllerMetrics,
  meshMetrics,
} from '../../src/telemetry/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';

/** Sum of a metric over the label sets that contain `labels`. */
async function value(registry: Registry, name: string, labels: Record<string, string> = {}): Promise<number> {
  const metric = registry.getSingleMetric(name);
  if (metric === undefined) throw new Error(`no metric ${name}`);
  const { values } = await metric.get();
  return values
    .filter((each) => Object.entries(labels).every(([key, wanted]) => each.labels[key] === wanted))
    .reduce((sum, each) => sum + each.value, 0);
}

const connection = (id: string, more: Partial<ConnectionFacts> = {}): ConnectionFacts => ({
  id,
  traceId: '0'.repeat(32),
  destination: '10.0.0.1:80',
  services: ['production/backend-api'],
  ...more,
});
const allow = Object.freeze({ allowed: true, action: 'allow', reason: 'allowed', policy: 'production/p' } as const);
const deny = Object.freeze({ allowed: false, action: 'deny', reason: 'no rule' } as const);

const opened = (id: string, side: 'inbound' | 'outbound' = 'inbound'): MeshEvent => ({
  type: 'connection-opened',
  side,
  connection: connection(id),
});
const closed = (id: string, side: 'inbound' | 'outbound' = 'inbound', more: object = {}): MeshEvent => ({
  type: 'connection-closed',
  side,
  connection: connection(id),
  outcome: 'eof',
  sentBytes: 10,
  receivedBytes: 20,
  durationMs: 5,
  ...more,
});
const request = (id: string, decision: typeof allow | typeof deny, more: object = {}): MeshEvent => ({
  type: 'request',
  connection: connection(id),
  protocol: 'http1',
  decision,
  method: 'GET',
  path: '/',
  status: decision.allowed ? 200 : 403,
  durationMs: 12,
  ...more,
});

describe('meshMetrics', () => {
  it('has the five names that dashboards know', async () => {
    const text = await meshMetrics().registry.metrics();
    for (const name of [
      'connections_active',
      'requests_total',
      'auth_denied_total',
      'cert_expiry_seconds',
      'cert_renewals_total',
    ]) {
      expect(text).toMatch(new RegExp(`^# TYPE novaedge_mesh_${name} (counter|gauge)$`, 'm'));
    }
  });

  it('counts connections, bytes and HTTP requests', async () => {
    const { registry, observers } = meshMetrics();
    observers.mesh(opened('1'));
    observers.mesh(opened('2', 'outbound'));
    expect(await value(registry, 'novaedge_mesh_connections_active')).toBe(2);
    observers.mesh(request('1', allow));
    observers.mesh(request('1', deny));
    observers.mesh(request('1', allow, { method: 'FROB', status: undefined }));
    observers.mesh(closed('1'));
    observers.mesh(closed('2', 'outbound'));
    expect(await value(registry, 'novaedge_mesh_connections_active')).toBe(0);
    const requests = (labels: Record<string, string>): Promise<number> =>
      value(registry, 'novaedge_mesh_requests_total', labels);
    expect(await requests({ verdict: 'allowed' })).toBe(2);
    expect(await requests({ verdict: 'denied', status: '4xx', service: 'production/backend-api', method: 'GET' })).toBe(
      1,
    );
    expect(await requests({ method: 'other', status: 'none' })).toBe(1);
    expect(await requests({ protocol: 'tcp' })).toBe(0);
    expect(await value(registry, 'novaedge_mesh_auth_denied_total', { reason: 'denied-by-policy' })).toBe(1);
    expect(await value(registry, 'novaedge_mesh_bytes_total', { side: 'inbound', direction: 'received' })).toBe(20);
    const text = await registry.metrics();
    expect(text).toContain('novaedge_mesh_request_duration_seconds_count{verdict="allowed"} 2');
  });

  it('counts a connection judged as a whole once: when it ends, or when it is refused', async () => {
    const { registry, observers } = meshMetrics();
    observers.mesh(opened('1'));
    observers.mesh(closed('1'));
    expect(await value(registry, 'novaedge_mesh_requests_total', { protocol: 'tcp', verdict: 'allowed' })).toBe(1);
    observers.mesh({
      type: 'connection-refused',
      side: 'inbound',
      connection: connection('2'),
      reason: 'denied-by-policy',
      decision: deny,
    });
    observers.mesh({
      type: 'connection-refused',
      side: 'outbound',
      connection: connection('3'),
      reason: 'refused-by-destination',
    });
    expect(await value(registry, 'novaedge_mesh_requests_total', { verdict: 'denied' })).toBe(1);
    expect(await value(registry, 'novaedge_mesh_auth_denied_total')).toBe(1);
    expect(await value(registry, 'novaedge_mesh_connections_refused_total')).toBe(2);
    // Opaque bytes on a port with HTTP rules: a judged request, then the refusal of the connection.
    observers.mesh(opened('4'));
    observers.mesh(
      request('4', deny, { protocol: 'tcp', method: undefined, status: undefined, durationMs: undefined }),
    );
    observers.mesh({
      type: 'connection-refused',
      side: 'inbound',
      connection: connection('4'),
      reason: 'http-required',
      decision: deny,
    });
    observers.mesh(closed('4', 'inbound', { outcome: 'refused', reason: 'http-required' }));
    expect(await value(registry, 'novaedge_mesh_requests_total', { verdict: 'denied' })).toBe(2);
    expect(await value(registry, 'novaedge_mesh_auth_denied_total')).toBe(2);
    expect(await value(registry, 'novaedge_mesh_auth_denied_total', { reason: 'http-required' })).toBe(1);
  });

  it('counts as denied what concerns identity, also late, but not what merely fails', async () => {
    const { registry, observers } = meshMetrics();
    const refuse = (reason: 'token-expired' | 'deliver-failed' | 'authority-not-local' | 'plaintext-strict'): void =>
      observers.mesh({ type: 'connection-refused', side: 'inbound', connection: connection(reason), reason });
    refuse('token-expired');
    refuse('deliver-failed');
    refuse('authority-not-local');
    refuse('plaintext-strict');
    observers.mesh(opened('1'));
    observers.mesh(closed('1', 'inbound', { outcome: 'refused', reason: 'policy-changed' }));
    expect(await value(registry, 'novaedge_mesh_auth_denied_total')).toBe(2);
    expect(await value(registry, 'novaedge_mesh_auth_denied_total', { reason: 'policy-changed' })).toBe(1);
  });

  it('counts plaintext, malformed requests, tunnels, snapshots and interception', async () => {
    const { registry, observers } = meshMetrics();
    observers.mesh({ type: 'plaintext-inbound', mode: 'STRICT', verdict: 'refused', connection: connection('1') });
    observers.mesh({
      type: 'request-malformed',
      connection: connection('1'),
      status: 400,
      problem: 'Host is repeated',
    });
    expect(
      await value(registry, 'novaedge_mesh_plaintext_connections_total', { mode: 'STRICT', verdict: 'refused' }),
    ).toBe(1);
    expect(await value(registry, 'novaedge_mesh_requests_malformed_total', { status: '4xx' })).toBe(1);
    const peer = 'spiffe://cluster.local/agent/b';
    observers.tunnel({ type: 'handshake', side: 'server', ok: true, peer });
    observers.tunnel({ type: 'handshake', side: 'server', ok: false, reason: 'TUNNEL_PEER_REFUSED' as never });
    observers.tunnel({ type: 'session-opened', side: 'client', session: '1', peer });
    expect(await value(registry, 'novaedge_mesh_tunnel_sessions_active', { end: 'client' })).toBe(1);
    observers.tunnel({
      type: 'session-closed',
      side: 'client',
      session: '1',
      peer,
      reason: 'TUNNEL_CLOSED' as never,
      durationMs: 1,
    });
    expect(await value(registry, 'novaedge_mesh_tunnel_sessions_active')).toBe(0);
    expect(await value(registry, 'novaedge_mesh_tunnel_handshakes_total', { result: 'ok' })).toBe(1);
    observers.tunnel({
      type: 'stream-refused',
      side: 'client',
      session: '1',
      peer,
      status: 403,
      reason: 'TUNNEL_REFUSED' as never,
    });
    expect(await value(registry, 'novaedge_mesh_tunnel_streams_total', { result: '4xx' })).toBe(1);
    observers.snapshot({ type: 'snapshot-applied', sequence: 7, hash: 'x', from: 'controller' });
    observers.snapshot({ type: 'snapshot-refused', hash: 'y', code: 'X', reason: 'broken', from: 'controller' });
    observers.snapshot({ type: 'snapshot-stream', connected: true, reason: undefined });
    expect(await value(registry, 'novaedge_mesh_snapshot_sequence')).toBe(7);
    expect(await value(registry, 'novaedge_mesh_snapshots_total', { result: 'refused' })).toBe(1);
    expect(await value(registry, 'novaedge_mesh_controller_connected')).toBe(1);
    observers.tproxy({ type: 'tproxy.connection-refused', reason: 'loop' });
    expect(await value(registry, 'novaedge_mesh_captured_connections_total', { result: 'loop' })).toBe(1);
  });

  it('counts where addresses of virtual IPs stand, sessions, and what was refused', async () => {
    const { registry, observers } = meshMetrics();
    const status = (state: VipStatus['state'], address = '203.0.113.1'): VipStatus => ({
      name: 'edge',
      address,
      mode: 'l2',
      state,
      since: 0,
      reason: '',
    });
    const at = (state: string): Promise<number> => value(registry, 'novaedge_vip_addresses', { mode: 'l2', state });
    observers.vip({ type: 'vip.state', from: undefined, status: status('pending') });
    observers.vip({ type: 'vip.state', from: undefined, status: status('pending', '203.0.113.2') });
    observers.vip({ type: 'vip.state', from: 'pending', status: status('announcing') });
    expect([await at('pending'), await at('announcing')]).toEqual([1, 1]);
    observers.vip({ type: 'vip.state', from: 'announcing', status: status('withdrawn') });
    expect([await at('pending'), await at('announcing'), await at('withdrawn')]).toEqual([1, 0, 0]);
    expect(await value(registry, 'novaedge_vip_transitions_total')).toBe(4);
    observers.vip({ type: 'vip.quiesced', name: 'web', address: '203.0.113.1', outcome: 'late', tookMs: 500 });
    expect(await value(registry, 'novaedge_vip_quiesced_total', { outcome: 'late' })).toBe(1);
    const peer = (name: string, from: 'idle' | 'established', to: 'idle' | 'established'): void =>
      observers.vip({ type: 'vip.bgp-peer-state', peer: name, from, to, cause: 'ManualStart' as never });
    peer('192.0.2.1', 'idle', 'established');
    peer('192.0.2.2', 'idle', 'established');
    peer('192.0.2.1', 'established', 'idle');
    expect(await value(registry, 'novaedge_vip_bgp_sessions_established')).toBe(1);
    for (const code of [6, 200]) {
      observers.vip({
        type: 'vip.bgp-notification',
        peer: '192.0.2.1',
        direction: 'received',
        code,
        subcode: 2,
        meaning: '',
      });
    }
    expect(await value(registry, 'novaedge_vip_bgp_notifications_total', { code: '6' })).toBe(1);
    expect(await value(registry, 'novaedge_vip_bgp_notifications_total', { code: 'other' })).toBe(1);
    observers.vip({ type: 'vip.bfd-packets-refused', refusals: { 'bad-ttl': 3 } as never });
    expect(await value(registry, 'novaedge_vip_bfd_packets_refused_total')).toBe(3);
  });

  it('tells the time left of the certificate at each scrape, and renewals', async () => {
    const clock = new FakeClock();
    const { registry, observers } = meshMetrics({ clock });
    expect(await registry.metrics()).not.toMatch(/^novaedge_mesh_cert_expiry_seconds /m);
    const svid = {
      spiffeId: 'spiffe://cluster.local/agent/a',
      renewAt: new Date(clock.now() + 80_000),
      notAfter: new Date(clock.now() + 100_000),
    };
    observers.ca({ type: 'svid-updated', how: 'attested', ...svid });
    const denied = { type: 'svid-denied', spiffeId: svid.spiffeId, serialNumber: '01' } as const;
    observers.ca({ ...denied, denied: 'serial number 01 is denied' });
    expect(await value(registry, 'novaedge_mesh_cert_denied')).toBe(1);
    observers.ca({ ...denied, denied: undefined });
    expect(await value(registry, 'novaedge_mesh_cert_denied')).toBe(0);
    expect(await registry.metrics()).toMatch(/^novaedge_mesh_cert_expiry_seconds 100$/m);
    expect(await value(registry, 'novaedge_mesh_cert_renewals_total')).toBe(0);
    clock.advance(60_000);
    expect(await registry.metrics()).toMatch(/^novaedge_mesh_cert_expiry_seconds 40$/m);
    observers.ca({ type: 'svid-updated', how: 'renewed', ...svid, notAfter: new Date(clock.now() + 100_000) });
    observers.ca({
      type: 'svid-renewal-failed',
      spiffeId: svid.spiffeId,
      notAfter: svid.notAfter,
      code: 'CA_X',
      secondsLeft: 40,
      attempt: 1,
    });
    expect(await value(registry, 'novaedge_mesh_cert_renewals_total')).toBe(1);
    expect(await value(registry, 'novaedge_mesh_cert_renewal_failures_total', { code: 'CA_X' })).toBe(1);
    clock.advance(150_000);
    expect(await registry.metrics()).toMatch(/^novaedge_mesh_cert_expiry_seconds -50$/m);
  });

  it('bounds the service label', async () => {
    const { registry, observers } = meshMetrics({ maxServices: 2 });
    for (let index = 0; index < 100; index += 1) {
      observers.mesh({
        type: 'connection-refused',
        side: 'inbound',
        connection: connection(String(index), { services: [`ns/s${String(index)}`] }),
        reason: 'denied-by-policy',
        decision: deny,
      });
    }
    observers.mesh({
      type: 'connection-refused',
      side: 'inbound',
      connection: connection('x', { services: [] }),
      reason: 'token-missing',
    });
    expect(await value(registry, 'novaedge_mesh_auth_denied_total', { service: 'other' })).toBe(98);
    expect(await value(registry, 'novaedge_mesh_auth_denied_total', { service: 'unknown' })).toBe(1);
    expect(() => meshMetrics({ maxServices: 0 })).toThrow(
      expect.objectContaining({ code: 'TELEMETRY_OPTION_INVALID' }),
    );
  });
});

describe('controllerMetrics', () => {
  it('counts what the controller does', async () => {
    const clock = new FakeClock();
    const { registry, observers } = controllerMetrics({ clock });
    const notAfter = new Date(clock.now() + 90_000);
    observers.ca({ type: 'svid-updated', how: 'renewed', spiffeId: 'x', notAfter, renewAt: notAfter });
    observers.ca({ type: 'svid-expired', spiffeId: 'x', notAfter, code: 'CA_AUDIT_FAILED' });
    clock.advance(30_000);
    expect(await value(registry, 'novaedge_mesh_controller_cert_expiry_seconds')).toBe(60);
    expect(await value(registry, 'novaedge_mesh_controller_cert_renewals_total')).toBe(1);
    expect(await value(registry, 'novaedge_mesh_controller_cert_renewal_failures_total')).toBe(1);
    observers.ca({ type: 'ca-svid-issued', spiffeId: 'x', serialNumber: '1', notAfter: new Date(0) });
    observers.ca({ type: 'ca-refused', operation: 'join', code: 'CA_JOIN_TOKEN' as never, reason: 'used' });
    observers.snapshot({ type: 'snapshot-published', node: 'a', sequence: 1, hash: 'x', contentBytes: 100 });
    observers.snapshot({ type: 'snapshot-answered', node: 'a', sequence: 1, hash: 'x', accepted: false, reason: 'no' });
    expect(await value(registry, 'novaedge_mesh_ca_certificates_issued_total')).toBe(1);
    expect(await value(registry, 'novaedge_mesh_ca_refused_total', { operation: 'join' })).toBe(1);
    expect(await value(registry, 'novaedge_mesh_snapshots_published_bytes_total')).toBe(100);
    expect(await value(registry, 'novaedge_mesh_snapshots_answered_total', { result: 'refused' })).toBe(1);
  });
});

describe('combineObservers', () => {
  it('tells all, whatever one of them throws', () => {
    const seen: string[] = [];
    const observer = combineObservers<{ readonly type: string }>(
      () => {
        throw new Error('broken');
      },
      (event) => seen.push(event.type),
    );
    observer({ type: 'x' });
    expect(seen).toEqual(['x']);
  });
});

describe('docs/metrics.md', () => {
  it('is what the tables say (npm run update writes it)', () => {
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    expect(page).toBe(
      renderMetricReference({ agent: agentMetrics, vip: vipMetricTable, controller: controllerMetricTable }),
    );
  });

  it('names each metric once, in the style of Prometheus', () => {
    const all = [agentMetrics, vipMetricTable, controllerMetricTable].flatMap((table) => Object.values(table));
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    for (const { name, type, help, labels } of all) {
      expect(name).toMatch(/^novaedge_(mesh|vip)_[a-z0-9_]+$/);
      expect(name.endsWith('_total')).toBe(type === 'counter');
      expect(help).toMatch(/\.$/);
      for (const label of Object.keys(labels)) expect(label).toMatch(/^[a-z_]+$/);
    }
  });
});
