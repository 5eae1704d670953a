/** Istio's AuthorizationPolicy, sentence by sentence. */
import { describe, expect, it } from 'vitest';
import { AuthzCompileError, AuthzEngine } from '../../src/authz/index.js';
import type { AuthzOptions, AuthzRequest, PolicyProblem } from '../../src/authz/index.js';

interface Extra {
  readonly namespace?: string;
  readonly annotations?: Record<string, string>;
  readonly apiVersion?: string;
}

let count = 0;
function policy(
  spec: Record<string, unknown>,
  { namespace = 'shop', annotations, apiVersion = 'security.istio.io/v1' }: Extra = {},
): unknown {
  count += 1;
  return {
    apiVersion,
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${String(count)}`, namespace, ...(annotations === undefined ? {} : { annotations }) },
    spec,
  };
}

const compile = (manifests: readonly unknown[], options?: AuthzOptions): AuthzEngine =>
  AuthzEngine.compile(manifests, { trustDomain: 'cluster.local', ...options });
const web = 'spiffe://cluster.local/ns/shop/sa/web';

type Change = Partial<Omit<AuthzRequest, 'source' | 'destination'>> & {
  source?: AuthzRequest['source'];
  destination?: Partial<AuthzRequest['destination']>;
};
function ask(change: Change = {}): AuthzRequest {
  return {
    source: { principal: web, ip: '10.0.0.1' },
    http: { method: 'GET', path: '/', host: 'shop.example' },
    ...change,
    destination: {
      namespace: 'shop',
      labels: { app: 'api' },
      services: ['shop/api'],
      ip: '10.1.0.1',
      port: 8080,
      ...change.destination,
    },
  };
}
const opaque = (change: Change = {}): AuthzRequest => ({ ...ask(change), http: undefined });
const allowed = (manifests: readonly unknown[], request: AuthzRequest, options?: AuthzOptions): boolean =>
  compile(manifests, options).authorize(request).allowed;

function problemsOf(spec: Record<string, unknown>, extra?: Extra): readonly PolicyProblem[] {
  try {
    return compile([policy(spec, extra)]).problems;
  } catch (error) {
    if (error instanceof AuthzCompileError) return error.problems;
    throw error;
  }
}

const allow = (...rules: unknown[]): unknown => policy({ action: 'ALLOW', rules });
const deny = (...rules: unknown[]): unknown => policy({ action: 'DENY', rules });
const source = (fields: object): object => ({ from: [{ source: fields }] });
const operation = (fields: object): object => ({ to: [{ operation: fields }] });
const when = (key: string, values?: string[], notValues?: string[]): object => ({
  when: [{ key, ...(values === undefined ? {} : { values }), ...(notValues === undefined ? {} : { notValues }) }],
});

describe('evaluation', () => {
  const nobody = source({ principals: ['cluster.local/ns/none/sa/none'] });

  it('policies of the root namespace, of the namespace, and by selector form one set', () => {
    const root = policy({ action: 'DENY', rules: [operation({ ports: ['1'] })] }, { namespace: 'istio-system' });
    const own = policy({ action: 'DENY', rules: [operation({ ports: ['2'] })] });
    const selected = policy({
      selector: { matchLabels: { app: 'api' } },
      action: 'DENY',
      rules: [operation({ ports: ['3'] })],
    });
    const other = policy({ selector: { matchLabels: { app: 'web' } }, action: 'DENY', rules: [{}] });
    const elsewhere = policy({ action: 'DENY', rules: [{}] }, { namespace: 'else' });
    const at = (port: number): boolean =>
      allowed([root, own, selected, other, elsewhere], ask({ destination: { port } }));
    expect([at(1), at(2), at(3), at(4)]).toEqual([false, false, false, true]);
  });

  it('a selector in the root namespace selects in every namespace', () => {
    const root = policy(
      { selector: { matchLabels: { app: 'api' } }, action: 'DENY', rules: [{}] },
      { namespace: 'istio-system' },
    );
    expect(allowed([root], ask())).toBe(false);
    expect(allowed([root], ask({ destination: { labels: { app: 'other' } } }))).toBe(true);
  });

  it('the root namespace is an option', () => {
    const root = policy({ action: 'DENY', rules: [{}] }, { namespace: 'mesh-config' });
    expect(allowed([root], ask())).toBe(true);
    expect(allowed([root], ask(), { rootNamespace: 'mesh-config' })).toBe(false);
  });

  it('a namespace policy cannot relax a root one', () => {
    const root = policy({ action: 'DENY', rules: [{}] }, { namespace: 'istio-system' });
    expect(allowed([root, allow({})], ask())).toBe(false);
  });

  it('CUSTOM, then DENY, then ALLOW', () => {
    const custom = policy({ action: 'CUSTOM', provider: { name: 'ext' }, rules: [operation({ paths: ['/admin*'] })] });
    const set = [custom, deny(operation({ methods: ['DELETE'] })), allow(operation({ methods: ['GET', 'DELETE'] }))];
    const at = (method: string, path: string, answers?: AuthzRequest['custom']): boolean =>
      allowed(set, ask({ http: { method, path }, custom: answers }));
    expect(at('GET', '/')).toBe(true);
    expect(at('GET', '/admin', { ext: 'allow' })).toBe(true);
    expect(at('GET', '/admin', { ext: 'deny' })).toBe(false);
    expect(at('POST', '/admin', { ext: 'allow' })).toBe(false);
    expect(at('DELETE', '/admin', { ext: 'allow' })).toBe(false);
  });

  it('a provider that is needed and has not answered denies; an answer that is not needed changes nothing', () => {
    const custom = policy({ action: 'CUSTOM', provider: { name: 'ext' }, rules: [operation({ paths: ['/admin'] })] });
    expect(compile([custom]).authorize(ask({ http: { method: 'GET', path: '/admin' } }))).toMatchObject({
      allowed: false,
      reason: expect.stringContaining('has not answered') as string,
    });
    expect(allowed([custom], ask({ http: { method: 'GET', path: '/admin' }, custom: { other: 'allow' } }))).toBe(false);
    expect(allowed([custom], ask({ custom: { ext: 'deny' } }))).toBe(true);
  });

  it('of several CUSTOM policies every provider must allow', () => {
    const set = ['one', 'two'].map((name) => policy({ action: 'CUSTOM', provider: { name }, rules: [{}] }));
    expect(allowed(set, ask({ custom: { one: 'allow', two: 'allow' } }))).toBe(true);
    expect(allowed(set, ask({ custom: { one: 'allow', two: 'deny' } }))).toBe(false);
    expect(allowed(set, ask({ custom: { one: 'allow' } }))).toBe(false);
  });

  it('a connection that a provider has to judge waits for its requests', () => {
    const custom = policy({ action: 'CUSTOM', provider: { name: 'ext' }, rules: [{}] });
    expect(compile([custom]).authorizeConnection(ask())).toMatchObject({
      verdict: 'needs-http',
      decision: { allowed: false },
    });
  });

  it('no ALLOW policy: allowed; ALLOW policies and none matches: denied', () => {
    expect(allowed([], ask())).toBe(true);
    expect(allowed([deny(nobody)], ask())).toBe(true);
    expect(allowed([allow(nobody)], ask())).toBe(false);
  });

  it('AUDIT never changes the result, and the decision names it', () => {
    const audit = policy({ action: 'AUDIT', rules: [{}] });
    expect(compile([audit]).authorize(ask())).toMatchObject({
      allowed: true,
      audited: [expect.stringMatching(/^shop\/p/) as string],
    });
    expect(allowed([audit, deny({})], ask())).toBe(false);
  });

  it('a policy matches if any rule does; a rule needs any source, any operation and every condition', () => {
    const rule = {
      from: [{ source: { namespaces: ['a'] } }, { source: { namespaces: ['shop'] } }],
      to: [{ operation: { methods: ['POST'] } }, { operation: { methods: ['GET'] } }],
      when: [
        { key: 'destination.port', values: ['8080'] },
        { key: 'source.ip', values: ['10.0.0.0/8'] },
      ],
    };
    expect(allowed([allow(nobody, rule)], ask())).toBe(true);
    expect(allowed([allow(rule)], ask({ destination: { port: 1 } }))).toBe(false);
    expect(allowed([allow(rule)], ask({ http: { method: 'PUT', path: '/' } }))).toBe(false);
  });

  it('every present field of a source must match, and notX needs that no value does', () => {
    const rule = source({
      namespaces: ['shop'],
      notPrincipals: ['cluster.local/ns/shop/sa/bad', 'cluster.local/ns/shop/sa/worse'],
    });
    expect(allowed([allow(rule)], ask())).toBe(true);
    expect(allowed([allow(rule)], ask({ source: { principal: 'spiffe://cluster.local/ns/shop/sa/worse' } }))).toBe(
      false,
    );
    expect(allowed([allow(rule)], ask({ source: { principal: 'spiffe://cluster.local/ns/other/sa/web' } }))).toBe(
      false,
    );
  });

  it('the default action is ALLOW, both API versions are read', () => {
    expect(allowed([policy({ rules: [nobody] })], ask())).toBe(false);
    expect(
      allowed([policy({ rules: [{}] }, { apiVersion: 'security.istio.io/v1beta1' })], ask(), { defaultAction: 'deny' }),
    ).toBe(true);
    expect(problemsOf({}, { apiVersion: 'security.istio.io/v1alpha1' })).toMatchObject([{ code: 'unknown-version' }]);
  });
});

describe('empty forms', () => {
  it('spec {} or no rules: deny all', () => {
    expect(allowed([policy({})], ask())).toBe(false);
    expect(allowed([policy({ rules: [] })], ask())).toBe(false);
    expect(allowed([policy({ action: 'ALLOW' })], ask())).toBe(false);
  });

  it.each(['DENY', 'AUDIT', 'CUSTOM'])('%s without rules is refused', (action) => {
    expect(problemsOf({ action, ...(action === 'CUSTOM' ? { provider: { name: 'x' } } : {}) })).toMatchObject([
      { code: 'deny-without-effect' },
    ]);
  });

  it('rules: [{}] matches everything', () => {
    expect(allowed([allow({})], opaque({ source: {} }))).toBe(true);
    expect(allowed([deny({})], opaque({ source: {} }))).toBe(false);
  });

  it('from: [] and to: [] are absent', () => {
    expect(allowed([allow({ from: [], to: [], when: [] })], ask(), { defaultAction: 'deny' })).toBe(true);
  });

  it.each([
    [{ from: [{ source: {} }] }, 'from[0].source'],
    [{ from: [{}] }, 'from[0].source'],
    [{ to: [{ operation: {} }] }, 'to[0].operation'],
    [{ when: [{ key: '', values: ['x'] }] }, 'when[0].key'],
    [{ when: [{ key: 'source.ip' }] }, 'when[0]'],
    [{ from: [{ source: { principals: [] } }] }, 'from[0].source.principals'],
    [{ from: [{ source: { principals: [''] } }] }, 'from[0].source.principals[0]'],
  ])('%j is refused at %s', (rule, path) => {
    expect(problemsOf({ rules: [rule] })).toMatchObject([{ severity: 'error', path: `spec.rules[0].${path}` }]);
  });

  it('selector and targetRefs exclude each other; an empty selector selects all', () => {
    expect(
      problemsOf({ selector: { matchLabels: { a: 'b' } }, targetRefs: [{ kind: 'Service', name: 'x' }], rules: [{}] }),
    ).toMatchObject([{ code: 'two-targets' }]);
    expect(allowed([policy({ selector: {}, action: 'DENY', rules: [{}] })], ask({ destination: { labels: {} } }))).toBe(
      false,
    );
  });

  it('targetRefs bind to a Service, a gateway or all waypoints, in their own namespace', () => {
    const at = (ref: object, namespace = 'shop'): unknown =>
      policy({ targetRefs: [ref], action: 'DENY', rules: [{}] }, { namespace });
    expect(allowed([at({ group: '', kind: 'Service', name: 'api' })], ask())).toBe(false);
    expect(allowed([at({ group: '', kind: 'Service', name: 'other' })], ask())).toBe(true);
    const gateway = at({ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' });
    expect(allowed([gateway], ask())).toBe(true);
    expect(
      allowed([gateway], ask({ destination: { labels: { 'gateway.networking.k8s.io/gateway-name': 'edge' } } })),
    ).toBe(false);
    const waypoints = { group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'istio-waypoint' };
    expect(allowed([at(waypoints, 'istio-system')], ask())).toBe(false);
    expect(problemsOf({ targetRefs: [waypoints], rules: [{}] })).toMatchObject([{ code: 'target-foreign' }]);
    expect(problemsOf({ targetRefs: [{ kind: 'Service', name: 'x', namespace: 'other' }], rules: [{}] })).toMatchObject(
      [{ code: 'target-foreign' }],
    );
    expect(problemsOf({ targetRefs: [{ kind: 'Pod', name: 'x' }], rules: [{}] })).toMatchObject([
      { code: 'target-malformed' },
    ]);
  });

  it('without the labels of the pod a policy with a selector counts as applying, and none of its ALLOW rules matches', () => {
    const selected = (action: string): unknown =>
      policy({ selector: { matchLabels: { app: 'x' } }, action, rules: [{}] });
    expect(allowed([selected('DENY')], ask({ destination: { labels: undefined } }))).toBe(false);
    expect(compile([selected('ALLOW')]).authorize(ask({ destination: { labels: undefined } }))).toMatchObject({
      allowed: false,
      reason: expect.stringContaining('labels are not given') as string,
    });
  });
});

/** Each field: a matching and a failing request for exact, prefix, suffix and presence, negated, absent, and at L4. */
describe('fields', () => {
  const jwt = (claims: Record<string, unknown>): Change => ({ jwt: { claims } });
  const http = (fields: object): Change => ({ http: { method: 'GET', path: '/', ...fields } });
  const from = (principal: string | undefined, more: object = {}): Change => ({ source: { principal, ...more } });
  const sa = (namespace: string, account: string): string => `spiffe://cluster.local/ns/${namespace}/sa/${account}`;

  it.each<[string, object, Change, boolean]>([
    ['principals exact', source({ principals: ['cluster.local/ns/shop/sa/web'] }), {}, true],
    ['principals exact, other', source({ principals: ['cluster.local/ns/shop/sa/we'] }), {}, false],
    ['principals prefix', source({ principals: ['cluster.local/ns/shop/*'] }), {}, true],
    ['principals prefix, other', source({ principals: ['cluster.local/ns/sho/*'] }), {}, false],
    ['principals suffix', source({ principals: ['*/sa/web'] }), {}, true],
    ['principals suffix, other', source({ principals: ['*/sa/api'] }), {}, false],
    ['principals presence', source({ principals: ['*'] }), {}, true],
    ['principals presence, absent', source({ principals: ['*'] }), from(undefined), false],
    ['principals exact, absent', source({ principals: ['cluster.local/ns/shop/sa/web'] }), from(undefined), false],
    ['notPrincipals', source({ notPrincipals: ['cluster.local/ns/shop/sa/web'] }), {}, false],
    ['notPrincipals, other', source({ notPrincipals: ['cluster.local/ns/shop/sa/api'] }), {}, true],
    ['notPrincipals, absent', source({ notPrincipals: ['*'] }), from(undefined), true],
    ['namespaces exact', source({ namespaces: ['shop'] }), {}, true],
    ['namespaces exact, other', source({ namespaces: ['sho'] }), {}, false],
    ['namespaces with stars', source({ namespaces: ['s*o*'] }), {}, true],
    ['namespaces with stars, other', source({ namespaces: ['s*x*'] }), {}, false],
    ['namespaces, absent', source({ namespaces: ['*'] }), from(undefined, { ip: '10.0.0.1' }), false],
    ['notNamespaces, absent', source({ notNamespaces: ['shop'] }), from(undefined), true],
    ['serviceAccounts bare', source({ serviceAccounts: ['web'] }), {}, true],
    ['serviceAccounts bare, other namespace', source({ serviceAccounts: ['web'] }), from(sa('other', 'web')), false],
    ['serviceAccounts qualified', source({ serviceAccounts: ['other/web'] }), from(sa('other', 'web')), true],
    ['serviceAccounts, a longer path', source({ serviceAccounts: ['web'] }), from(`${web}/extra`), false],
    ['notServiceAccounts', source({ notServiceAccounts: ['web'] }), {}, false],
    ['trustDomains exact', source({ trustDomains: ['cluster.local'] }), {}, true],
    ['trustDomains prefix', source({ trustDomains: ['cluster*'] }), {}, true],
    ['trustDomains suffix', source({ trustDomains: ['*.local'] }), {}, true],
    ['trustDomains, other', source({ trustDomains: ['other'] }), {}, false],
    [
      'trustDomains with other terms are not lost',
      source({ trustDomains: ['other'], namespaces: ['shop'] }),
      {},
      false,
    ],
    ['notTrustDomains', source({ notTrustDomains: ['cluster.local'] }), {}, false],
    [
      'requestPrincipals exact',
      source({ requestPrincipals: ['https://issuer/alice'] }),
      jwt({ iss: 'https://issuer', sub: 'alice' }),
      true,
    ],
    [
      'requestPrincipals, cut at the last slash',
      source({ requestPrincipals: ['https://issuer/*'] }),
      jwt({ iss: 'https://issuer', sub: 'bob' }),
      true,
    ],
    [
      'requestPrincipals, wildcard of each part',
      source({ requestPrincipals: ['*/alice'] }),
      jwt({ iss: 'https://any', sub: 'alice' }),
      true,
    ],
    [
      'requestPrincipals, other',
      source({ requestPrincipals: ['https://issuer/alice'] }),
      jwt({ iss: 'https://issuer', sub: 'bob' }),
      false,
    ],
    ['requestPrincipals presence', source({ requestPrincipals: ['*'] }), jwt({ iss: 'i', sub: 's' }), true],
    ['requestPrincipals, one claim missing', source({ requestPrincipals: ['*'] }), jwt({ iss: 'i' }), false],
    ['requestPrincipals, no token', source({ requestPrincipals: ['*'] }), {}, false],
    ['notRequestPrincipals, no token', source({ notRequestPrincipals: ['*'] }), {}, true],
    ['ipBlocks', source({ ipBlocks: ['10.0.0.0/24'] }), {}, true],
    ['ipBlocks, one address', source({ ipBlocks: ['10.0.0.1'] }), {}, true],
    ['ipBlocks, other', source({ ipBlocks: ['10.0.1.0/24'] }), {}, false],
    ['ipBlocks IPv6', source({ ipBlocks: ['fd00::/8'] }), from(web, { ip: 'fd12::1' }), true],
    ['ipBlocks, absent', source({ ipBlocks: ['0.0.0.0/0'] }), from(web), false],
    ['ipBlocks, unparsable', source({ ipBlocks: ['0.0.0.0/0'] }), from(web, { ip: 'x' }), false],
    ['notIpBlocks', source({ notIpBlocks: ['10.0.0.0/8'] }), {}, false],
    ['notIpBlocks, unparsable', source({ notIpBlocks: ['10.0.0.0/8'] }), from(web, { ip: 'x' }), false],
    [
      'remoteIpBlocks',
      source({ remoteIpBlocks: ['192.0.2.0/24'] }),
      from(web, { ip: '10.0.0.1', remoteIp: '192.0.2.7' }),
      true,
    ],
    [
      'remoteIpBlocks, only the peer matches',
      source({ remoteIpBlocks: ['10.0.0.0/8'] }),
      from(web, { ip: '10.0.0.1', remoteIp: '192.0.2.7' }),
      false,
    ],
    ['hosts exact', operation({ hosts: ['shop.example'] }), {}, true],
    ['hosts, case', operation({ hosts: ['SHOP.example'] }), http({ host: 'shop.EXAMPLE' }), true],
    [
      'hosts, the port is part of it',
      operation({ hosts: ['shop.example'] }),
      http({ host: 'shop.example:8080' }),
      false,
    ],
    ['hosts, h:*', operation({ hosts: ['shop.example:*'] }), http({ host: 'shop.example:8080' }), true],
    ['hosts suffix', operation({ hosts: ['*.example'] }), {}, true],
    ['hosts, absent', operation({ hosts: ['*'] }), http({ host: undefined }), false],
    ['notHosts', operation({ notHosts: ['shop.example'] }), {}, false],
    ['ports', operation({ ports: ['8080'] }), {}, true],
    ['ports, other', operation({ ports: ['80'] }), {}, false],
    ['notPorts', operation({ notPorts: ['8080'] }), {}, false],
    ['methods exact', operation({ methods: ['GET'] }), {}, true],
    ['methods prefix', operation({ methods: ['G*'] }), {}, true],
    ['methods suffix', operation({ methods: ['*T'] }), {}, true],
    ['methods presence', operation({ methods: ['*'] }), {}, true],
    ['methods, case-sensitive', operation({ methods: ['get'] }), {}, false],
    ['methods, a request in lower case', operation({ methods: ['get', 'GET'] }), http({ method: 'get' }), false],
    ['notMethods', operation({ notMethods: ['GET'] }), {}, false],
    ['notMethods, a request in lower case', operation({ notMethods: ['POST'] }), http({ method: 'post' }), false],
    ['paths exact', operation({ paths: ['/a'] }), http({ path: '/a?b=/c#d' }), true],
    ['paths exact, trailing slash', operation({ paths: ['/a'] }), http({ path: '/a/' }), false],
    ['paths prefix', operation({ paths: ['/a*'] }), http({ path: '/abc/d' }), true],
    ['paths suffix', operation({ paths: ['*/d'] }), http({ path: '/abc/d' }), true],
    ['paths, a star inside is literal', operation({ paths: ['/a*c'] }), http({ path: '/abc' }), false],
    ['paths, a star inside is literal, matched', operation({ paths: ['/a*c'] }), http({ path: '/a*c' }), true],
    ['paths, the second star is literal', operation({ paths: ['*b*'] }), http({ path: '/abc' }), false],
    ['paths, the second star is literal, matched', operation({ paths: ['*b*'] }), http({ path: '/ab*' }), true],
    ['paths {*}', operation({ paths: ['/a/{*}'] }), http({ path: '/a/b' }), true],
    ['paths {*}, empty', operation({ paths: ['/a/{*}'] }), http({ path: '/a/' }), false],
    ['paths {*}, two segments', operation({ paths: ['/a/{*}'] }), http({ path: '/a/b/c' }), false],
    ['paths {*} inside', operation({ paths: ['/{*}/b'] }), http({ path: '/a/b' }), true],
    ['paths {**}', operation({ paths: ['/a/{**}'] }), http({ path: '/a/b/c' }), true],
    ['paths {**}, empty text', operation({ paths: ['/a/{**}'] }), http({ path: '/a/' }), true],
    ['paths {**}, not the bare prefix', operation({ paths: ['/a/{**}'] }), http({ path: '/a' }), false],
    ['paths {**} before literal text', operation({ paths: ['/a/{**}/b'] }), http({ path: '/a/x/y/b' }), true],
    ['paths {**} before literal text, other', operation({ paths: ['/a/{**}/b'] }), http({ path: '/a/x/y/c' }), false],
    ['notPaths', operation({ notPaths: ['/'] }), {}, false],
  ])('%s', (_name, rule, change, expected) => {
    expect(allowed([allow(rule)], ask(change))).toBe(expected);
  });

  it('DENY covers a service account with a longer path', () => {
    expect(allowed([deny(source({ serviceAccounts: ['web'] }))], ask(from(`${web}/extra`)))).toBe(false);
  });

  it.each<[string, string[] | undefined, string[] | undefined, Change, boolean]>([
    ['request.headers[X-Env]', ['prod'], undefined, http({ headers: { 'x-env': 'prod' } }), true],
    ['request.headers[x-env]', ['prod'], undefined, http({ headers: { 'X-Env': 'dev' } }), false],
    ['request.headers[x-env]', ['a,b'], undefined, http({ headers: { 'x-env': ['a', 'b'] } }), true],
    ['request.headers[x-env]', ['*'], undefined, http({}), false],
    ['request.headers[x-env]', undefined, ['prod'], http({}), true],
    ['source.ip', ['10.0.0.0/8'], undefined, {}, true],
    ['remote.ip', ['10.0.0.0/8'], ['10.0.0.1'], {}, false],
    ['source.namespace', ['shop'], undefined, {}, true],
    ['source.principal', ['cluster.local/ns/shop/*'], undefined, {}, true],
    ['source.serviceAccount', ['web'], undefined, {}, true],
    ['source.trustDomain', ['other'], undefined, {}, false],
    ['request.auth.principal', ['i/s'], undefined, jwt({ iss: 'i', sub: 's' }), true],
    ['request.auth.audiences', ['b'], undefined, jwt({ aud: ['a', 'b'] }), true],
    ['request.auth.presenter', ['app'], undefined, jwt({ azp: 'app' }), true],
    ['request.auth.claims[groups]', ['b*'], undefined, jwt({ groups: ['a', 'bc'] }), true],
    ['request.auth.claims[a][b]', ['c'], undefined, jwt({ a: { b: 'c' } }), true],
    ['request.auth.claims[a][b]', ['c'], undefined, jwt({ a: 'c' }), false],
    ['request.auth.claims[scope]', ['write'], undefined, jwt({ scope: 'read write' }), true],
    ['request.auth.claims[permission]', ['write'], undefined, jwt({ permission: 'read write' }), true],
    ['request.auth.claims[other]', ['write'], undefined, jwt({ other: 'read write' }), false],
    ['request.auth.claims[other]', ['read write'], undefined, jwt({ other: 'read write' }), true],
    ['request.auth.claims[level]', ['7'], undefined, jwt({ level: 7 }), false],
    ['request.auth.claims[level]', undefined, ['7'], jwt({ level: 7 }), true],
    ['request.auth.claims[on]', ['true'], undefined, jwt({ on: true }), false],
    ['request.auth.claims[none]', ['*'], undefined, jwt({}), false],
    ['request.auth.claims[none]', undefined, ['x'], {}, true],
    ['request.auth.claims[toString]', ['*'], undefined, jwt({}), false],
    ['destination.ip', ['10.1.0.0/16'], undefined, {}, true],
    ['destination.port', ['8080'], undefined, {}, true],
    ['connection.sni', ['*.example'], undefined, { destination: { sni: 'a.example' } }, true],
    ['connection.sni', ['*'], undefined, {}, false],
    ['experimental.envoy.filters.network.mysql_proxy[db.t]', ['x'], undefined, {}, false],
    ['experimental.envoy.filters.network.mysql_proxy[db.t]', undefined, ['x'], {}, false],
  ])('when %s in %j, not in %j', (key, values, notValues, change, expected) => {
    expect(allowed([allow(when(key, values, notValues))], ask(change))).toBe(expected);
  });

  it('a header without any value is absent, and adds nothing to another of that name', () => {
    const asked = (headers: Record<string, string | string[]>): AuthzRequest =>
      ask({ http: { method: 'GET', path: '/', headers } });
    const host = [deny(operation({ hosts: ['shop.example'] }))];
    expect(allowed(host, asked({ Host: 'shop.example', host: [] }))).toBe(false);
    expect(allowed([allow(when('request.headers[x]', ['*']))], asked({ x: [] }))).toBe(false);
    const both = { when: ['x', 'y'].map((name) => ({ key: `request.headers[${name}]`, values: ['1,2'] })) };
    expect(allowed([allow(both)], asked({ x: ['1', '2'], X: [], y: '1', Y: '2' }))).toBe(true);
  });

  it('configured spaceDelimitedClaims split too', () => {
    const set = [allow(when('request.auth.claims[roles]', ['b']))];
    expect(allowed(set, ask({ jwt: { claims: { roles: 'a b' } } }))).toBe(false);
    expect(allowed(set, ask({ jwt: { claims: { roles: 'a b' }, spaceDelimitedClaims: ['roles'] } }))).toBe(true);
  });

  it.each([
    'request.header[x]',
    'source.ips',
    'request.auth.claims',
    'request.headers[]',
    'destination.labels[app]',
    '',
  ])('an unknown key (%s) is refused', (key) => {
    expect(problemsOf({ rules: [when(key, ['x'])] })).toMatchObject([{ code: 'unknown-key' }]);
  });
});

describe('trust domain aliases', () => {
  const of = (td: string): AuthzRequest => ask({ source: { principal: `spiffe://${td}/ns/shop/sa/web` } });
  const options = { trustDomain: 'new.example', trustDomainAliases: ['old.example'] };
  it.each(['new.example', 'old.example', 'cluster.local'])(
    'a principal of %s stands for every name of the trust domain',
    (written) => {
      const set = [allow(source({ principals: [`${written}/ns/shop/sa/web`] }))];
      expect(['new.example', 'old.example', 'foreign.example'].map((td) => allowed(set, of(td), options))).toEqual([
        true,
        true,
        false,
      ]);
    },
  );
  it('another trust domain stands for itself alone', () => {
    const set = [allow(source({ principals: ['foreign.example/ns/shop/*'] }))];
    expect(['new.example', 'old.example', 'foreign.example'].map((td) => allowed(set, of(td), options))).toEqual([
      false,
      false,
      true,
    ]);
  });
});

describe('path normalisation', () => {
  const denied = (path: string, pathNormalization?: AuthzOptions['pathNormalization']): boolean =>
    !allowed([deny(operation({ paths: ['/admin/x'] }))], ask({ http: { method: 'GET', path } }), { pathNormalization });

  it.each<[AuthzOptions['pathNormalization'], string, boolean]>([
    ['NONE', '/a/../admin/x', false],
    ['NONE', '/%61dmin/x', false],
    ['NONE', '/admin/x?y', true],
    [undefined, '/a/../admin/x', true],
    ['BASE', '/a/../admin/x', true],
    ['BASE', '/a/%2e%2E/admin/x', true],
    ['BASE', '/%61dmin/x', true],
    ['BASE', '/admin\\x', true],
    ['BASE', '/./admin/x', true],
    ['BASE', '/../../admin/x', true],
    ['BASE', '//admin/x', false],
    ['BASE', '/admin%2Fx', false],
    ['BASE', '/a%252e/admin/x', false],
    ['MERGE_SLASHES', '//admin///x', true],
    ['MERGE_SLASHES', '/admin%2Fx', false],
    ['DECODE_AND_MERGE_SLASHES', '/admin%2Fx', true],
    ['DECODE_AND_MERGE_SLASHES', '/admin%5cx', true],
    ['DECODE_AND_MERGE_SLASHES', '/a%2F%2e%2e%2Fadmin/x', true],
    ['DECODE_AND_MERGE_SLASHES', '/admin%252Fx', false],
    ['BASE', '/any%00', true],
    ['NONE', '/any%00', false],
    ['BASE', '/admin;v=1/x', false],
    ['REFUSE_AMBIGUOUS', '/admin;v=1/x', true],
  ])('%s: %s denied: %s', (mode, path, expected) => {
    expect(denied(path, mode)).toBe(expected);
  });
});

describe('HTTP terms at L4', () => {
  it('an ALLOW rule with one is dropped whole, even when only one of several operations has it', () => {
    const rule = { to: [{ operation: { methods: ['GET'] } }, { operation: { ports: ['8080'] } }] };
    expect(allowed([allow(rule)], ask({ http: { method: 'PUT', path: '/' } }))).toBe(true);
    expect(allowed([allow(rule)], opaque())).toBe(false);
    expect(compile([allow(rule)]).authorizeConnection(ask()).verdict).toBe('needs-http');
  });

  it('a DENY with HTTP and L4 terms in the same entry is enforced on the L4 ones', () => {
    expect(allowed([deny(operation({ methods: ['GET'], ports: ['8080'] }))], opaque())).toBe(false);
    expect(allowed([deny(operation({ methods: ['GET'], ports: ['80'] }))], opaque())).toBe(true);
  });

  it('a DENY where an entry has HTTP terms only counts as matched: DENY from X to /admin stops X', () => {
    const rule = { ...source({ namespaces: ['shop'] }), ...operation({ paths: ['/admin'] }) };
    expect(allowed([deny(rule)], opaque())).toBe(false);
    expect(allowed([deny(rule)], opaque({ source: { principal: 'spiffe://cluster.local/ns/x/sa/y' } }))).toBe(true);
    expect(allowed([deny(operation({ notPaths: ['/admin'] }))], opaque())).toBe(false);
    expect(allowed([deny(when('request.headers[x]', ['y']))], opaque())).toBe(false);
    expect(allowed([deny(source({ requestPrincipals: ['*'] }))], opaque())).toBe(false);
  });

  it('ALLOW with trustDomains is enforced at L4', () => {
    expect(allowed([allow(source({ trustDomains: ['cluster.local'] }))], opaque())).toBe(true);
    expect(allowed([allow(source({ trustDomains: ['other'], namespaces: ['shop'] }))], opaque())).toBe(false);
  });

  it('without a principal: presence fails, notPrincipals holds, so STRICT can be written as a DENY', () => {
    const strict = deny(source({ notPrincipals: ['*'] }));
    expect(allowed([strict], opaque({ source: {} }))).toBe(false);
    expect(allowed([strict], opaque())).toBe(true);
    const exceptPort = deny({ ...source({ notPrincipals: ['*'] }), ...operation({ notPorts: ['8080'] }) });
    expect(allowed([exceptPort], opaque({ source: {} }))).toBe(true);
  });
});

describe('dry run', () => {
  const dry = { annotations: { 'istio.io/dry-run': 'true' } };

  it('is judged beside the others and never enforced', () => {
    const engine = compile([policy({ action: 'DENY', rules: [{}] }, dry)]);
    expect(engine.authorize(ask())).toMatchObject({
      allowed: true,
      dryRun: { allowed: false, policy: expect.stringMatching(/^shop\//) as string },
    });
    expect(compile([policy({ action: 'ALLOW' }, dry)]).authorize(opaque())).toMatchObject({
      allowed: true,
      dryRun: { allowed: false },
    });
  });

  it('of an ALLOW with a selector denies what has no labels given, as the enforced policy would', () => {
    const spec = { action: 'ALLOW', selector: { matchLabels: { app: 'web' } } };
    const { destination, ...asked } = opaque();
    const request = { ...asked, destination: { ...destination, labels: undefined } };
    expect(compile([policy(spec)]).authorize(request).allowed).toBe(false);
    expect(compile([policy(spec, dry)]).authorize(request)).toMatchObject({
      allowed: true,
      dryRun: { allowed: false },
    });
  });

  it('there is none for CUSTOM and AUDIT, which a warning says', () => {
    expect(problemsOf({ action: 'AUDIT', rules: [{}] }, dry)).toMatchObject([
      { severity: 'warning', code: 'dry-run-ignored' },
    ]);
    expect(problemsOf({ rules: [{}] }, { annotations: { 'istio.io/dry-run': 'yes' } })).toMatchObject([
      { severity: 'error' },
    ]);
  });
});

describe('what admission and lint refuse', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['scheme-in-principal', { rules: [source({ principals: ['spiffe://cluster.local/ns/a/sa/b'] })] }, 'error'],
    ['inner-star', { rules: [source({ principals: ['cluster.local/ns/*/sa/b'] })] }, 'error'],
    ['inner-star', { rules: [operation({ paths: ['/a/*/b'] })] }, 'warning'],
    ['inner-star', { rules: [operation({ hosts: ['a.*.b'] })] }, 'warning'],
    ['never-matches', { rules: [source({ principals: ['web'] })] }, 'error'],
    ['never-matches', { rules: [source({ namespaces: ['Shop'] })] }, 'error'],
    ['never-matches', { rules: [operation({ paths: ['admin'] })] }, 'error'],
    ['prefix-crosses-segment', { rules: [source({ principals: ['cluster.local/ns/prod*'] })] }, 'warning'],
    ['ip-malformed', { rules: [source({ ipBlocks: ['10.0.0.0/33'] })] }, 'error'],
    ['ip-malformed', { rules: [source({ ipBlocks: ['10.0.0'] })] }, 'error'],
    ['port-malformed', { rules: [operation({ ports: ['http'] })] }, 'error'],
    ['port-malformed', { rules: [operation({ ports: ['65536'] })] }, 'error'],
    ['template-malformed', { rules: [operation({ paths: ['/a/{**}/{*}'] })] }, 'error'],
    ['template-malformed', { rules: [operation({ paths: ['/a{*}'] })] }, 'error'],
    ['template-malformed', { rules: [operation({ paths: ['/a/{*}/*'] })] }, 'error'],
    ['template-malformed', { rules: [operation({ paths: ['/a/{x}'] })] }, 'error'],
    ['fields-conflict', { rules: [source({ serviceAccounts: ['a'], namespaces: ['b'] })] }, 'error'],
    [
      'too-many-values',
      { rules: [source({ serviceAccounts: Array.from({ length: 17 }, (_, index) => `a${String(index)}`) })] },
      'error',
    ],
    ['malformed-value', { rules: [source({ serviceAccounts: ['a*'] })] }, 'error'],
    ['unknown-field', { rules: [source({ principal: ['a'] })] }, 'error'],
    ['unknown-field', { rule: [] }, 'error'],
    ['unknown-field', { rules: [{ from: [{ sources: {} }] }] }, 'error'],
    ['unknown-action', { action: 'allow' }, 'error'],
    ['provider-missing', { action: 'CUSTOM', rules: [{}] }, 'error'],
    ['provider-unexpected', { provider: { name: 'x' } }, 'error'],
    [
      'custom-unsupported',
      { action: 'CUSTOM', provider: { name: 'x' }, rules: [source({ principals: ['*'] })] },
      'error',
    ],
    [
      'custom-unsupported',
      { action: 'CUSTOM', provider: { name: 'x' }, rules: [source({ notNamespaces: ['a'] })] },
      'error',
    ],
    [
      'custom-unsupported',
      { action: 'CUSTOM', provider: { name: 'x' }, rules: [when('request.auth.claims[a]', ['b'])] },
      'error',
    ],
    ['malformed-value', { selector: { matchLabels: { app: 'a*' } } }, 'error'],
  ])('%s: %j', (code, spec, severity) => {
    const problems = problemsOf(spec);
    expect(problems[0]).toMatchObject({ code, severity });
    expect(problems[0]?.fix).not.toBe('');
  });
});
