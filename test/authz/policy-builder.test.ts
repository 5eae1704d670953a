import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { AuthzEngine, policyBuilder } from '../../src/authz/index.js';

const { allow, deny, namespace, service, spiffe, workload } = policyBuilder<{
  workloads: { production: 'web' | 'worker'; monitoring: 'prometheus' };
  services: { production: 'api' };
}>();

describe('policyBuilder', () => {
  it('writes the manifest that one would write by hand, and the same as YAML', () => {
    const draft = allow(workload('production', 'web'))
      .to(service('production', 'api'))
      .get('/orders/*')
      .post('/orders');
    expect(draft.manifest()).toEqual({
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyPolicy',
      metadata: { name: 'allow-api', namespace: 'production' },
      spec: {
        type: 'MeshAuthorization',
        targetRef: { kind: 'Service', name: 'api' },
        meshAuthorization: {
          action: 'ALLOW',
          rules: [
            {
              from: [{ serviceAccounts: ['production/web'] }],
              to: [
                { methods: ['GET'], paths: ['/orders/*'] },
                { methods: ['POST'], paths: ['/orders'] },
              ],
            },
          ],
        },
      },
    });
    expect(parse(String(draft))).toEqual(draft.manifest());
  });

  it('what it writes compiles and decides', () => {
    const engine = AuthzEngine.compile([
      allow(workload('production', 'web'), namespace('monitoring')).to(service('production', 'api')).get().manifest(),
      deny(spiffe('spiffe://cluster.local/agent/untrusted-*'))
        .to(service('production', 'api'))
        .named('no-untrusted')
        .manifest(),
    ]);
    const ask = (principal: string, node: string, method: string): string =>
      engine.authorize({
        source: { principal: `spiffe://cluster.local/${principal}`, node: `spiffe://cluster.local/agent/${node}` },
        destination: { namespace: 'production', services: ['api'] },
        http: { method, path: '/' },
      }).action;
    expect(ask('ns/production/sa/web', 'a', 'GET')).toBe('allow');
    expect(ask('ns/monitoring/sa/prometheus', 'a', 'GET')).toBe('allow');
    expect(ask('ns/production/sa/worker', 'a', 'GET')).toBe('deny');
    expect(ask('ns/production/sa/web', 'a', 'POST')).toBe('deny');
    expect(ask('ns/production/sa/web', 'untrusted-1', 'GET')).toBe('deny');
  });

  it('a draft is never changed, and needs a target', () => {
    const base = allow().to(service('production', 'api'));
    base.get('/a');
    expect(base.manifest().spec.meshAuthorization.rules).toEqual([{}]);
    expect(() => allow().manifest()).toThrow(expect.objectContaining({ code: 'AUTHZ_POLICY_INCOMPLETE' }));
  });

  it('unknown names are type errors', () => {
    // @ts-expect-error there is no such service account in production
    workload('production', 'prometheus');
    // @ts-expect-error there is no such namespace
    namespace('other');
    // @ts-expect-error there is no such service
    service('production', 'web');
    expect(policyBuilder().workload('any', 'name')).toEqual({ serviceAccounts: ['any/name'] });
  });
});
