import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { AuthzEngine, policyBuilder } from '../../src/authz/index.js';
import type { ConditionKey, PolicyDraft } from '../../src/authz/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';

const { allow, anyone, both, deny, ip, namespace, node, not, service, spiffe, wholeMesh, wholeNamespace, workload } =
  policyBuilder<{
    workloads: { production: 'web' | 'worker'; monitoring: 'prometheus' };
    services: { production: 'api' };
    nodes: 'node-a' | 'node-b';
  }>();
const web = workload('production', 'web');
const api = service('production', 'api');
const bodyOf = (draft: PolicyDraft): object => draft.manifest().spec.meshAuthorization;

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
    const base = allow(anyone()).to(service('production', 'api'));
    base.get('/a');
    base.ports(80).tier(100).when('source.ip', '10.0.0.1');
    expect(base.manifest().spec.meshAuthorization).toEqual({ action: 'ALLOW', rules: [{}] });
    expect(() => allow(anyone()).manifest()).toThrow(expect.objectContaining({ code: 'AUTHZ_POLICY_INCOMPLETE' }));
  });

  it('nobody is not everybody: that takes anyone(), alone', () => {
    const incomplete = expect.objectContaining({ code: 'AUTHZ_POLICY_INCOMPLETE' }) as Error;
    // @ts-expect-error nobody is named
    expect(() => allow()).toThrow(incomplete);
    // @ts-expect-error nobody is named
    expect(() => deny()).toThrow(incomplete);
    const none: Parameters<typeof allow>[0][] = [];
    // @ts-expect-error a list that may be empty
    expect(() => allow(...none)).toThrow(incomplete);
    // @ts-expect-error anyone() beside others says two things
    expect(() => allow(web, anyone())).toThrow(expect.objectContaining({ code: 'AUTHZ_POLICY_CONFLICT' }));
    expect(() => allow(anyone(), web)).toThrow(expect.objectContaining({ code: 'AUTHZ_POLICY_CONFLICT' }));
  });

  it('sources: nodes, addresses, not-forms, and several at once', () => {
    expect(bodyOf(allow(web, node('node-a'), ip('10.0.0.0/8', 'fd00::1')).to(api))).toEqual({
      action: 'ALLOW',
      rules: [
        {
          from: [
            { serviceAccounts: ['production/web'] },
            { spiffeIds: ['spiffe://cluster.local/agent/node-a'] },
            { ipBlocks: ['10.0.0.0/8', 'fd00::1'] },
          ],
        },
      ],
    });
    const all = both(namespace('production'), not(workload('production', 'worker')), not(web), not(ip('10.0.0.1')));
    expect(bodyOf(deny(all).to(api))).toEqual({
      action: 'DENY',
      rules: [
        {
          from: [
            {
              namespaces: ['production'],
              notServiceAccounts: ['production/worker', 'production/web'],
              notIpBlocks: ['10.0.0.1'],
            },
          ],
        },
      ],
    });
    const conflict = expect.objectContaining({ code: 'AUTHZ_POLICY_CONFLICT' }) as Error;
    expect(() => both(web, workload('production', 'worker'))).toThrow(conflict);
    expect(() => not(both(web, ip('10.0.0.1')))).toThrow(conflict);
    expect(() => not(not(web))).toThrow(conflict);
    expect(policyBuilder({ trustDomain: 'mesh.example' }).node('n')).toEqual({
      spiffeIds: ['spiffe://mesh.example/agent/n'],
    });
  });

  it('limits hold for every operation, in whatever order they are written', () => {
    const rules = [
      {
        from: [{ serviceAccounts: ['production/web'] }],
        to: [
          { methods: ['GET'], paths: ['/a'], ports: [80], hosts: ['*.example'], notPaths: ['/a/b', '/c'], headers },
          { methods: ['POST'], ports: [80], hosts: ['*.example'], notPaths: ['/a/b', '/c'], headers },
        ],
      },
    ];
    const first = allow(web).to(api).get('/a').post();
    const limited = (draft: PolicyDraft): PolicyDraft =>
      draft
        .ports(80)
        .hosts('*.example')
        .except({ paths: ['/a/b'] })
        .except({ paths: ['/c'] })
        .header('x-env', 'prod', 'dev')
        .header('x-id')
        .withoutHeader('x-debug')
        .withoutHeader('x-mode', 'test');
    expect(bodyOf(limited(first))).toEqual({ action: 'ALLOW', rules });
    expect(bodyOf(limited(allow(web).to(api)).get('/a').post())).toEqual({ action: 'ALLOW', rules });
    expect(bodyOf(allow(web).to(api).ports(80, 81))).toEqual({
      action: 'ALLOW',
      rules: [{ from: [{ serviceAccounts: ['production/web'] }], to: [{ ports: [80, 81] }] }],
    });
    const conflict = expect.objectContaining({ code: 'AUTHZ_POLICY_CONFLICT' }) as Error;
    expect(() => first.ports(80).ports(81)).toThrow(conflict);
    expect(() =>
      first
        .operation({ ports: [80] })
        .ports(81)
        .manifest(),
    ).toThrow(conflict);
  });

  it('conditions add up', () => {
    const draft = allow(anyone())
      .to(api)
      .when('source.ip', '10.0.0.0/8')
      .when('request.auth.claims[groups]', 'admin', 'ops')
      .whenNot('request.headers[x-env]', 'prod');
    expect(bodyOf(draft)).toEqual({
      action: 'ALLOW',
      rules: [
        {
          when: [
            { key: 'source.ip', values: ['10.0.0.0/8'] },
            { key: 'request.auth.claims[groups]', values: ['admin', 'ops'] },
            { key: 'request.headers[x-env]', notValues: ['prod'] },
          ],
        },
      ],
    });
    // @ts-expect-error there is no such attribute
    const wrong: ConditionKey = 'source.ips';
    expect(wrong).toBeDefined();
    // @ts-expect-error a condition without values holds for nothing
    expect(bodyOf(draft.when('source.ip'))).toBeDefined();
  });

  it('the meshwright dialect: tiers, modes, ends and wider targets', () => {
    const clock = new FakeClock({ start: new Date('2027-01-01T00:00:00Z') });
    const draft = allow(namespace('monitoring'))
      .to(wholeMesh())
      .named('scrape')
      .get('/metrics')
      .tier(10)
      .until(new Date('2027-01-31T18:00:00Z'), { owner: 'team-a', reason: 'CHG-1' });
    expect(draft.manifest()).toMatchObject({
      metadata: { name: 'scrape', namespace: 'istio-system' },
      spec: {
        targetRef: { kind: 'Mesh' },
        meshAuthorization: { tier: 10, notAfter: '2027-01-31T18:00:00.000Z', owner: 'team-a', reason: 'CHG-1' },
      },
    });
    const closed = deny(anyone()).to(wholeNamespace('production')).named('closed').tier(200);
    const observed = deny(anyone()).to(api).mode('AUDIT');
    const engine = AuthzEngine.compile(
      [draft, closed, observed].map((each) => parse(String(each)) as unknown),
      { dialects: { meshwright: true }, clock },
    );
    const ask = (): string =>
      engine.authorize({
        source: { principal: 'spiffe://cluster.local/ns/monitoring/sa/prometheus' },
        destination: { namespace: 'production', services: ['api'] },
        http: { method: 'GET', path: '/metrics' },
      }).reason;
    expect(ask()).toBe('allowed by istio-system/scrape rule 0 in tier 10');
    clock.advance(31 * 86_400_000);
    expect(ask()).toBe('denied by production/closed rule 0 in tier 200');
    expect(allow(anyone()).to(wholeMesh()).manifest().metadata.name).toBe('allow-mesh');
  });

  it('unknown names are type errors', () => {
    // @ts-expect-error there is no such service account in production
    workload('production', 'prometheus');
    // @ts-expect-error there is no such namespace
    namespace('other');
    // @ts-expect-error there is no such service
    service('production', 'web');
    // @ts-expect-error there is no such node
    node('node-c');
    // @ts-expect-error there is no such namespace
    wholeNamespace('staging');
    const draft = allow(anyone()).to(api);
    // @ts-expect-error a misspelt field
    draft.operation({ method: ['GET'] });
    // @ts-expect-error ports are numbers
    allow(anyone()).to(api).ports('80');
    // @ts-expect-error there are two modes
    allow(anyone()).to(api).mode('audit');
    // @ts-expect-error a grant that ends has an owner and a reason
    allow(anyone()).to(api).until('2027-01-31T18:00:00Z', { owner: 'a' });
    expect(policyBuilder().workload('any', 'name')).toEqual({ serviceAccounts: ['any/name'] });
    expect(policyBuilder().node('any')).toEqual({ spiffeIds: ['spiffe://cluster.local/agent/any'] });
  });
});

const headers = [
  { name: 'x-env', values: ['prod', 'dev'] },
  { name: 'x-id', values: ['*'] },
  { name: 'x-debug', notValues: ['*'] },
  { name: 'x-mode', notValues: ['test'] },
];
