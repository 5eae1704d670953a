import { describe, expect, it } from 'vitest';
import { scopeToNode } from '../../src/mesh/index.js';
import { meshState } from './fixtures.js';

const policy = (name: string, target: string, namespace = 'production') => ({
  manifest: {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name, namespace },
    spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: target }, action: 'ALLOW', rules: [{}] },
  },
});

describe('scopeToNode', () => {
  it('keeps local workloads whole and strips the others to what dialling takes', () => {
    const scoped = scopeToNode(meshState(), 'node-a');
    const [web, , remote] = scoped.workloads;
    expect(web?.labels).toEqual({ app: 'web' });
    expect(remote).toMatchObject({ name: 'api-2', addresses: ['10.244.2.6'], labels: {}, probePorts: [] });
  });

  it('keeps only policies that can judge a local workload', () => {
    const state = meshState({ policies: [policy('a', 'api'), policy('b', 'elsewhere'), policy('c', 'api', 'other')] });
    expect(scopeToNode(state, 'node-b').policies.map(({ manifest }) => manifest['metadata'])).toEqual([
      { name: 'a', namespace: 'production' },
    ]);
    expect(scopeToNode(state, 'node-c').policies).toEqual([]);
  });

  it('keeps policies of other dialects: the engine decides what they select', () => {
    const state = meshState({ policies: [{ manifest: { kind: 'AuthorizationPolicy' } }] });
    expect(scopeToNode(state, 'node-a').policies).toHaveLength(1);
  });

  it('keeps the denials of local services and those of everything', () => {
    const state = meshState({
      denied: [
        { service: 'production/api', reason: 'x' },
        { service: 'production/elsewhere', reason: 'y' },
        { service: '*', reason: 'z' },
      ],
    });
    expect(scopeToNode(state, 'node-a').denied.map(({ reason }) => reason)).toEqual(['x', 'z']);
  });
});
