/** Random policies and requests from a small vocabulary, so that they often meet. */
import fc from 'fast-check';
import type { AuthzOptions, AuthzRequest } from '../../../src/authz/index.js';

const trustDomain = fc.constantFrom('cluster.local', 'mesh.example', 'old.example', 'foreign.example');
const namespace = fc.constantFrom('shop', 'prod', 'prod-evil', 'istio-system');
const account = fc.constantFrom('web', 'api', 'default');
const node = fc.constantFrom('node-a', 'edge-1', 'untrusted-1');
const label = fc.constantFrom('web', 'api');

const workloadId = fc.tuple(trustDomain, namespace, account).map(([td, ns, sa]) => `spiffe://${td}/ns/${ns}/sa/${sa}`);
const spiffeId = fc.oneof(
  { weight: 6, arbitrary: workloadId },
  { weight: 1, arbitrary: fc.tuple(trustDomain, node).map(([td, name]) => `spiffe://${td}/agent/${name}`) },
  { weight: 1, arbitrary: workloadId.map((id) => `${id}/extra`) },
  { weight: 1, arbitrary: fc.constantFrom('spiffe://mesh.example/controller', 'spiffe://mesh.example/ns/shop') },
);
const method = fc.constantFrom('GET', 'POST', 'DELETE');
const segment = fc.constantFrom('api', 'admin', 'v1', 'x', '%41', 'caf%C3%A9');
const path = fc.oneof(
  { weight: 6, arbitrary: fc.array(segment, { maxLength: 4 }).map((list) => `/${list.join('/')}`) },
  {
    weight: 2,
    arbitrary: fc
      .array(
        fc.constantFrom(
          '/api',
          '/admin',
          '/',
          '//',
          '/..',
          '/.',
          '%2f',
          '%2E%2e',
          '\\',
          ';x',
          '%00',
          '%zz',
          '?q=/admin',
          '#f',
          '%25',
          'é',
          '%c0%af',
          '/x.',
        ),
        { maxLength: 5 },
      )
      .map((list) => list.join('')),
  },
);
const ip = fc.constantFrom(
  '10.0.0.1',
  '10.0.1.7',
  '192.168.0.9',
  'fd00::1',
  'fd00:1::2',
  '::ffff:10.0.0.1',
  'not-an-ip',
);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 4 });
const claim = fc.oneof(
  fc.constantFrom('a', 'b', 'a b', ''),
  fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }),
  fc.array(fc.oneof(fc.constantFrom('a', ''), fc.integer(), fc.constant(null)), { maxLength: 3 }),
  fc.integer(),
  fc.boolean(),
  fc.constant({ a: 'b' }),
);

const claims = fc.record(
  {
    iss: fc.constantFrom('https://issuer.example', 'https://issuer.example/realm', 'other', ''),
    sub: fc.constantFrom('alice', 'bob'),
    aud: claim,
    azp: claim,
    scope: claim,
    permission: claim,
    groups: claim,
    roles: claim,
    nested: fc.oneof(fc.record({ role: claim }), claim),
  },
  { requiredKeys: [] },
);

export const request: fc.Arbitrary<AuthzRequest> = fc.record({
  source: fc.record({
    principal: maybe(spiffeId),
    node: maybe(fc.tuple(trustDomain, node).map(([td, name]) => `spiffe://${td}/agent/${name}`)),
    ip: maybe(ip),
    remoteIp: fc.option(ip, { nil: undefined }),
  }),
  destination: fc.record({
    // Mostly a place where policies apply, so that few pairs are decided by there being none.
    namespace: fc.constantFrom('prod', 'prod', 'prod', 'shop'),
    services: fc.oneof(
      {
        weight: 8,
        arbitrary: fc.constantFrom(['prod/api'], ['api'], ['api', 'shop/web'], ['shop/web', 'prod/api', 'api']),
      },
      {
        weight: 1,
        arbitrary: fc.constantFrom(undefined, [], ['shop/web'], ['prod/other', 'web'], ['serviceentry:prod/ext']),
      },
    ),
    labels: maybe(
      fc.record(
        {
          app: label,
          tier: label,
          'gateway.networking.k8s.io/gateway-name': fc.constantFrom('edge', 'inner'),
        },
        { requiredKeys: [] },
      ),
    ),
    ip: maybe(ip),
    port: maybe(fc.constantFrom(80, 443, 8080)),
    sni: maybe(fc.constantFrom('a.example', 'b.example')),
  }),
  http: maybe(
    fc.record({
      method: fc.oneof({ weight: 8, arbitrary: method }, { weight: 1, arbitrary: fc.constantFrom('get', 'G T', '') }),
      path,
      host: maybe(fc.constantFrom('shop.example', 'SHOP.example:8080', 'other.example')),
      headers: maybe(
        fc.dictionary(
          fc.constantFrom('x-env', 'X-Env', 'x-b', 'host', 'Host'),
          fc.oneof(fc.constantFrom('prod', 'dev', '', 'shop.example'), fc.constantFrom(['prod', 'dev'], [])),
          { maxKeys: 4 },
        ),
      ),
    }),
  ),
  jwt: maybe(
    fc.record(
      { claims, spaceDelimitedClaims: fc.constantFrom(undefined, ['roles', 'role']) },
      { requiredKeys: ['claims'] },
    ),
  ),
  custom: maybe(
    fc.dictionary(fc.constantFrom('one', 'two'), fc.constantFrom('allow' as const, 'deny' as const), { maxKeys: 2 }),
  ),
});

const list = <T>(value: fc.Arbitrary<T>, max = 3): fc.Arbitrary<T[]> =>
  fc.array(value, { minLength: 1, maxLength: max });
/** Some of the fields, at least one. */
const someOf = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> =>
  fc
    .subarray(Object.keys(fields), { minLength: 1, maxLength: Math.min(3, Object.keys(fields).length) })
    .chain((names) =>
      fc.record(Object.fromEntries(names.map((name) => [name, fields[name] ?? fc.constant(undefined)]))),
    );
const withNots = (fields: Record<string, fc.Arbitrary<unknown>>): Record<string, fc.Arbitrary<unknown>> =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => [
      [name, value],
      [`not${name.slice(0, 1).toUpperCase()}${name.slice(1)}`, value],
    ]),
  );

const principalPattern = fc.constantFrom(
  'cluster.local/ns/shop/sa/web',
  'mesh.example/ns/prod/sa/api',
  'old.example/ns/prod/*',
  'mesh.example/ns/prod*',
  '*/sa/web',
  '*',
  'foreign.example/*',
  'mesh.example/agent/node-a',
  'mesh.example/ns/shop/sa/web/extra',
);
const cidr = fc.constantFrom('10.0.0.0/24', '10.0.0.0/8', '192.168.0.9', 'fd00::/16', 'fd00::1', '0.0.0.0/0', '::/0');
const port = fc.constantFrom('80', '443', '8080');
const hostPattern = fc.constantFrom('shop.example', '*.example', 'shop.example:*', 'SHOP.EXAMPLE', '*');
const text = fc.constantFrom('prod', 'dev', '*', 'p*', '*v', 'prod,dev');
const claimText = fc.constantFrom('a', 'b', 'a b', '*', 'a*', '*b');

const conditionKeys: readonly (readonly [string, fc.Arbitrary<string>])[] = [
  ['request.headers[X-Env]', text],
  ['source.ip', cidr],
  ['remote.ip', cidr],
  ['destination.ip', cidr],
  ['destination.port', port],
  ['source.namespace', fc.constantFrom('shop', 'prod', 'prod*', '*-evil', 'p*d', '*')],
  ['source.principal', principalPattern],
  ['source.serviceAccount', fc.constantFrom('web', 'prod/api')],
  ['source.trustDomain', fc.constantFrom('mesh.example', '*.example', 'foreign*')],
  [
    'request.auth.principal',
    fc.constantFrom(
      'https://issuer.example/alice',
      'https://issuer.example/*',
      'https://issuer.example/realm/alice',
      'https://issuer.*/bo*',
      '*/realm/*ice',
      '*/bob',
      '*',
      'other/alice',
    ),
  ],
  ['request.auth.audiences', claimText],
  ['request.auth.presenter', claimText],
  ['request.auth.claims[scope]', claimText],
  ['request.auth.claims[permission]', claimText],
  ['request.auth.claims[roles]', claimText],
  ['request.auth.claims[iss]', fc.constantFrom('https://issuer.example', '*', 'other')],
  ['request.auth.claims[groups]', claimText],
  ['request.auth.claims[nested][role]', claimText],
  ['connection.sni', fc.constantFrom('a.example', '*.example', 'b*')],
  ['experimental.envoy.filters.network.mysql_proxy[db.table]', text],
];
const customKeys = conditionKeys.filter(([key]) => !/^(source\.(principal|namespace)|request\.auth)/.test(key));

const condition = (keys: typeof conditionKeys): fc.Arbitrary<unknown> =>
  fc
    .constantFrom(...keys)
    .chain(([key, value]) =>
      fc
        .record({ key: fc.constant(key), values: list(value), notValues: list(value) }, { requiredKeys: ['key'] })
        .filter((each) => each.values !== undefined || each.notValues !== undefined),
    );

const sourceFields = (custom: boolean): Record<string, fc.Arbitrary<unknown>> =>
  withNots({
    ...(custom
      ? {}
      : {
          principals: list(principalPattern),
          namespaces: list(fc.constantFrom('shop', 'prod', 'prod*', '*-evil', 'p*d', '*')),
          requestPrincipals: list(
            fc.constantFrom(
              'https://issuer.example/alice',
              'https://issuer.example/realm/*',
              '*/bob',
              'oth*/alice',
              '*',
            ),
          ),
        }),
    trustDomains: list(fc.constantFrom('mesh.example', 'foreign*', '*.example', '*')),
    ipBlocks: list(cidr),
    remoteIpBlocks: list(cidr),
  });

const source = (custom: boolean): fc.Arbitrary<unknown> =>
  (custom
    ? someOf(sourceFields(true))
    : fc.oneof(
        { weight: 5, arbitrary: someOf(sourceFields(false)) },
        {
          weight: 2,
          arbitrary: someOf(withNots({ serviceAccounts: list(fc.constantFrom('web', 'prod/api', 'shop/web')) })),
        },
      )
  ).map((fields) => ({ source: fields }));

const operation = someOf(
  withNots({
    hosts: list(hostPattern),
    ports: list(port),
    methods: list(fc.constantFrom('GET', 'POST', 'P*', '*T', '*')),
    paths: list(
      fc.constantFrom(
        '/api',
        '/api/*',
        '/api*',
        '*/v1',
        '*',
        '/api/{*}',
        '/{**}',
        '/api/{**}/v1',
        '/{*}/v1',
        '/{*}/{**}',
        '/api/*/v1',
        '/caf%C3%A9',
        '/',
        '/admin',
      ),
    ),
  }),
).map((fields) => ({ operation: fields }));

const sparse = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength: 2 });
const tidy = (rule: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined));

const istioRule = (custom: boolean): fc.Arbitrary<unknown> =>
  fc
    .record({
      from: maybe(sparse(source(custom))),
      to: maybe(sparse(operation)),
      when: maybe(sparse(condition(custom ? customKeys : conditionKeys))),
    })
    .map(tidy);

const targetRef = (own: string): fc.Arbitrary<object> =>
  fc.constantFrom(
    { group: '', kind: 'Service', name: 'api' },
    { kind: 'Service', name: 'web' },
    { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' },
    { group: 'networking.istio.io', kind: 'ServiceEntry', name: 'ext' },
    ...(own === 'istio-system'
      ? [{ group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'istio-waypoint' }]
      : []),
  );

const istioPolicy = fc
  .record({
    action: fc.constantFrom('ALLOW', 'ALLOW', 'DENY', 'DENY', 'CUSTOM', 'AUDIT', undefined),
    in: fc.constantFrom('prod', 'prod', 'shop', 'istio-system'),
    dryRun: fc.integer({ min: 0, max: 9 }),
  })
  .chain(({ action, in: own, dryRun }) =>
    fc
      .record({
        rules: fc.array(istioRule(action === 'CUSTOM'), {
          minLength: action === undefined || action === 'ALLOW' ? 0 : 1,
          maxLength: 3,
        }),
        target: fc.oneof(
          fc.constant({}),
          fc
            .dictionary(fc.constantFrom('app', 'tier'), label, { maxKeys: 2 })
            .map((matchLabels) => ({ selector: { matchLabels } })),
          fc.array(targetRef(own), { minLength: 1, maxLength: 2 }).map((targetRefs) => ({ targetRefs })),
          fc.constantFrom('api', 'web').map((name) => ({ targetRef: { kind: 'Service', name } })),
        ),
        provider: fc.constantFrom('one', 'two'),
      })
      .map(({ rules, target, provider }) => ({
        apiVersion: 'security.istio.io/v1',
        kind: 'AuthorizationPolicy',
        metadata: {
          name: '',
          namespace: own,
          ...(dryRun === 0 && (action === 'ALLOW' || action === 'DENY')
            ? { annotations: { 'istio.io/dry-run': 'true' } }
            : {}),
        },
        spec: {
          ...target,
          ...(action === undefined ? {} : { action }),
          ...(action === 'CUSTOM' ? { provider: { name: provider } } : {}),
          rules,
        },
      })),
  );

const nativeSource = someOf(
  withNots({
    namespaces: list(fc.constantFrom('shop', 'prod')),
    serviceAccounts: list(fc.constantFrom('web', 'prod/api', '*/default')),
    spiffeIds: list(
      fc.constantFrom(
        'spiffe://mesh.example/ns/*/sa/web',
        'spiffe://*/agent/untrusted-*',
        'spiffe://mesh.example/**',
        'spiffe://*/**/web',
        'spiffe://mesh.example/agent/node-a',
        'spiffe://*/ns/prod*/**',
      ),
    ),
    ipBlocks: list(cidr),
  }),
);
const nativeOperation = someOf({
  ...withNots({
    methods: list(method),
    paths: list(fc.constantFrom('/api', '/api/*', '/api/**', '/**/v1', '/**', '/a*', '/?', '/*/v1/**', '/caf%C3%A9')),
    hosts: list(hostPattern),
    ports: list(fc.oneof(port, fc.constantFrom(80, 443))),
  }),
  headers: list(
    fc
      .record(
        { name: fc.constantFrom('x-env', 'X-B'), values: list(text), notValues: list(text) },
        { requiredKeys: ['name'] },
      )
      .filter((each) => each.values !== undefined || each.notValues !== undefined),
    2,
  ),
});

const nativePolicy = fc.constantFrom('ALLOW', 'DENY').chain((action) =>
  fc
    .record({
      rules: fc.array(
        fc
          .record({
            from: maybe(sparse(nativeSource)),
            to: maybe(sparse(nativeOperation)),
            when: maybe(sparse(condition(conditionKeys))),
          })
          .map(tidy),
        { minLength: action === 'DENY' ? 1 : 0, maxLength: 3 },
      ),
      target: fc.constantFrom<[string, string]>(['prod', 'api'], ['prod', 'api'], ['shop', 'web']),
      nested: fc.boolean(),
    })
    .map(({ rules, target: [own, name], nested }) => ({
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyPolicy',
      metadata: { name: '', namespace: own },
      spec: {
        type: 'MeshAuthorization',
        targetRef: { kind: 'Service', name },
        ...(nested ? { meshAuthorization: { action, rules } } : { action, rules }),
      },
    })),
);

/** Instants before, at and after which requests are judged. */
export const instants = ['2026-06-01T00:00:00Z', '2026-07-01T12:00:00+02:00', '2027-01-01T00:00:00.500Z'] as const;

/** Native policies with what only the meshwright dialect has; those of the root namespace may have any tier and target. */
const dialectPolicy = fc
  .record({
    policy: nativePolicy,
    tier: maybe(fc.constantFrom(100, 100, 200, 999)),
    rootTier: maybe(fc.constantFrom(0, 50, 100, 300)),
    mode: fc.option(fc.constantFrom('ENFORCE', 'AUDIT'), { nil: undefined, freq: 2 }),
    notAfter: fc.option(fc.constantFrom(...instants), { nil: undefined, freq: 2 }),
    wide: fc.constantFrom('no', 'no', 'Namespace', 'root Namespace', 'Mesh'),
  })
  .map(({ policy, tier, rootTier, mode, notAfter, wide }) => {
    const { metadata, spec } = policy;
    const root = wide.startsWith('root') || wide === 'Mesh';
    const body = 'meshAuthorization' in spec ? (spec.meshAuthorization ?? spec) : spec;
    const extra = tidy({
      tier: root ? rootTier : tier,
      mode,
      ...(notAfter !== undefined && 'action' in body && body.action === 'ALLOW'
        ? { notAfter, owner: 'team-a', reason: 'migration' }
        : {}),
    });
    const targetRef =
      wide === 'no'
        ? spec.targetRef
        : wide === 'Mesh'
          ? { kind: 'Mesh' }
          : { kind: 'Namespace', name: metadata.namespace };
    return {
      ...policy,
      metadata: { ...metadata, namespace: root ? 'istio-system' : metadata.namespace },
      spec:
        'meshAuthorization' in spec
          ? { ...spec, targetRef, meshAuthorization: { ...spec.meshAuthorization, ...extra } }
          : { ...spec, targetRef, ...extra },
    };
  });

const peerMode = fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE', 'UNSET').map((mode) => ({ mode }));
const peerPolicy = fc
  .record({
    own: fc.constantFrom('prod', 'istio-system'),
    mtls: maybe(peerMode),
    matchLabels: maybe(fc.dictionary(fc.constantFrom('app', 'tier'), label, { minKeys: 1, maxKeys: 1 })),
    ports: maybe(fc.dictionary(fc.constantFrom('80', '443'), peerMode, { minKeys: 1, maxKeys: 2 })),
  })
  .map(({ own, mtls, matchLabels, ports }) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: '', namespace: own },
    spec: tidy({
      mtls,
      ...(matchLabels === undefined ? {} : { selector: { matchLabels }, portLevelMtls: ports }),
    }),
  }));

const numbered = (list: { metadata: object }[]): Record<string, unknown>[] =>
  list.map((policy, index) => ({ ...policy, metadata: { ...policy.metadata, name: `p${String(index)}` } }));

export const policies: fc.Arbitrary<Record<string, unknown>[]> = fc
  .array(
    fc.oneof({ weight: 9, arbitrary: fc.oneof(istioPolicy, nativePolicy) }, { weight: 1, arbitrary: peerPolicy }),
    {
      minLength: 1,
      maxLength: 6,
    },
  )
  .map(numbered);

/** Options that change decisions. */
export const options = fc.record({
  defaultAction: fc.constantFrom('allow' as const, 'deny' as const),
  trustDomain: fc.constantFrom('mesh.example', 'mesh.example', 'cluster.local'),
  trustDomainAliases: fc.constantFrom(['old.example'], ['old.example', 'foreign.example'], []),
  rootNamespace: fc.constant('istio-system'),
  pathNormalization: fc.constantFrom<AuthzOptions['pathNormalization']>(
    undefined,
    undefined,
    'REFUSE_AMBIGUOUS',
    'NONE',
    'BASE',
    'MERGE_SLASHES',
    'DECODE_AND_MERGE_SLASHES',
  ),
});

/** Enough for the index to branch. */
export const manyPolicies: fc.Arbitrary<Record<string, unknown>[]> = fc
  .noShrink(fc.array(fc.oneof(istioPolicy, nativePolicy, nativePolicy), { minLength: 30, maxLength: 60 }))
  .map(numbered);

/** With the meshwright dialect among them. */
export const dialectPolicies: fc.Arbitrary<Record<string, unknown>[]> = fc
  .array(fc.oneof({ weight: 1, arbitrary: istioPolicy }, { weight: 4, arbitrary: dialectPolicy }), {
    minLength: 1,
    maxLength: 6,
  })
  .map(numbered);
