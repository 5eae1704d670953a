import { describe, expect, it } from 'vitest';
import { admit, prepareMeshView } from '../../../src/mesh/index.js';
import type { AuthenticatedSource, MeshView } from '../../../src/mesh/index.js';
import type { MeshStateInput } from '../../../src/mesh/index.js';
import { SpiffeId } from '../../../src/spiffe/index.js';
import { meshState, meshStateInput } from '../fixtures.js';
import { policy } from '../support.js';

const view = (changes: Partial<MeshStateInput> = {}, node = 'node-a'): MeshView =>
  prepareMeshView(node)(meshState(changes));
const api1 = (changes: object): Partial<MeshStateInput> => ({
  workloads: meshStateInput().workloads.map((each) => (each.name === 'api-1' ? { ...each, ...changes } : each)),
});
const frontend: AuthenticatedSource = {
  principal: SpiffeId.parse('spiffe://cluster.local/ns/frontend/sa/web'),
  node: 'node-b',
  via: 'token',
};
const plain: AuthenticatedSource = { via: 'none', address: '192.0.2.1' };
const to = { ip: '10.244.1.6', port: 8080 };
const own = new Set([15001, 15002, 15006]);
const allow = (rule: object): Partial<MeshStateInput> => ({
  policies: [{ manifest: policy('p', 'api', 'ALLOW', [rule]) }],
});

describe('admit', () => {
  it.each<[string, MeshView, AuthenticatedSource, { ip: string; port: number }, string]>([
    ["the agent's own port", view(), frontend, { ...to, port: 15002 }, 'illegal-port'],
    ['an address of no workload', view(), frontend, { ...to, ip: '10.244.9.9' }, 'authority-not-local'],
    ["the node's own address", view(), frontend, { ip: '172.30.0.11', port: 22 }, 'authority-not-local'],
    ['loopback', view(), frontend, { ip: '127.0.0.1', port: 8080 }, 'authority-not-local'],
    ['a ClusterIP', view(), frontend, { ip: '10.96.0.10', port: 80 }, 'authority-not-local'],
    ['a workload of another node', view(), frontend, { ...to, ip: '10.244.2.6' }, 'authority-not-local'],
    ['a pod that is not enrolled', view(), frontend, { ip: '10.244.1.5', port: 80 }, 'authority-not-enrolled'],
    ['a pod that is not ready', view(api1({ ready: false })), frontend, to, 'authority-not-ready'],
    ['a node the snapshot does not have', view(), { ...frontend, node: 'gone' }, to, 'peer-node-unknown'],
    ['plaintext to a STRICT pod', view(), plain, to, 'plaintext-strict'],
    [
      'a service that is denied',
      view({ denied: [{ service: 'production/api', reason: 'x' }] }),
      frontend,
      to,
      'policy-unreadable',
    ],
    [
      'a namespace that is denied',
      view({ denied: [{ service: 'production/*', reason: 'x' }] }),
      frontend,
      { ...to, port: 1 },
      'policy-unreadable',
    ],
    ['whom no policy allows', view(allow({ from: [{ namespaces: ['other'] }] })), frontend, to, 'denied-by-policy'],
    [
      'plaintext where a principal is needed',
      view({ ...api1({ mtlsMode: 'PERMISSIVE' }), ...allow({ from: [{ namespaces: ['frontend'] }] }) }),
      plain,
      to,
      'denied-by-policy',
    ],
    [
      'a service denied, at the address it does not list',
      view({ denied: [{ service: 'production/api', reason: 'x' }] }),
      frontend,
      { ip: 'fd00:1::6', port: 8080 },
      'policy-unreadable',
    ],
  ])('refuses %s', (_what, given, source, destination, reason) => {
    expect(admit(given, source, destination, own)).toMatchObject({ admitted: false, reason });
  });

  it('allows, and asks the engine with verified facts alone', () => {
    expect(admit(view(allow({ from: [{ namespaces: ['frontend'] }] })), frontend, to, own)).toMatchObject({
      admitted: true,
      verdict: 'allow',
      services: ['production/api'],
      request: {
        source: { principal: 'spiffe://cluster.local/ns/frontend/sa/web', node: 'spiffe://cluster.local/agent/node-b' },
        destination: {
          namespace: 'production',
          services: ['production/api'],
          workload: 'api-1',
          ip: to.ip,
          port: 8080,
        },
      },
    });
  });

  it('says when each request has to be judged', () => {
    const rule = { from: [{ namespaces: ['frontend'] }], to: [{ methods: ['GET'] }] };
    expect(admit(view(allow(rule)), frontend, to, own)).toMatchObject({ admitted: true, verdict: 'needs-http' });
  });

  it('keeps an open connection to a pod that is not ready any more, but not against policy', () => {
    const established = { established: true };
    expect(admit(view(api1({ ready: false })), frontend, to, own, established)).toMatchObject({ admitted: true });
    const denied = view({ ...api1({ ready: false }), ...allow({ from: [{ namespaces: ['other'] }] }) });
    expect(admit(denied, frontend, to, own, established)).toMatchObject({ reason: 'denied-by-policy' });
  });
});
