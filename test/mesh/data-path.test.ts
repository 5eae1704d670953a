import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentId, workloadId, workloadTokenHeader } from '../../src/spiffe/index.js';
import { FakeClock, createTestMesh } from '../../src/testing/index.js';
import type { TestMesh } from '../../src/testing/index.js';
import { Http2MtlsTunnel } from '../../src/tunnel/index.js';
import { systemClock } from '../../src/core/index.js';

/** A MeshAuthorization policy as the NovaEdge guide writes it. */
const policy = (name: string, service: string, action: string, rules: unknown[], namespace = 'production') => ({
  apiVersion: 'novaedge.io/v1alpha1',
  kind: 'ProxyPolicy',
  metadata: { name, namespace },
  spec: {
    type: 'MeshAuthorization',
    targetRef: { kind: 'Service', name: service },
    meshAuthorization: { action, rules },
  },
});
const allowFrontend = policy('allow-frontend', 'api', 'ALLOW', [{ from: [{ namespaces: ['frontend'] }] }]);
const monitoring = policy('monitoring', 'api', 'ALLOW', [
  { from: [{ namespaces: ['monitoring'] }], to: [{ methods: ['GET'], paths: ['/healthz', '/metrics'] }] },
]);
const vault = policy('deny-untrusted', 'vault', 'DENY', [
  { from: [{ spiffeIds: ['spiffe://cluster.local/agent/untrusted-*'] }] },
]);
const ledger = policy('ledger', 'ledger', 'ALLOW', [{ from: [{ namespaces: ['frontend'] }] }]);
const allPolicies = [allowFrontend, monitoring, vault, ledger];

/** Resolves when the connection is over, by whatever way. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
  });

const echo = (socket: Socket): void => {
  socket.pipe(socket);
};

let mesh: TestMesh;
let clock: FakeClock;

beforeEach(async () => {
  clock = new FakeClock({ start: systemClock.now() });
  mesh = await createTestMesh({
    clock,
    nodes: ['node-a', 'node-b', 'untrusted-1'],
    workloads: {
      'frontend/web': { node: 'node-a' },
      'monitoring/prometheus': { node: 'node-b' },
      'other/rogue': { node: 'node-a' },
      'batch/runner': { node: 'untrusted-1' },
      'production/api-0': {
        node: 'node-a',
        serviceAccount: 'api',
        servers: {
          8080: (request, response) => response.end(`api-0 ${String(request.method)} ${String(request.url)}`),
        },
      },
      'production/api-1': {
        node: 'node-b',
        serviceAccount: 'api',
        servers: {
          8080: (request, response) => response.end(`api-1 ${String(request.method)} ${String(request.url)}`),
        },
      },
      'production/vault': { node: 'node-b', servers: { 8080: (_request, response) => response.end('secret') } },
      'production/ledger': { node: 'node-b', servers: { 7000: { tcp: echo } } },
      'production/open': {
        node: 'node-b',
        mtlsMode: 'PERMISSIVE',
        servers: { 8080: (_request, response) => response.end('open') },
      },
    },
    services: {
      'production/api': { workloads: ['production/api-0', 'production/api-1'], port: 80 },
      'production/vault': { workloads: ['production/vault'], port: 80 },
      'production/ledger': { workloads: ['production/ledger'] },
      'production/open': { workloads: ['production/open'], port: 80 },
    },
    policies: allPolicies,
  });
});
afterEach(() => mesh.close());

const status = async (from: string, url: string, method = 'GET'): Promise<number> =>
  (await mesh.workload(from).fetch(url, { method })).status;
const refusals = (): unknown[] =>
  mesh.events.flatMap((event) => (event.type === 'connection-refused' ? [[event.side, event.reason]] : []));

describe('a connection through the mesh', () => {
  it('reaches every replica of an allowed service, on this node and on another', async () => {
    const bodies = new Set<string>();
    for (let index = 0; index < 4; index += 1)
      bodies.add((await mesh.workload('frontend/web').fetch('http://api.production/x')).body);
    expect([...bodies].sort()).toEqual(['api-0 GET /x', 'api-1 GET /x']);
  });

  it.each(['production/api-0', 'production/api-1'])('reaches %s straight by its address', async (workload) => {
    const { address } = mesh.workload(workload);
    expect(await status('frontend/web', `http://${address}:8080/`)).toBe(200);
  });

  it('answers 403 to whom no policy allows, and names the reason only in the events', async () => {
    const response = await mesh.workload('other/rogue').fetch('http://api.production/');
    expect(response.status).toBe(403);
    expect(response.headers.connection).toBe('close');
    expect(response.body).not.toMatch(/policy|frontend/);
    expect(refusals()).toContainEqual(['inbound', 'denied-by-policy']);
  });

  it.each([
    ['GET', '/healthz', 200],
    ['GET', '/metrics', 200],
    ['GET', '/api', 403],
    ['POST', '/healthz', 403],
    ['GET', '/healthz/../api', 403],
  ])('judges the request %s %s of an allowed-by-path source: %i', async (method, path, expected) => {
    const { address } = mesh.workload('production/api-1');
    const listener = await mesh.workload('monitoring/prometheus').listenerFor(`${address}:8080`);
    const socket = connect({ host: listener.ip, port: listener.port });
    socket.write(`${method} ${path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    expect(Buffer.concat(chunks).toString()).toMatch(new RegExp(`^HTTP/1.1 ${String(expected)} `));
  });

  it('denies by the node that speaks for a workload', async () => {
    expect(await status('batch/runner', 'http://vault.production/')).toBe(403);
    expect(await status('frontend/web', 'http://vault.production/')).toBe(200);
  });

  it('carries raw TCP both ways with half-close', async () => {
    const socket = await mesh.workload('frontend/web').connect('ledger.production:7000');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.end(Buffer.alloc(300_000, 'x'));
    await once(socket, 'end');
    expect(Buffer.concat(chunks)).toHaveLength(300_000);
  });

  it('resets raw TCP that is refused', async () => {
    const socket = await mesh.workload('other/rogue').connect('ledger.production:7000');
    const ended = closed(socket);
    socket.write(Buffer.from([0, 1, 2, 3]));
    await ended;
    expect(socket.bytesRead).toBe(0);
  });

  it('tries another endpoint when one cannot be reached', async () => {
    await mesh.update((state) => ({
      ...state,
      nodes: state.nodes.map((node) => (node.name === 'node-b' ? { ...node, tunnelPort: 1 } : node)),
    }));
    for (let index = 0; index < 4; index += 1) expect(await status('frontend/web', 'http://api.production/')).toBe(200);
  });

  it('refuses when no endpoint is ready, and what is no enrolled destination', async () => {
    await mesh.update((state) => ({
      ...state,
      services: state.services.map((service) => ({
        ...service,
        ports: service.ports.map((port) => ({
          ...port,
          endpoints: port.endpoints.map((each) => ({ ...each, ready: false })),
        })),
      })),
    }));
    expect(await status('frontend/web', 'http://api.production/')).toBe(503);
    expect(await status('frontend/web', `http://${mesh.workload('other/rogue').address}:80/`)).toBe(404);
    expect(refusals()).toEqual([
      ['outbound', 'no-ready-endpoint'],
      ['outbound', 'destination-unknown'],
    ]);
  });
});

describe('a newer snapshot', () => {
  it('ends a raw connection that it no longer allows, and spares the others', async () => {
    const socket = await mesh.workload('frontend/web').connect('ledger.production:7000');
    socket.write('ping');
    await once(socket, 'data');
    await mesh.setPolicies([allowFrontend, monitoring, vault, ledger]);
    socket.write('ping');
    await once(socket, 'data');
    const ended = closed(socket);
    await mesh.setPolicies([policy('ledger', 'ledger', 'ALLOW', [{ from: [{ namespaces: ['nobody'] }] }])]);
    await ended;
    expect(mesh.events).toContainEqual(
      expect.objectContaining({ type: 'connection-closed', side: 'inbound', reason: 'policy-changed' }),
    );
  });

  it.each(['api-0', 'api-1'])('judges the next request of a kept-alive connection to %s', async (name) => {
    await mesh.setPolicies([
      monitoring,
      policy('web', 'api', 'ALLOW', [{ from: [{ namespaces: ['frontend'] }], to: [{ methods: ['GET'] }] }]),
    ]);
    const socket = await mesh.workload('frontend/web').connect(`${mesh.workload(`production/${name}`).address}:8080`);
    socket.write('GET /1 HTTP/1.1\r\nhost: api\r\n\r\n');
    expect(String(await once(socket, 'data'))).toMatch(/^HTTP\/1.1 200/);
    await mesh.setPolicies([monitoring]);
    const answered = Promise.race([once(socket, 'data').catch(() => 'closed'), closed(socket).then(() => 'closed')]);
    socket.write('GET /2 HTTP/1.1\r\nhost: api\r\n\r\n');
    expect(String(await answered)).toMatch(/^HTTP\/1.1 403|^closed/);
  });

  it('that is refused leaves the old one serving', async () => {
    await expect(mesh.setPolicies([policy('typo', 'api', 'ALOW', [{}])])).rejects.toThrowError(/action/i);
    expect(await status('frontend/web', 'http://api.production/')).toBe(200);
  });

  it('that removes a node ends what that node opened', async () => {
    const socket = await mesh.workload('frontend/web').connect('ledger.production:7000');
    socket.write('ping');
    await once(socket, 'data');
    const ended = closed(socket);
    await mesh.update((state) => ({
      ...state,
      nodes: state.nodes.filter(({ name }) => name !== 'node-a'),
    }));
    await ended;
  });
});

describe('identity is only what was verified', () => {
  const target = async (): Promise<string> => {
    await Promise.resolve();
    return `${mesh.workload('production/api-1').address}:8080`;
  };
  const web = (): ReturnType<typeof workloadId> => workloadId(mesh.ca.trustDomain, 'frontend', 'web');
  const attempt = async (options: {
    as?: string;
    headers: Record<string, string>;
    authority?: string;
  }): Promise<number> => {
    const client = Http2MtlsTunnel.client({
      svid: mesh.node(options.as ?? 'node-a').svid,
      bundle: mesh.ca.bundle,
      clock,
    });
    try {
      const { stream } = await client.connect({
        address: mesh.node('node-b').tunnelAddress,
        authority: options.authority ?? (await target()),
        peer: agentId(mesh.ca.trustDomain, 'node-b'),
        headers: options.headers,
      });
      stream.destroy();
      return 200;
    } catch (error) {
      return (error as { status?: number }).status ?? -1;
    } finally {
      client.destroy();
    }
  };
  const reason = (): unknown => refusals().at(-1);

  it('accepts the right token of the right node', async () => {
    const token = await mesh.node('node-a').token(web());
    expect(await attempt({ headers: { [workloadTokenHeader]: token } })).toBe(200);
  });

  it('refuses a connection without a token', async () => {
    expect(await attempt({ headers: {} })).toBe(403);
    expect(reason()).toEqual(['inbound', 'token-missing']);
  });

  it('refuses a token that another mesh signed', async () => {
    await using other = await createTestMesh({ workloads: { 'frontend/web': { node: 'node-a' } } });
    const token = await other.issueToken('node-a', web(), mesh.node('node-a').svid.keyThumbprint);
    expect(await attempt({ headers: { [workloadTokenHeader]: token } })).toBe(403);
    expect(reason()).toEqual(['inbound', 'token-signature']);
  });

  it("refuses a token bound to another node's key", async () => {
    const token = await mesh.node('node-a').token(web());
    expect(await attempt({ as: 'untrusted-1', headers: { [workloadTokenHeader]: token } })).toBe(403);
    expect(reason()).toEqual(['inbound', 'token-node-mismatch']);
    const rebound = await mesh.issueToken('node-a', web(), mesh.node('untrusted-1').svid.keyThumbprint);
    expect(await attempt({ headers: { [workloadTokenHeader]: rebound } })).toBe(403);
    expect(reason()).toEqual(['inbound', 'token-key-mismatch']);
  });

  it('refuses an expired token', async () => {
    const token = await mesh.node('node-a').token(web());
    clock.advance(3_700_000);
    expect(await attempt({ headers: { [workloadTokenHeader]: token } })).toBe(403);
    expect(reason()).toEqual(['inbound', 'token-expired']);
  });

  it('refuses two tokens in one request, and an authority that is not a local enrolled pod', async () => {
    const token = await mesh.node('node-a').token(web());
    const headers = { [workloadTokenHeader]: token };
    expect(await attempt({ headers: { [workloadTokenHeader]: `${token}, ${token}` } })).toBe(403 - 3);
    expect(reason()).toEqual(['inbound', 'token-repeated']);
    for (const [authority, why] of [
      ['127.0.0.1:22', 'authority-not-local'],
      [`${mesh.workload('production/api-0').address}:8080`, 'authority-not-local'],
      [`${mesh.workload('monitoring/prometheus').address}:80`, 'authority-not-enrolled'],
    ] as const) {
      expect(await attempt({ headers, authority })).toBe(404);
      expect(reason()).toEqual(['inbound', why]);
    }
    expect(await attempt({ headers, authority: 'api.production:80' })).toBe(400);
    expect(reason()).toEqual(['inbound', 'authority-malformed']);
  });

  it('takes nothing from a forwarded header that the snapshot does not confirm', async () => {
    const token = await mesh.node('node-a').token(web());
    const forwarded = `for="${mesh.workload('other/rogue').address}:1234"`;
    expect(await attempt({ headers: { [workloadTokenHeader]: token, forwarded } })).toBe(200);
    const opened = mesh.events.filter((event) => event.type === 'connection-opened').at(-1);
    expect(opened?.connection.sourceAddress).toBeUndefined();
  });
});

describe('evidence', () => {
  it('ends a stream whose token was not renewed, on the far node and on this one', async () => {
    const remote = await mesh.workload('frontend/web').connect('ledger.production:7000');
    remote.write('ping');
    await once(remote, 'data');
    const ended = closed(remote);
    clock.advance(3_700_000);
    await ended;
    expect(mesh.events).toContainEqual(
      expect.objectContaining({ type: 'connection-closed', side: 'inbound', reason: 'evidence-expired' }),
    );
  });

  it('keeps a stream open across many renewals of tokens and certificates', async () => {
    const socket = await mesh.workload('frontend/web').connect('ledger.production:7000');
    for (let hour = 0; hour < 60; hour += 1) {
      clock.advance(2_000_000);
      await mesh.node('node-a').renew();
      await mesh.node('node-b').renew();
      socket.write('ping');
      await once(socket, 'data');
    }
    expect(socket.destroyed).toBe(false);
  });
});

describe('plaintext', () => {
  const ask = async (workload: string): Promise<string> => {
    const to = { ip: mesh.workload(workload).address, port: 8080 };
    const socket = await mesh.connectPlaintext('192.0.2.7', to).catch(() => undefined);
    // A refusal may be quicker than the connect.
    if (socket === undefined) return '';
    const ended = closed(socket);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => socket.end());
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    await ended;
    return Buffer.concat(chunks).toString().split('\r\n')[0] ?? '';
  };

  it('is refused under STRICT', async () => {
    expect(await ask('production/api-1')).toBe('');
    expect(mesh.events).toContainEqual(expect.objectContaining({ type: 'plaintext-inbound', verdict: 'refused' }));
  });

  it('under PERMISSIVE reaches a service without allow policies, and is refused by one with them', async () => {
    expect(await ask('production/open')).toBe('HTTP/1.1 200 OK');
    await mesh.setPolicies([policy('x', 'open', 'ALLOW', [{ from: [{ namespaces: ['frontend'] }] }])]);
    expect(await ask('production/open')).toBe('HTTP/1.1 403 Forbidden');
    expect(mesh.events).toContainEqual(expect.objectContaining({ type: 'plaintext-inbound', verdict: 'denied' }));
  });
});
