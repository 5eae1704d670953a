import { describe, expect, it } from 'vitest';
import { MeshIndex, parseMeshState, scopeToNode } from '../../src/mesh/index.js';
import { policy } from './support.js';
import { meshState, meshStateInput } from './fixtures.js';

describe('MeshIndex', () => {
  it('finds a service by ClusterIP and port, and nothing on another port', () => {
    const index = MeshIndex.build(meshState(), 'node-a');
    expect(index.destinationAt('10.96.0.10', 80)).toMatchObject({ kind: 'service', service: { name: 'api' } });
    expect(index.destinationAt('10.96.0.10', 81)).toBeUndefined();
  });

  it('finds an enrolled pod on any port, and not one that is not enrolled', () => {
    const index = MeshIndex.build(meshState(), 'node-a');
    expect(index.destinationAt('10.244.2.6', 1234)).toMatchObject({ kind: 'workload', workload: { name: 'api-2' } });
    expect(index.destinationAt('10.244.1.5', 8080)).toBeUndefined();
  });

  it('names every service of an endpoint, also one that is not ready', () => {
    const state = meshStateInput();
    const index = MeshIndex.build(
      meshState({
        services: [
          ...state.services,
          {
            namespace: 'production',
            name: 'api-internal',
            clusterIps: [],
            enrolled: true,
            ports: [
              {
                port: 81,
                endpoints: [
                  { address: '10.244.1.6', port: 8080, workload: 'production/api-1', node: 'node-a', ready: false },
                ],
              },
            ],
          },
        ],
      }),
      'node-a',
    );
    expect(index.servicesOf('10.244.1.6', 8080)).toEqual(['production/api', 'production/api-internal']);
    // A port that no service lists: the policies of all the pod's services.
    expect(index.servicesOf('10.244.1.6', 9999)).toEqual(['production/api', 'production/api-internal']);
    expect(index.servicesOf('10.244.1.5', 9999)).toEqual([]);
  });

  it("applies a service's policies at every address of its pods", () => {
    // The service lists the IPv4 address only; the pod answers on IPv6 as well.
    expect(MeshIndex.build(meshState(), 'node-a').servicesOf('fd00:1::6', 8080)).toEqual(['production/api']);
  });

  it('counts a service as of the mesh when a workload behind it is enrolled', () => {
    const [service] = meshStateInput().services;
    if (service === undefined) throw new Error('fixture');
    const index = MeshIndex.build(meshState({ services: [{ ...service, enrolled: false }] }), 'node-a');
    expect(index.destinationAt('10.96.0.10', 80)).toMatchObject({ kind: 'service' });
  });

  it('refuses a state in which one address belongs to two workloads', () => {
    const input = meshStateInput();
    const state = meshState({
      workloads: [
        ...input.workloads,
        { namespace: 'x', name: 'thief', node: 'node-b', addresses: ['10.244.1.5'], enrolled: false },
      ],
    });
    expect(() => MeshIndex.build(state, 'node-a')).toThrowError(
      expect.objectContaining({ code: 'MESH_STATE_INVALID', message: expect.stringContaining('10.244.1.5') as string }),
    );
  });

  it('refuses a state in which one service address belongs to two services', () => {
    const input = meshStateInput();
    const state = meshState({ services: [...input.services, { ...input.services[0]!, name: 'other' }] });
    expect(() => MeshIndex.build(state, 'node-a')).toThrowError(
      expect.objectContaining({ code: 'MESH_STATE_INVALID' }),
    );
  });

  it('reports the reason for which a service is denied, and `*` for all', () => {
    const one = MeshIndex.build(meshState({ denied: [{ service: 'production/api', reason: 'broken' }] }), 'node-a');
    expect(one.deniedReason('production', ['production/api'])).toBe('broken');
    expect(one.deniedReason('production', ['production/other'])).toBeUndefined();
    const space = MeshIndex.build(meshState({ denied: [{ service: 'production/*', reason: 'space' }] }), 'node-a');
    expect(space.deniedReason('production', [])).toBe('space');
    expect(space.deniedReason('frontend', [])).toBeUndefined();
    const all = MeshIndex.build(meshState({ denied: [{ service: '*', reason: 'all broken' }] }), 'node-a');
    expect(all.deniedReason('production', [])).toBe('all broken');
  });
});

describe('parseMeshState', () => {
  it('names the field of an unknown or malformed value', () => {
    expect(() => parseMeshState({ ...meshStateInput(), extra: 1 })).toThrowError(/extra/);
    expect(() =>
      parseMeshState(meshStateInput({ nodes: [{ name: 'n', addresses: ['::ffff:10.0.0.1'] }] })),
    ).toThrowError(/nodes\.0\.addresses\.0/);
    expect(() => parseMeshState(undefined)).toThrowError(expect.objectContaining({ code: 'MESH_STATE_INVALID' }));
  });
});

describe('a state that could be read in two ways', () => {
  const input = meshStateInput();
  it.each<[string, Parameters<typeof meshState>[0]]>([
    ['a workload twice', { workloads: [...input.workloads, { ...input.workloads[0]!, addresses: ['10.244.1.50'] }] }],
    ['a node twice', { nodes: [...input.nodes, { ...input.nodes[0]!, addresses: ['172.30.0.99'] }] }],
    ['a service twice', { services: [...input.services, { ...input.services[0]!, clusterIps: [] }] }],
    ["a pod with its node's address", { workloads: [{ ...input.workloads[0]!, addresses: ['172.30.0.11'] }] }],
  ])('is refused: %s', (_what, changes) => {
    expect(() => MeshIndex.build(meshState(changes), 'node-a')).toThrowError(
      expect.objectContaining({ code: 'MESH_STATE_INVALID' }),
    );
  });

  it.each(['a/b', 'a b', 'a\nb', '\u001b[31m', '', '-a', '../a'])('is refused: the name %j', (name) => {
    expect(() => meshState({ workloads: [{ ...input.workloads[0]!, name }] })).toThrowError(/name/);
  });

  it('is refused: a trust domain that is none', () => {
    expect(() => meshState({ trustDomain: 'Not A Domain' })).toThrowError(/trustDomain/);
  });
});

describe('an endpoint whose parts disagree', () => {
  const [service] = meshStateInput().services;
  const endpoint = { address: '10.244.1.6', port: 8080, workload: 'production/api-2', node: 'node-b' };
  const state = meshState({ services: [{ ...service!, ports: [{ port: 80, endpoints: [endpoint] }] }] });

  it("has its service's policies at the address it gives and at the pod it names", () => {
    const index = MeshIndex.build(state, 'node-a');
    for (const ip of ['10.244.1.6', 'fd00:1::6', '10.244.2.6']) {
      expect(index.servicesOf(ip, 8080)).toEqual(['production/api']);
    }
  });

  it('keeps its policies on the node where its pod really is', () => {
    const policies = [{ manifest: policy('p', 'api', 'ALLOW', [{}]) }];
    const denied = [{ service: 'production/api', reason: 'x' }];
    const scoped = scopeToNode({ ...state, policies, denied }, 'node-a');
    expect([scoped.policies, scoped.denied]).toEqual([policies, denied]);
  });
});
