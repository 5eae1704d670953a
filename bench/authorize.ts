/** Decisions on HTTP requests by an engine of 10, 1,000 and 10,000 policies, one of which is about the request. */
import { AuthzEngine } from 'meshwright/authz';
import { compare } from './support.js';

const decisionsPerRun = 20_000;

function policy(service: string): object {
  return {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name: `${service}-clients`, namespace: 'shop' },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: service },
      meshAuthorization: {
        action: 'ALLOW',
        rules: [
          { from: [{ serviceAccounts: ['orders'] }], to: [{ methods: ['POST'], paths: ['/api/v1/charges/**'] }] },
          { from: [{ namespaces: ['monitoring'] }], to: [{ methods: ['GET'], paths: ['/metrics'] }] },
        ],
      },
    },
  };
}

function contender(policies: number): { name: string; run: () => { units: number } } {
  const engine = AuthzEngine.compile(Array.from({ length: policies }, (_, index) => policy(`service-${index}`)));
  const request = {
    source: { principal: 'spiffe://cluster.local/ns/shop/sa/orders', node: 'spiffe://cluster.local/agent/node-a' },
    destination: { namespace: 'shop', services: ['service-7'], port: 8080 },
    http: { method: 'POST', path: '/api/v1/charges/42' },
  };
  if (!engine.authorize(request).allowed) throw new Error(engine.authorize(request).reason);
  return {
    name: `${policies} policies`,
    run: () => {
      for (let count = 0; count < decisionsPerRun; count += 1) engine.authorize(request);
      return { units: decisionsPerRun };
    },
  };
}

await compare({ title: 'authorize', unit: 'decision', contenders: [10, 1_000, 10_000].map(contender) });
