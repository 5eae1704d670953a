import { describe, expect, it } from 'vitest';
import { AuthzCompileError, AuthzEngine } from '../../src/authz/index.js';
import type { AuthzOptions, AuthzRequest, PolicyProblem } from '../../src/authz/index.js';

type Rules = readonly unknown[] | undefined;

function policy(
  name: string,
  action: string,
  service: string,
  rules: Rules,
  namespace = 'production',
): Record<string, unknown> {
  return {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name, namespace },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: service },
      meshAuthorization: { action, ...(rules === undefined ? {} : { rules }) },
    },
  };
}

/** The four policies of the NovaEdge guide. */
const guide = [
  policy('allow-frontend', 'ALLOW', 'backend-api', [{ from: [{ namespaces: ['frontend'] }] }]),
  policy('payments', 'ALLOW', 'payment-service', [
    {
      from: [{ serviceAccounts: ['order-processor'] }],
      to: [{ methods: ['POST'], paths: ['/api/v1/charges', '/api/v1/refunds'] }],
    },
  ]),
  policy('no-untrusted', 'DENY', 'secrets-vault', [
    { from: [{ spiffeIds: ['spiffe://cluster.local/agent/untrusted-*'] }] },
  ]),
  policy('allow-monitoring', 'ALLOW', 'backend-api', [
    { from: [{ namespaces: ['monitoring'] }], to: [{ methods: ['GET'], paths: ['/healthz', '/metrics'] }] },
  ]),
];

const workload = (namespace: string, account: string): string => `spiffe://cluster.local/ns/${namespace}/sa/${account}`;
const node = (name: string): string => `spiffe://cluster.local/agent/${name}`;

function ask(service: string, source: AuthzRequest['source'], http?: AuthzRequest['http']): AuthzRequest {
  return { source, destination: { namespace: 'production', services: [`production/${service}`], port: 8080 }, http };
}

const compile = (manifests: readonly unknown[], options?: AuthzOptions): AuthzEngine =>
  AuthzEngine.compile(manifests, { trustDomain: 'cluster.local', ...options });

function problemsOf(manifests: readonly unknown[]): readonly PolicyProblem[] {
  try {
    compile(manifests);
  } catch (error) {
    if (error instanceof AuthzCompileError) return error.problems;
    throw error;
  }
  return [];
}

const get = (path: string): AuthzRequest['http'] => ({ method: 'GET', path });
const post = (path: string): AuthzRequest['http'] => ({ method: 'POST', path });
const from = (namespace: string, account = 'default', on = 'node-a'): AuthzRequest['source'] => ({
  principal: workload(namespace, account),
  node: node(on),
});

describe('the four policies of the guide', () => {
  const engine = compile(guide);

  it.each([
    ['backend-api', from('frontend'), get('/api/orders'), true],
    ['backend-api', from('frontend'), undefined, true],
    ['backend-api', from('unauthorized-ns', 'rogue'), get('/'), false],
    ['backend-api', from('monitoring'), get('/healthz'), true],
    ['backend-api', from('monitoring'), get('/metrics?format=text'), true],
    ['backend-api', from('monitoring'), get('/api'), false],
    ['backend-api', from('monitoring'), post('/healthz'), false],
    ['backend-api', from('monitoring'), undefined, false],
    ['payment-service', from('production', 'order-processor'), post('/api/v1/charges'), true],
    ['payment-service', from('production', 'order-processor'), post('/api/v1/refunds'), true],
    ['payment-service', from('production', 'order-processor'), get('/api/v1/charges'), false],
    ['payment-service', from('elsewhere', 'order-processor'), post('/api/v1/charges'), false],
    ['payment-service', from('frontend'), post('/api/v1/charges'), false],
    ['secrets-vault', from('frontend', 'default', 'untrusted-1'), get('/'), false],
    ['secrets-vault', from('frontend', 'default', 'node-a'), get('/'), true],
    ['unpoliced', from('frontend'), get('/'), true],
  ] as const)('%s from %j with %j: allowed %s', (service, source, http, allowed) => {
    expect(engine.authorize(ask(service, source, http)).allowed).toBe(allowed);
  });

  it('names the policy and the rule that decided', () => {
    expect(engine.authorize(ask('backend-api', from('frontend'), get('/')))).toEqual({
      allowed: true,
      action: 'allow',
      policy: 'production/allow-frontend',
      rule: 0,
      reason: 'allowed by production/allow-frontend rule 0',
    });
    expect(engine.authorize(ask('secrets-vault', from('x', 'y', 'untrusted-9')))).toMatchObject({
      action: 'deny',
      policy: 'production/no-untrusted',
      rule: 0,
    });
    const implicit = engine.authorize(ask('backend-api', from('nobody'), get('/')));
    expect(implicit).toMatchObject({ allowed: false, action: 'deny' });
    expect(implicit.policy).toBeUndefined();
    expect(implicit.reason).toContain('production/allow-frontend, production/allow-monitoring');
  });

  it('answers with a frozen decision', () => {
    expect(Object.isFrozen(engine.authorize(ask('backend-api', from('frontend'))))).toBe(true);
    expect(Object.isFrozen(engine.authorize(ask('backend-api', from('nobody'))))).toBe(true);
    expect(Object.isFrozen(engine.authorizeConnection(ask('backend-api', from('monitoring'))))).toBe(true);
  });

  it.each([
    ['backend-api', from('frontend'), 'allow'],
    ['backend-api', from('monitoring'), 'needs-http'],
    ['backend-api', from('nobody'), 'deny'],
    ['backend-api', {}, 'deny'],
    ['payment-service', from('production', 'order-processor'), 'needs-http'],
    ['payment-service', from('production', 'other'), 'deny'],
    ['secrets-vault', from('a', 'b', 'untrusted-1'), 'deny'],
    ['secrets-vault', from('a', 'b', 'node-a'), 'allow'],
    ['unpoliced', {}, 'allow'],
  ] as const)('connection to %s from %j: %s', (service, source, verdict) => {
    const result = engine.authorizeConnection(ask(service, source));
    expect(result.verdict).toBe(verdict);
    expect(result.decision.allowed).toBe(verdict === 'allow');
  });

  it('explains a default denial by its nearest miss', () => {
    const explanation = engine.explain(ask('backend-api', from('monitoring'), post('/healthz')));
    expect(explanation.decision.allowed).toBe(false);
    expect(explanation.considered.map((each) => each.policy)).toEqual([
      'production/allow-frontend',
      'production/allow-monitoring',
    ]);
    expect(explanation.nearestMiss).toMatchObject({ rule: 0, matched: false });
    expect(explanation.considered[1]?.rules[0]?.failed).toEqual([
      { field: 'methods', path: 'spec.meshAuthorization.rules[0].to[0].methods', expected: ['GET'], got: 'POST' },
    ]);
  });
});

describe('where identity is missing or foreign', () => {
  it('an ALLOW by identity never matches without a principal', () => {
    const engine = compile([
      policy('a', 'ALLOW', 's', [
        { from: [{ namespaces: ['x'] }] },
        { from: [{ serviceAccounts: ['*/y'] }] },
        { from: [{ spiffeIds: ['spiffe://*/**'] }] },
      ]),
    ]);
    expect(engine.authorize(ask('s', {}, get('/'))).allowed).toBe(false);
    expect(engine.authorize(ask('s', { principal: workload('x', 'y') }, get('/'))).allowed).toBe(true);
  });

  it('a DENY that names a node matches when the node is unknown', () => {
    const engine = compile(guide);
    expect(engine.authorize(ask('secrets-vault', { principal: workload('a', 'b') }, get('/'))).allowed).toBe(false);
    expect(engine.authorize(ask('secrets-vault', {}, get('/'))).allowed).toBe(false);
    expect(engine.authorizeConnection(ask('secrets-vault', {})).verdict).toBe('deny');
  });

  it('a DENY that can only name workloads does not match for want of a node', () => {
    const engine = compile([
      policy('d', 'DENY', 's', [{ from: [{ spiffeIds: ['spiffe://cluster.local/ns/bad/**'] }] }]),
    ]);
    expect(engine.authorize(ask('s', { principal: workload('good', 'x') })).allowed).toBe(true);
    expect(engine.authorize(ask('s', { principal: workload('bad', 'x') })).allowed).toBe(false);
  });

  it('a principal that is itself an agent is the node', () => {
    const engine = compile(guide);
    expect(engine.authorize(ask('secrets-vault', { principal: node('node-a') })).allowed).toBe(true);
    expect(engine.authorize(ask('secrets-vault', { principal: node('untrusted-1') })).allowed).toBe(false);
  });

  it('an ALLOW by namespace does not reach another trust domain, a DENY does', () => {
    const foreign = { principal: 'spiffe://other.example/ns/frontend/sa/web', node: node('node-a') };
    const allow = [policy('a', 'ALLOW', 's', [{ from: [{ namespaces: ['frontend'] }] }])];
    const deny = [policy('d', 'DENY', 's', [{ from: [{ serviceAccounts: ['frontend/web'] }] }])];
    expect(compile(allow).authorize(ask('s', foreign)).allowed).toBe(false);
    expect(compile(allow, { trustDomainAliases: ['other.example'] }).authorize(ask('s', foreign)).allowed).toBe(true);
    expect(compile(deny).authorize(ask('s', foreign)).allowed).toBe(false);
  });

  it.each([
    'web',
    'spiffe://',
    'spiffe://cluster.local',
    'spiffe://cluster.local/ns/../sa',
    'spiffe://Cluster/ns/a/sa/b',
    'spiffe://c/a//b',
    'spiffe://c/a/',
  ])('a principal that is no SPIFFE ID (%s) is refused, whatever the policies', (principal) => {
    expect(compile([]).authorize(ask('s', { principal }, get('/'))).allowed).toBe(false);
    expect(compile([]).authorizeConnection(ask('s', { principal })).verdict).toBe('deny');
  });

  it('a request that is no request is refused', () => {
    const engine = compile([]);
    for (const request of [
      undefined,
      null,
      {},
      { source: {} },
      { source: {}, destination: {} },
      { source: {}, destination: { namespace: 'a', port: '80' } },
      { source: {}, destination: { namespace: 'a', port: 65536 } },
      { source: {}, destination: { namespace: 'a', services: 'b' } },
    ]) {
      expect(engine.authorize(request as never).allowed).toBe(false);
      expect(engine.authorizeConnection(request as never).verdict).toBe('deny');
    }
    expect(engine.authorize({ ...ask('s', {}), http: { method: 'GET' } as never }).allowed).toBe(false);
  });
});

describe('sources', () => {
  it('fields of one source are all required, sources are alternatives', () => {
    const engine = compile([
      policy('a', 'ALLOW', 's', [{ from: [{ namespaces: ['a'], serviceAccounts: ['*/web'] }, { namespaces: ['b'] }] }]),
    ]);
    expect(engine.authorize(ask('s', from('a', 'web'))).allowed).toBe(true);
    expect(engine.authorize(ask('s', from('a', 'other'))).allowed).toBe(false);
    expect(engine.authorize(ask('s', from('b', 'other'))).allowed).toBe(true);
  });

  it("a bare account is of the policy's namespace, ns/name of another, */name of any", () => {
    const engine = compile([
      policy('a', 'ALLOW', 's', [{ from: [{ serviceAccounts: ['own', 'shop/web', '*/any'] }] }]),
    ]);
    const allowed = (namespace: string, account: string): boolean =>
      engine.authorize(ask('s', from(namespace, account))).allowed;
    expect([allowed('production', 'own'), allowed('shop', 'web'), allowed('whatever', 'any')]).toEqual([
      true,
      true,
      true,
    ]);
    expect([allowed('shop', 'own'), allowed('production', 'web'), allowed('own', 'production')]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('spiffeIds are tested against principal and node', () => {
    const engine = compile([
      policy('a', 'ALLOW', 's', [{ from: [{ spiffeIds: ['spiffe://cluster.local/agent/edge-?'] }] }]),
    ]);
    expect(engine.authorize(ask('s', from('x', 'y', 'edge-1'))).allowed).toBe(true);
    expect(engine.authorize(ask('s', from('x', 'y', 'edge-12'))).allowed).toBe(false);
    expect(engine.authorize(ask('s', { principal: workload('x', 'y') })).allowed).toBe(false);
  });

  it('a longer path than that of a workload is not the workload for an ALLOW, and is for a DENY', () => {
    const longer = { principal: 'spiffe://cluster.local/ns/a/sa/web/extra', node: node('n') };
    const source = [{ from: [{ serviceAccounts: ['a/web'] }] }];
    expect(compile([policy('p', 'ALLOW', 's', source)]).authorize(ask('s', longer)).allowed).toBe(false);
    expect(compile([policy('p', 'DENY', 's', source)]).authorize(ask('s', longer)).allowed).toBe(false);
  });
});

describe('several policies', () => {
  it('DENY wins over ALLOW', () => {
    const engine = compile([
      policy('a', 'ALLOW', 's', [{}]),
      policy('d', 'DENY', 's', [{ to: [{ paths: ['/admin/**'] }] }]),
    ]);
    expect(engine.authorize(ask('s', from('x'), get('/'))).policy).toBe('production/a');
    expect(engine.authorize(ask('s', from('x'), get('/admin/x'))).policy).toBe('production/d');
    expect(engine.authorize(ask('s', from('x'), get('/admin'))).policy).toBe('production/d');
    expect(engine.authorizeConnection(ask('s', from('x'))).verdict).toBe('needs-http');
  });

  it('policies of all services of the destination form one set', () => {
    const engine = compile([
      policy('a', 'ALLOW', 'one', [{ from: [{ namespaces: ['x'] }] }]),
      policy('d', 'DENY', 'two', [{ from: [{ namespaces: ['y'] }] }]),
    ]);
    const at = (services: string[], namespace: string): boolean =>
      engine.authorize({ source: from(namespace), destination: { namespace: 'production', services } }).allowed;
    expect(at(['production/one', 'production/none'], 'z')).toBe(false);
    expect(at(['production/none', 'production/one'], 'x')).toBe(true);
    expect(at(['production/two'], 'z')).toBe(true);
    expect(at(['production/two', 'production/one'], 'y')).toBe(false);
    expect(at(['one'], 'z')).toBe(false);
    expect(at([], 'z')).toBe(true);
  });

  it('without an ALLOW policy the default decides, and a DENY opens nothing', () => {
    const deny = [policy('d', 'DENY', 's', [{ from: [{ namespaces: ['y'] }] }])];
    expect(compile([], { defaultAction: 'deny' }).authorize(ask('s', from('x'))).allowed).toBe(false);
    expect(compile(deny, { defaultAction: 'deny' }).authorize(ask('s', from('x'))).allowed).toBe(false);
    expect(compile(deny).authorize(ask('s', from('x'))).allowed).toBe(true);
  });

  it('a policy of the same service name in another namespace does not apply', () => {
    const engine = compile([policy('a', 'DENY', 's', [{}], 'elsewhere')]);
    expect(engine.authorize(ask('s', from('x'))).allowed).toBe(true);
  });
});

describe('empty forms', () => {
  it.each([undefined, []])('an ALLOW with rules %j denies everything', (rules) => {
    expect(compile([policy('a', 'ALLOW', 's', rules)]).authorize(ask('s', from('x'), get('/'))).allowed).toBe(false);
    expect(compile([policy('a', 'ALLOW', 's', rules)]).authorizeConnection(ask('s', from('x'))).verdict).toBe('deny');
  });

  it.each([undefined, []])('a DENY with rules %j is an error', (rules) => {
    expect(problemsOf([policy('d', 'DENY', 's', rules)])).toMatchObject([{ code: 'deny-without-effect' }]);
  });

  it.each([[{}], [{ from: [], to: [] }], [{ from: [] }]])('the rule %j matches everything', (rule) => {
    expect(compile([policy('a', 'ALLOW', 's', [rule])]).authorize(ask('s', {})).allowed).toBe(true);
    expect(compile([policy('d', 'DENY', 's', [rule])]).authorize(ask('s', {})).allowed).toBe(false);
  });

  it.each([
    [{ from: [{}] }, 'from[0]'],
    [{ to: [{}] }, 'to[0]'],
    [{ from: [{ namespaces: [] }] }, 'from[0].namespaces'],
    [{ to: [{ paths: [] }] }, 'to[0].paths'],
  ])('%j is an error at %s', (rule, path) => {
    expect(problemsOf([policy('a', 'ALLOW', 's', [rule])])).toMatchObject([
      { path: `spec.meshAuthorization.rules[0].${path}` },
    ]);
  });
});

describe('HTTP terms without HTTP', () => {
  const engine = compile([
    policy('a', 'ALLOW', 's', [
      { from: [{ namespaces: ['x'] }], to: [{ methods: ['GET'] }] },
      { from: [{ namespaces: ['all'] }] },
    ]),
    policy('d', 'DENY', 's', [{ from: [{ namespaces: ['bad', 'all'] }], to: [{ paths: ['/admin'] }] }]),
    policy('h', 'DENY', 'h', [{ to: [{ methods: ['DELETE'] }] }]),
  ]);

  it('an ALLOW rule with one never matches an opaque stream', () => {
    expect(engine.authorize(ask('s', from('x'))).allowed).toBe(false);
    expect(engine.authorize(ask('s', from('x'))).reason).toContain('opaque');
  });

  it('an opaque stream never escapes a DENY because of one', () => {
    expect(engine.authorize(ask('s', from('all'))).policy).toBe('production/d');
    expect(engine.authorize(ask('s', from('bad'))).policy).toBe('production/d');
    expect(engine.authorize(ask('h', from('x'))).policy).toBe('production/h');
  });

  it('a connection is decided early only if no request can change the outcome', () => {
    expect(engine.authorizeConnection(ask('s', from('x'))).verdict).toBe('needs-http');
    expect(engine.authorizeConnection(ask('s', from('all'))).verdict).toBe('needs-http');
    // The DENY is open, but no ALLOW can match either way.
    expect(engine.authorizeConnection(ask('s', from('bad'))).verdict).toBe('deny');
    expect(engine.authorizeConnection(ask('h', from('x'))).verdict).toBe('needs-http');
    expect(engine.authorizeConnection(ask('h', from('x'))).decision.policy).toBe('production/h');
  });

  it('ignores a request when the connection is asked for', () => {
    expect(engine.authorizeConnection(ask('s', from('x'), get('/'))).verdict).toBe('needs-http');
  });
});

describe('methods', () => {
  const allow = compile([policy('a', 'ALLOW', 's', [{ to: [{ methods: ['GET'] }] }])]);
  const deny = compile([policy('d', 'DENY', 's', [{ to: [{ methods: ['DELETE'] }] }])]);

  it('are compared exactly; what is not upper case satisfies no ALLOW and escapes no DENY', () => {
    const method = (name: string): AuthzRequest => ask('s', from('x'), { method: name, path: '/' });
    expect(['GET', 'get', 'Get', 'GETX', ' GET', ''].map((name) => allow.authorize(method(name)).allowed)).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(['GET', 'DELETE', 'delete', 'DELETE ', ''].map((name) => deny.authorize(method(name)).allowed)).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it.each(['get', '*', 'GET POST'])('%s is an error', (method) => {
    expect(problemsOf([policy('a', 'ALLOW', 's', [{ to: [{ methods: [method] }] }])])).toMatchObject([
      { path: 'spec.meshAuthorization.rules[0].to[0].methods[0]' },
    ]);
  });
});

describe('paths', () => {
  const allowed = (pattern: string, path: string): boolean =>
    compile([policy('a', 'ALLOW', 's', [{ to: [{ paths: [pattern] }] }])]).authorize(ask('s', from('x'), get(path)))
      .allowed;

  it.each([
    ['/api', '/api', true],
    ['/api', '/api?x=1', true],
    ['/api', '/api/', false],
    ['/api', '/apix', false],
    ['/api/*', '/api/v1', true],
    ['/api/*', '/api/', false],
    ['/api/*', '/api/v1/users', false],
    ['/api/**', '/api/v1/users', true],
    ['/api/**', '/api', true],
    ['/api/**', '/api/.git/config', true],
    ['/**', '/', true],
    ['/a/**/z', '/a/z', true],
    ['/a/**/z', '/a/b/c/z', true],
    ['/a/**/z', '/a/b/c', false],
    ['/v?/x', '/v1/x', true],
    ['/v?/x', '/v12/x', false],
    ['/a*z', '/abcz', true],
    ['/a*z', '/ab/cz', false],
    ['/api', '/%61pi', true],
    ['/caf%C3%A9', '/caf%c3%a9', true],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(allowed(pattern, path)).toBe(expected);
  });

  it.each([
    '/public/%2fadmin',
    '/public//admin',
    '/public/../admin',
    '/public/%2e%2e/admin',
    '/public/.',
    '/public;x',
    '/public\\..\\admin',
    '/public/%5cadmin',
    '/public/%00',
    '/public/%0a',
    '/public/é',
    '/public/ ',
    '/public/\u0000',
    '/public#x',
    '/public/%zz',
    '/public/%',
    '/public/%c0%af',
    '/public/%252e',
    '/public/%3bx',
    'public',
    '',
    '*',
    'http://host/public',
  ])('an ambiguous path (%s) satisfies no ALLOW and escapes no DENY', (path) => {
    expect(allowed('/**', path)).toBe(false);
    const deny = compile([policy('d', 'DENY', 's', [{ to: [{ paths: ['/admin'] }] }])]).authorize(
      ask('s', from('x'), get(path)),
    );
    expect(deny).toMatchObject({ allowed: false, policy: 'production/d' });
    expect(deny.reason).toContain('ambiguous');
  });

  it('says so in the reason of a default denial', () => {
    const engine = compile([policy('a', 'ALLOW', 's', [{ to: [{ paths: ['/**'] }] }])]);
    expect(engine.authorize(ask('s', from('x'), get('/a//b'))).reason).toContain(
      'ambiguous: it contains an empty segment',
    );
  });

  it('an ambiguous path does not matter where no rule about paths is consulted', () => {
    const engine = compile([policy('a', 'ALLOW', 's', [{ from: [{ namespaces: ['x'] }] }])]);
    expect(engine.authorize(ask('s', from('x'), get('/a//b'))).allowed).toBe(true);
  });

  it('other normalisations are an option', () => {
    const engine = compile([policy('d', 'DENY', 's', [{ to: [{ paths: ['/admin'] }] }])], {
      pathNormalization: 'DECODE_AND_MERGE_SLASHES',
    });
    const at = (path: string): boolean => engine.authorize(ask('s', from('x'), get(path))).allowed;
    expect([at('/x/..%2fadmin'), at('//admin'), at('/%61dmin'), at('\\admin'), at('/other//x')]).toEqual([
      false,
      false,
      false,
      false,
      true,
    ]);
  });

  it.each([
    'api',
    '/a**',
    '/a[bc]',
    '/a{b,c}',
    '/!(a)',
    '/a//b',
    '/a/../b',
    '/a|b',
    '/%61dmin',
    '/a%2Fb',
    '/%7E',
    '/a%3B',
    '/a%25',
    '/a%00',
    '/a%C0%AF',
    '/a\\b',
    '/a%2',
    '/a b',
    '/é',
    '/a?x=1#y',
  ])('the pattern %s is an error', (pattern) => {
    expect(problemsOf([policy('a', 'ALLOW', 's', [{ to: [{ paths: [pattern] }] }])])).toMatchObject([
      { severity: 'error', path: 'spec.meshAuthorization.rules[0].to[0].paths[0]', policy: 'ProxyPolicy production/a' },
    ]);
  });
});

describe('manifests', () => {
  it('takes the flat form too, but not both', () => {
    const flat = {
      ...policy('a', 'ALLOW', 's', []),
      spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 's' }, action: 'DENY', rules: [{}] },
    };
    expect(compile([flat]).authorize(ask('s', {})).allowed).toBe(false);
    const both = { ...flat, spec: { ...flat.spec, meshAuthorization: { action: 'DENY', rules: [{}] } } };
    expect(problemsOf([both])).toMatchObject([{ code: 'two-forms' }]);
  });

  it('takes a wrapped manifest and says where it came from', () => {
    const bad = policy('a', 'PERMIT', 's', [{}]);
    expect(problemsOf([{ source: 'policies/a.yaml:12', manifest: bad }])).toMatchObject([
      {
        source: 'policies/a.yaml:12',
        file: 'policies/a.yaml',
        line: 12,
        path: 'spec.meshAuthorization.action',
        expected: '"ALLOW" or "DENY"',
        got: '"PERMIT"',
      },
    ]);
    expect(
      problemsOf([{ source: 'a.yaml', lineOf: (path: string) => (path.endsWith('.action') ? 7 : 1), manifest: bad }]),
    ).toMatchObject([{ file: 'a.yaml', line: 7 }]);
  });

  it('reports every problem at once', () => {
    const problems = problemsOf([
      policy('a', 'allow', 's', [{ from: [{ namespace: ['x'] }] }]),
      policy('b', 'ALLOW', 's', [{ to: [{ paths: ['x', '/ok', '/[a]'] }] }]),
      { kind: 'ProxyPolicy' },
      42,
      { ...policy('c', 'ALLOW', 's', []), kind: 'Service' },
    ]);
    expect(problems.map(({ code, path }) => `${code} ${path}`)).toEqual([
      'unknown-action spec.meshAuthorization.action',
      'unknown-field spec.meshAuthorization.rules[0].from[0].namespace',
      'path-malformed spec.meshAuthorization.rules[0].to[0].paths[0]',
      'glob-malformed spec.meshAuthorization.rules[0].to[0].paths[2]',
      'manifest-malformed apiVersion',
      'manifest-malformed ',
      'unknown-kind kind',
    ]);
    for (const problem of problems)
      expect([problem.expected, problem.got, problem.fix].every((text) => text !== '')).toBe(true);
  });

  const broken = (
    change: (manifest: { metadata: Record<string, unknown>; spec: Record<string, unknown> }) => void,
  ): unknown => {
    const manifest = structuredClone(policy('a', 'ALLOW', 's', [{}])) as {
      metadata: Record<string, unknown>;
      spec: Record<string, unknown>;
    };
    change(manifest);
    return manifest;
  };

  it.each<[string, Parameters<typeof broken>[0]]>([
    ['spec.targetRef', ({ spec }) => delete spec.targetRef],
    ['spec.targetRef.kind', ({ spec }) => (spec.targetRef = { kind: 'Deployment', name: 's' })],
    ['spec.targetRef.name', ({ spec }) => (spec.targetRef = { kind: 'Service' })],
    ['spec.targetRef.namespace', ({ spec }) => (spec.targetRef = { kind: 'Service', name: 's', namespace: 'other' })],
    ['spec.type', ({ spec }) => (spec.type = 'RateLimit')],
    ['spec.type', ({ spec }) => delete spec.type],
    ['spec.meshAuthorization.action', ({ spec }) => (spec.meshAuthorization = { rules: [{}] })],
    ['spec.meshAuthorization.rules', ({ spec }) => (spec.meshAuthorization = { action: 'ALLOW', rules: {} })],
    ['spec.meshAuthorization.rules[0]', ({ spec }) => (spec.meshAuthorization = { action: 'ALLOW', rules: [null] })],
    [
      'spec.meshAuthorization.rules[0].where',
      ({ spec }) => (spec.meshAuthorization = { action: 'ALLOW', rules: [{ where: [] }] }),
    ],
    ['spec.selector', ({ spec }) => (spec.selector = {})],
    ['metadata.name', ({ metadata }) => delete metadata.name],
    ['metadata.namespace', ({ metadata }) => (metadata.namespace = 'A/b')],
  ])('an error at %s', (path, change) => {
    expect(problemsOf([broken(change)]).map((problem) => problem.path)).toEqual([path]);
  });

  it('targetRef may repeat its own namespace; the namespace defaults to default', () => {
    const manifest = broken(({ metadata, spec }) => {
      delete metadata.namespace;
      spec.targetRef = { kind: 'Service', name: 's', namespace: 'default' };
    });
    expect(
      compile([manifest], { defaultAction: 'deny' }).authorize({
        source: {},
        destination: { namespace: 'default', services: ['default/s'] },
      }),
    ).toMatchObject({
      allowed: true,
      policy: 'default/a',
    });
  });

  it('refuses the same policy twice', () => {
    expect(problemsOf([policy('a', 'ALLOW', 's', [{}]), policy('a', 'ALLOW', 't', [{}])])).toMatchObject([
      { code: 'duplicate-policy' },
    ]);
  });

  it.each([
    [{ namespaces: ['a*'] }, 'namespaces[0]'],
    [{ namespaces: ['*'] }, 'namespaces[0]'],
    [{ namespaces: [7] }, 'namespaces[0]'],
    [{ namespaces: 'a' }, 'namespaces'],
    [{ serviceAccounts: ['a/b/c'] }, 'serviceAccounts[0]'],
    [{ serviceAccounts: ['a/*'] }, 'serviceAccounts[0]'],
    [{ serviceAccounts: ['web-*'] }, 'serviceAccounts[0]'],
    [{ spiffeIds: ['cluster.local/ns/a/sa/b'] }, 'spiffeIds[0]'],
    [{ spiffeIds: ['spiffe://cluster.local'] }, 'spiffeIds[0]'],
    [{ spiffeIds: ['spiffe://cluster.local/'] }, 'spiffeIds[0]'],
    [{ spiffeIds: ['spiffe://cluster.local/ns/a/sa/[ab]'] }, 'spiffeIds[0]'],
    [{ spiffeIds: ['spiffe://cluster.local/ns/a**'] }, 'spiffeIds[0]'],
    [{ spiffeIds: ['spiffe://Cluster.local/ns/a/sa/b'] }, 'spiffeIds[0]'],
  ])('the source %j is an error', (source, path) => {
    expect(problemsOf([policy('a', 'ALLOW', 's', [{ from: [source] }])]).map((problem) => problem.path)).toEqual([
      `spec.meshAuthorization.rules[0].from[0].${path}`,
    ]);
  });

  it('checks its options', () => {
    for (const options of [
      { defaultAction: 'maybe' },
      { pathNormalization: 'SOME' },
      { trustDomain: 'A b' },
      { trustDomainAliases: 'x' },
      { rootNamespace: '' },
      { defaultaction: 'deny' },
    ]) {
      expect(() => AuthzEngine.compile([], options as never)).toThrow(
        expect.objectContaining({ code: 'AUTHZ_OPTION_INVALID' }),
      );
    }
  });
});
