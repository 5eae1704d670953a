/** Policies with tiers and ends, over a whole mesh: only where the mesh reads them, and an end reaches what is open. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { toMeshState, parseManifests } from '../../src/kubernetes/index.js';
import { prepareMeshView, scopeToNode } from '../../src/mesh/index.js';
import { systemClock } from '../../src/core/index.js';
import { FakeClock, createTestMesh } from '../../src/testing/index.js';
import type { TestMesh } from '../../src/testing/index.js';
import { meshState } from './fixtures.js';
import { closed, next, recordingLogger } from './support.js';

const clock = new FakeClock({ start: systemClock.now() });
const endMs = clock.now() + 1_000;
const { logger, lines } = recordingLogger();
let mesh: TestMesh;

const manifest = (namespace: string, targetRef: object, body: object, name = 'p') => ({
  apiVersion: 'novaedge.io/v1alpha1',
  kind: 'ProxyPolicy',
  metadata: { name, namespace },
  spec: { type: 'MeshAuthorization', targetRef, meshAuthorization: body },
});

beforeAll(async () => {
  mesh = await createTestMesh({
    clock,
    logger,
    workloads: {
      'frontend/web': { node: 'node-a' },
      'production/raw': {
        node: 'node-b',
        servers: { 7000: { tcp: (socket) => void socket.write('ready') } },
      },
    },
    services: { 'production/raw': { workloads: ['production/raw'] } },
    settings: { meshwrightDialect: true },
    policies: [
      manifest('istio-system', { kind: 'Mesh' }, { action: 'DENY', tier: 300, rules: [{}] }, 'closed'),
      manifest(
        'production',
        { kind: 'Namespace', name: 'production' },
        {
          action: 'ALLOW',
          tier: 200,
          rules: [{ from: [{ namespaces: ['frontend'] }] }],
          notAfter: new Date(endMs).toISOString(),
          owner: 'team-a',
          reason: 'CHG-1',
        },
        'exception',
      ),
    ],
  });
});

afterAll(async () => {
  await mesh.close();
});

it('a grant that ends closes what it had let in, without a new snapshot, and the log says whose it was', async () => {
  const web = mesh.workload('frontend/web');
  const socket = await web.connect('raw.production:7000');
  expect(await next(socket)).toBe('ready');
  const over = closed(socket);
  clock.advance(1_000);
  await over;
  expect(lines).toContainEqual(
    expect.objectContaining({ message: 'grant ended', fields: expect.objectContaining({ owner: 'team-a' }) as object }),
  );
  const again = await web.connect('raw.production:7000');
  again.write('x');
  await closed(again);
});

it('a newer snapshot revives nothing after the clock was set back', () => {
  const own = new FakeClock({ start: 0 });
  const prepare = prepareMeshView('node-b', { clock: own });
  const allow = { action: 'ALLOW', rules: [{}], notAfter: '1970-01-01T00:00:01Z', owner: 'a', reason: 'b' };
  const state = meshState({
    policies: [{ manifest: manifest('production', { kind: 'Service', name: 'api' }, allow) }],
    settings: { rootNamespace: 'r', defaultAction: 'allow', hostTraffic: 'probes', meshwrightDialect: true },
  });
  const allowed = (): boolean =>
    prepare(state).engine.authorize({ source: {}, destination: { namespace: 'production', services: ['api'] } })
      .allowed;
  expect(allowed()).toBe(true);
  own.jumpWall(1_000);
  expect(allowed()).toBe(false);
  own.jumpWall(-1_000);
  expect(allowed()).toBe(false);
});

const text = (spec: string, namespace: string): string =>
  `apiVersion: novaedge.io/v1alpha1\nkind: ProxyPolicy\nmetadata: { name: p, namespace: ${namespace} }\nspec: { type: MeshAuthorization, ${spec} }\n`;
const map = (yaml: string, meshwrightDialect: boolean) => {
  const { objects, broken } = parseManifests(yaml, { file: 'p.yaml' });
  return toMeshState(objects, { trustDomain: 'cluster.local', broken, settings: { meshwrightDialect } });
};

it('the controller takes such policies only where the mesh reads them, and says so to the agents', () => {
  const yaml = text('targetRef: { kind: Service, name: web }, action: ALLOW, tier: 100', 'shop');
  expect(map(yaml, false).state.policies).toEqual([]);
  expect(map(yaml, false).state.denied.map(({ service }) => service)).toEqual(['shop/web']);
  expect(map(yaml, true).state).toMatchObject({ settings: { meshwrightDialect: true }, denied: [] });
  expect(map(yaml, true).state.policies).toHaveLength(1);
});

it.each([
  ['{ kind: Mesh }', 'istio-system', ['*']],
  ['{ kind: Namespace, name: shop }', 'istio-system', ['shop/*']],
  ['{ kind: Namespace, name: shop }', 'shop', ['shop/*']],
  ['{ kind: Mesh }', 'shop', ['shop/*']],
])('a broken policy for %s of %s denies %j', (targetRef, namespace, denied) => {
  const yaml = text(`targetRef: ${targetRef}, action: deny`, namespace);
  expect(map(yaml, true).state.denied.map(({ service }) => service)).toEqual(denied);
});

it('agents are sent the policies for their namespaces and for the mesh', () => {
  const names = (node: string): unknown[] =>
    scopeToNode(
      meshState({
        policies: [
          { manifest: manifest('istio-system', { kind: 'Mesh' }, {}, 'mesh') },
          { manifest: manifest('istio-system', { kind: 'Namespace', name: 'production' }, {}, 'root') },
          { manifest: manifest('production', { kind: 'Namespace', name: 'production' }, {}, 'own') },
          { manifest: manifest('istio-system', { kind: 'Namespace', name: 'elsewhere' }, {}, 'other') },
        ],
      }),
      node,
    ).policies.map((policy) => (policy.manifest['metadata'] as { name: string }).name);
  expect(names('node-b')).toEqual(['mesh', 'root', 'own']);
  expect(names('node-without-pods')).toEqual(['mesh']);
});
