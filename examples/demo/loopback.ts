/**
 * The demo where no namespaces can be made: the same pods and policies in one process, real mTLS tunnels on loopback, and
 * listeners that stand for the ClusterIPs. What the kernel does (interception, capture, source pinning) is not shown here.
 */
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { agentId, workloadTokenHeader } from 'meshwright/spiffe';
import { createTestMesh } from 'meshwright/testing';
import type { TestMesh, TestWorkloadOptions } from 'meshwright/testing';
import { Http2MtlsTunnel } from 'meshwright/tunnel';
import { parse } from 'yaml';
import { briefly } from './checklist.js';
import type { Checklist } from './checklist.js';
import { nodes, podNamed, pods, services } from './topology.js';

const policyDirectory = fileURLToPath(new URL('../../../examples/demo/manifests/policies/', import.meta.url));

export async function runLoopback(list: Checklist, say: (line: string) => void): Promise<void> {
  say('Starting a CA, 3 nodes and 13 workloads in this process ...');
  const policies = await readPolicies();
  const mesh = await createTestMesh({
    nodes: nodes.map(({ name }) => name),
    workloads: Object.fromEntries(pods.map((pod) => [`${pod.namespace}/${pod.name}`, workloadOf(pod.name)])),
    services: Object.fromEntries(
      services.map((service) => [
        `production/${service.name}`,
        { workloads: service.endpoints.map(workloadAt), port: service.port, targetPort: service.port },
      ]),
    ),
    policies,
  });
  try {
    say('Who reaches whom:');
    await checkTraffic(mesh, list);
    say('Identity:');
    await checkIdentity(mesh, list);
    say('Policy changes:');
    await checkPolicyChange(mesh, list, policies);
    say('Plaintext:');
    await checkPlaintext(mesh, list);
  } finally {
    await mesh.close();
  }
}

const key = (pod: string): string => `${podNamed(pod).namespace}/${pod}`;

async function checkTraffic(mesh: TestMesh, list: Checklist): Promise<void> {
  const ask = async (from: string, service: string, path: string, method = 'GET'): Promise<string> =>
    String((await mesh.workload(key(from)).fetch(`http://${service}.production:8080${path}`, { method })).status);
  const bodies = new Set<string>();
  for (let index = 0; index < 4; index += 1) {
    bodies.add((await mesh.workload(key('web-frontend')).fetch('http://backend-api.production:8080/api')).body.trim());
  }
  list.equal('both replicas of backend-api are reached', 'backend-api-0, backend-api-1', [...bodies].sort().join(', '));
  for (const [from, service, method, path, expected] of [
    ['web-frontend', 'backend-api', 'GET', '/api', '200'],
    ['rogue-client', 'backend-api', 'GET', '/api', '403'],
    ['prometheus', 'backend-api', 'GET', '/healthz', '200'],
    ['prometheus', 'backend-api', 'GET', '/api', '403'],
    ['prometheus', 'backend-api', 'POST', '/healthz', '403'],
    ['order-processor', 'payment-service', 'POST', '/api/v1/charges', '200'],
    ['order-processor', 'payment-service', 'GET', '/api/v1/charges', '403'],
    ['web-frontend', 'payment-service', 'POST', '/api/v1/charges', '403'],
    ['batch-runner', 'secrets-vault', 'GET', '/', '403'],
    ['web-frontend', 'secrets-vault', 'GET', '/', '200'],
  ] as const) {
    list.equal(
      `${from} ${method} ${path} of ${service}`,
      expected,
      await ask(from, service, path, method),
      lastPolicy(mesh),
    );
  }
}

async function checkIdentity(mesh: TestMesh, list: Checklist): Promise<void> {
  const frontend = mesh.workload(key('web-frontend')).spiffeId;
  const token = await mesh.node('node-a').token(frontend);
  const attempt = async (as: string, headers: Record<string, string>, authority: string): Promise<string> => {
    const client = Http2MtlsTunnel.client({ svid: mesh.node(as).svid, bundle: mesh.ca.bundle, clock: mesh.clock });
    try {
      const { stream } = await client.connect({
        address: mesh.node('node-b').tunnelAddress,
        authority,
        peer: agentId(mesh.ca.trustDomain, 'node-b'),
        headers,
      });
      stream.destroy();
      return '200';
    } catch (error) {
      return String((error as { status?: number }).status ?? 'no tunnel');
    } finally {
      client.destroy();
    }
  };
  const target = `${mesh.workload(key('backend-api-1')).address}:8080`;
  const other = `${mesh.workload(key('backend-api-0')).address}:8080`;
  list.equal(
    'the right token of the right node',
    '200',
    await attempt('node-a', { [workloadTokenHeader]: token }, target),
  );
  list.equal('no token', '403', await attempt('node-a', {}, target), lastReason(mesh));
  list.equal(
    "a stolen token from another node's key",
    '403',
    await attempt('untrusted-1', { [workloadTokenHeader]: token }, target),
    lastReason(mesh),
  );
  list.equal(
    "an authority that is not this node's",
    '404',
    await attempt('node-a', { [workloadTokenHeader]: token }, other),
    lastReason(mesh),
  );
  const refused = await mesh
    .issueToken('node-a', mesh.workload(key('order-processor')).spiffeId, mesh.node('node-a').svid.keyThumbprint)
    .then(
      () => 'issued',
      (error: unknown) => String((error as { code?: unknown }).code),
    );
  list.equal('a token for a workload of another node', 'CA_WORKLOAD_NOT_ON_NODE', refused);
}

async function checkPolicyChange(
  mesh: TestMesh,
  list: Checklist,
  policies: readonly Record<string, unknown>[],
): Promise<void> {
  const socket = await mesh.workload(key('web-frontend')).connect('ledger.production:7000');
  socket.write('hello');
  const [data] = (await once(socket, 'data')) as [Buffer];
  list.equal('a raw TCP connection', 'hello', data.toString());
  const ended = new Promise<string>((resolve) => {
    socket.once('close', () => resolve('closed'));
    setTimeout(() => resolve('open'), 1_000).unref();
  });
  await mesh.setPolicies(
    policies.map(
      (policy) => JSON.parse(JSON.stringify(policy).replaceAll('"frontend"', '"nobody"')) as Record<string, unknown>,
    ),
  );
  list.equal('... ends when the policy changes', 'closed', await ended, 'policy-changed');
  const { status } = await mesh.workload(key('web-frontend')).fetch('http://backend-api.production:8080/api');
  list.equal('... and new requests are refused', 403, status);
  await mesh.setPolicies(policies);
}

async function checkPlaintext(mesh: TestMesh, list: Checklist): Promise<void> {
  const ask = async (pod: string): Promise<string> => {
    try {
      const socket = await mesh.connectPlaintext('192.0.2.9', { ip: mesh.workload(key(pod)).address, port: 8080 });
      socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      return await new Promise((resolve) => {
        socket.once('data', (text: Buffer) => resolve(text.toString('latin1').slice(9, 12)));
        socket.once('close', () => resolve('reset'));
      });
    } catch {
      return 'reset';
    }
  };
  list.equal('STRICT: plaintext to backend-api', 'reset', await ask('backend-api-1'));
  list.equal('PERMISSIVE: a service without allow policies', '200', await ask('legacy-open-0'));
  list.equal('PERMISSIVE: a service with an allow policy', '403', await ask('legacy-guarded-0'));
}

function workloadOf(name: string): TestWorkloadOptions {
  const pod = podNamed(name);
  const serviceAccount = name.replace(/-\d+$/, '');
  const base = { node: pod.node, serviceAccount };
  if (pod.app === 'none') return base;
  const mtlsMode = name.startsWith('legacy') ? ('PERMISSIVE' as const) : ('STRICT' as const);
  if (pod.app === 'tcp') return { ...base, servers: { 7000: { tcp: (socket) => void socket.pipe(socket) } } };
  return { ...base, mtlsMode, servers: { 8080: (_request, response) => response.end(`${name}\n`) } };
}

function workloadAt(endpoint: string): string {
  const pod = pods.find(({ address }) => endpoint.startsWith(`${address}:`));
  if (pod === undefined) throw new Error(`no pod at ${endpoint}`);
  return `${pod.namespace}/${pod.name}`;
}

async function readPolicies(): Promise<Record<string, unknown>[]> {
  const files = (await readdir(policyDirectory)).filter((file) => file.endsWith('.yaml'));
  return Promise.all(
    files.map(async (file) => parse(await readFile(`${policyDirectory}${file}`, 'utf8')) as Record<string, unknown>),
  );
}

function lastPolicy(mesh: TestMesh): string {
  const event = mesh.events.findLast(
    (each) => (each.type === 'request' || each.type === 'connection-refused') && each.decision !== undefined,
  );
  const decision = event !== undefined && 'decision' in event ? event.decision : undefined;
  return decision === undefined ? '' : briefly(decision);
}

function lastReason(mesh: TestMesh): string {
  const event = mesh.events.findLast((each) => each.type === 'connection-refused');
  return event?.type === 'connection-refused' ? event.reason : '';
}
