/**
 * Every field and every key of a condition in both dialects, in every form of value, plain and as not-form, in an ALLOW
 * and in a DENY, on a request and on an opaque stream. A table says what each form is worth; nothing else is written by
 * hand, and the last test holds the table against the published schemas.
 */
import { describe, expect, it } from 'vitest';
import { plainWhenKeys } from '../../src/authz/dialects/when.js';
import { AuthzCompileError, AuthzEngine, policySchemas } from '../../src/authz/index.js';
import type { AuthzRequest } from '../../src/authz/index.js';

/** What a term is worth; `http`: only a request could tell. `refused`: such a request is denied whatever the policies. */
type Worth = 'yes' | 'no' | 'open' | 'http' | 'refused';
type Part = 'from' | 'to' | 'headers' | 'when';

interface Change {
  readonly source?: AuthzRequest['source'];
  readonly destination?: Partial<AuthzRequest['destination']>;
  readonly http?: Partial<NonNullable<AuthzRequest['http']>> | undefined;
  readonly jwt?: AuthzRequest['jwt'];
}

/** What a request has in the place of the field, and what the plain form is then worth (and the not-form, if not its opposite). */
interface State {
  readonly change: Change;
  readonly plain: Worth;
  readonly negated?: Worth;
}

interface Field {
  readonly dialect: 'native' | 'istio';
  readonly part: Part;
  readonly name: string;
  /** Whether it is about HTTP. */
  readonly l7: boolean;
  /** Values by form, all of which mean the state `same`; a code where the form is an error. */
  readonly forms: Readonly<Record<string, string | { readonly error: string; readonly value: string }>>;
  readonly same: Change;
  readonly other: Change;
  readonly states: Readonly<Record<string, State>>;
  /** What a presence form makes of `other`, which is there too. */
  readonly presence?: string;
}

const id = (path: string): string => `spiffe://cluster.local/${path}`;
const from = (principal: string | undefined, more: AuthzRequest['source'] = {}): Change => ({
  source: { principal, ...more },
});
const web = from(id('ns/shop/sa/web'), { node: id('agent/node-a') });
const api = from(id('ns/other/sa/api'), { node: id('agent/node-b') });
const nobody: Change = { source: {} };
const error = (code: string, value: string): { error: string; value: string } => ({ error: code, value });
const token = (claims: Record<string, unknown>): Change => ({ jwt: { claims } });
const absent = { change: nobody, plain: 'no' } as const satisfies State;
const ipForms = {
  exact: '10.0.0.1',
  prefix: '10.0.0.0/24',
  suffix: error('ip-malformed', '*.1'),
  presence: '0.0.0.0/0',
} as const;
const noWildcards = (code = 'malformed-value'): Record<'prefix' | 'suffix' | 'presence', ReturnType<typeof error>> => ({
  prefix: error(code, '8*'),
  suffix: error(code, '*8'),
  presence: error(code, '*'),
});

const istioPrincipal = {
  l7: false,
  forms: {
    exact: 'cluster.local/ns/shop/sa/web',
    prefix: 'cluster.local/ns/shop/*',
    suffix: '*/sa/web',
    presence: '*',
  },
  same: web,
  other: api,
  states: { absent, empty: { change: from(''), plain: 'refused' } },
} as const;
const istioNamespace = {
  l7: false,
  forms: { exact: 'shop', prefix: 'sh*', suffix: '*op', presence: '*', 'star inside': 's*p' },
  same: web,
  other: api,
  states: { absent, empty: { change: from(id('agent/node-a')), plain: 'no' } },
} as const;
const istioAccount = {
  l7: false,
  forms: { exact: 'shop/web', 'exact, own namespace': 'web', ...noWildcards() },
  same: web,
  other: api,
  states: { absent, 'a longer path': { change: from(id('ns/shop/sa/web/x')), plain: 'open' } },
} as const;
const istioTrustDomain = {
  l7: false,
  forms: { exact: 'cluster.local', prefix: 'cluster*', suffix: '*.local', presence: '*' },
  same: web,
  other: from('spiffe://other.example/ns/shop/sa/web'),
  states: { absent },
} as const;
const requestPrincipal = {
  l7: true,
  forms: { exact: 'issuer/alice', prefix: 'issuer/al*', suffix: '*/alice', presence: '*' },
  same: token({ iss: 'issuer', sub: 'alice' }),
  other: token({ iss: 'elsewhere', sub: 'bob' }),
  states: {
    absent: { change: {}, plain: 'no' },
    empty: { change: token({ iss: '', sub: 'alice' }), plain: 'no' },
    'without a subject': { change: token({ iss: 'issuer' }), plain: 'no' },
  },
} as const;
const sourceIp = {
  l7: false,
  forms: ipForms,
  same: { source: { ip: '10.0.0.1' } },
  other: { source: { ip: '10.1.0.1' } },
  states: {
    absent,
    empty: { change: { source: { ip: '' } }, plain: 'open', negated: 'open' },
    'no address': { change: { source: { ip: '10.0.0.1x' } }, plain: 'open', negated: 'open' },
    'the other family': { change: { source: { ip: 'fd00::1' } }, plain: 'no' },
  },
} as const;
const remoteIp = {
  ...sourceIp,
  same: { source: { ip: '172.16.0.1', remoteIp: '10.0.0.1' } },
  other: { source: { ip: '172.16.0.1', remoteIp: '10.1.0.1' } },
  states: {
    absent,
    'the peer, when nothing was forwarded': { change: { source: { ip: '10.0.0.1' } }, plain: 'yes' },
    'no address': { change: { source: { remoteIp: 'unknown' } }, plain: 'open', negated: 'open' },
  },
} as const;
const destinationIp = {
  ...sourceIp,
  same: { destination: { ip: '10.0.0.1' } },
  other: { destination: { ip: '10.1.0.1' } },
  states: {
    absent: { change: {}, plain: 'no' },
    'no address': { change: { destination: { ip: 'x' } }, plain: 'open', negated: 'open' },
  },
} as const;
const port = {
  l7: false,
  forms: { exact: '8080', ...noWildcards('port-malformed') },
  same: { destination: { port: 8080 } },
  other: { destination: { port: 80 } },
  states: { absent: { change: {}, plain: 'open', negated: 'open' } },
} as const;
const istioHost = {
  l7: true,
  forms: { exact: 'Shop.example', prefix: 'shop.*', suffix: '*.EXAMPLE', presence: '*' },
  same: { http: { host: 'shop.example' } },
  other: { http: { host: 'other.test' } },
  states: {
    absent: { change: { http: {} }, plain: 'no' },
    empty: { change: { http: { host: '' } }, plain: 'no' },
    'as a header': { change: { http: { headers: { Host: 'SHOP.example' } } }, plain: 'yes' },
  },
} as const;
const methodStates = {
  'in lower case': { change: { http: { method: 'get' } }, plain: 'open', negated: 'open' },
  empty: { change: { http: { method: '' } }, plain: 'open', negated: 'open' },
} as const;
const pathStates = {
  empty: { change: { http: { path: '' } }, plain: 'open', negated: 'open' },
  'with a query': { change: { http: { path: '/api?x=/other' } }, plain: 'yes' },
} as const;
const headerForms = { exact: 'prod', prefix: 'pr*', suffix: '*od', presence: '*' } as const;
const headerStates = {
  absent: { change: { http: {} }, plain: 'no' },
  empty: { change: { http: { headers: { 'x-env': '' } } }, plain: 'no' },
  'without values': { change: { http: { headers: { 'x-env': [] } } }, plain: 'no' },
  'in another case': { change: { http: { headers: { 'X-ENV': 'prod' } } }, plain: 'yes' },
} as const;
const header = {
  l7: true,
  forms: headerForms,
  same: { http: { headers: { 'x-env': 'prod' } } },
  other: { http: { headers: { 'x-env': 'test' } } },
  states: headerStates,
} as const;
const claim = (make: (value: unknown) => Record<string, unknown>): Omit<Field, 'dialect' | 'part' | 'name'> => ({
  l7: true,
  forms: headerForms,
  same: token(make('prod')),
  other: token(make('test')),
  states: {
    absent: { change: {}, plain: 'no' },
    'absent from the token': { change: token({}), plain: 'no' },
    empty: { change: token(make('')), plain: 'no' },
    'a list with it': { change: token(make(['test', 'prod'])), plain: 'yes' },
    'an empty list': { change: token(make([])), plain: 'no' },
    'a number': { change: token(make(7)), plain: 'no' },
    'true or false': { change: token(make(true)), plain: 'no' },
  },
});
const sni = {
  l7: false,
  forms: { exact: 'shop.example', prefix: 'shop*', suffix: '*.example', presence: '*' },
  same: { destination: { sni: 'shop.example' } },
  other: { destination: { sni: 'other.test' } },
  states: { absent: { change: {}, plain: 'no' }, empty: { change: { destination: { sni: '' } }, plain: 'no' } },
} as const;

const nativeIdentity = { absent: { change: nobody, plain: 'no', negated: 'open' } } as const;

const conditions: readonly (readonly [string, Omit<Field, 'dialect' | 'part' | 'name'>])[] = [
  ['source.ip', sourceIp],
  ['remote.ip', remoteIp],
  ['source.namespace', istioNamespace],
  ['source.principal', istioPrincipal],
  ['source.serviceAccount', istioAccount],
  ['source.trustDomain', istioTrustDomain],
  ['request.auth.principal', requestPrincipal],
  ['request.auth.audiences', claim((value) => ({ aud: value }))],
  ['request.auth.presenter', claim((value) => ({ azp: value }))],
  ['destination.ip', destinationIp],
  ['destination.port', port],
  ['connection.sni', sni],
  ['request.headers[X-Env]', header],
  ['request.auth.claims[groups]', claim((value) => ({ groups: value }))],
  ['request.auth.claims[nested][role]', claim((value) => ({ nested: { role: value } }))],
  [
    'experimental.envoy.filters.network.mysql_proxy[db.table]',
    {
      l7: true,
      forms: headerForms,
      same: {},
      other: {},
      states: { 'never told': { change: {}, plain: 'open', negated: 'open' } },
    },
  ],
];

const fields: readonly Field[] = [
  { dialect: 'istio', part: 'from', name: 'principals', ...istioPrincipal },
  { dialect: 'istio', part: 'from', name: 'namespaces', ...istioNamespace },
  { dialect: 'istio', part: 'from', name: 'serviceAccounts', ...istioAccount },
  { dialect: 'istio', part: 'from', name: 'trustDomains', ...istioTrustDomain },
  { dialect: 'istio', part: 'from', name: 'requestPrincipals', ...requestPrincipal },
  { dialect: 'istio', part: 'from', name: 'ipBlocks', ...sourceIp },
  { dialect: 'istio', part: 'from', name: 'remoteIpBlocks', ...remoteIp },
  { dialect: 'istio', part: 'to', name: 'hosts', ...istioHost },
  { dialect: 'istio', part: 'to', name: 'ports', ...port },
  {
    dialect: 'istio',
    part: 'to',
    name: 'methods',
    l7: true,
    forms: { exact: 'GET', prefix: 'G*', suffix: '*ET', presence: '*' },
    same: { http: { method: 'GET' } },
    other: { http: { method: 'POST' } },
    states: methodStates,
  },
  {
    dialect: 'istio',
    part: 'to',
    name: 'paths',
    l7: true,
    forms: {
      exact: '/api',
      prefix: '/ap*',
      suffix: '*pi',
      presence: '*',
      'one segment': '/{*}',
    },
    same: { http: { path: '/api' } },
    other: { http: { path: '/other/x' } },
    states: pathStates,
  },
  {
    dialect: 'native',
    part: 'from',
    name: 'namespaces',
    l7: false,
    forms: { exact: 'shop', ...noWildcards() },
    same: web,
    other: api,
    states: {
      ...nativeIdentity,
      'of another trust domain': { change: from('spiffe://x.example/ns/shop/sa/web'), plain: 'open', negated: 'open' },
    },
  },
  {
    dialect: 'native',
    part: 'from',
    name: 'serviceAccounts',
    l7: false,
    forms: {
      exact: 'shop/web',
      'exact, own namespace': 'web',
      'of any namespace': '*/web',
      ...noWildcards(),
    },
    same: web,
    other: api,
    states: {
      ...nativeIdentity,
      'a longer path': { change: from(id('ns/shop/sa/web/x')), plain: 'open', negated: 'open' },
      'of another trust domain': { change: from('spiffe://x.example/ns/shop/sa/web'), plain: 'open', negated: 'open' },
    },
  },
  {
    dialect: 'native',
    part: 'from',
    name: 'spiffeIds',
    l7: false,
    forms: {
      exact: id('ns/shop/sa/web'),
      prefix: id('ns/shop/**'),
      suffix: 'spiffe://*/ns/*/sa/web',
      'star inside a segment': id('ns/s*p/sa/we?'),
    },
    same: web,
    other: api,
    states: {
      absent: { change: { source: { node: id('agent/node-a') } }, plain: 'no', negated: 'open' },
      'neither workload nor node': { change: nobody, plain: 'no', negated: 'open' },
    },
  },
  {
    dialect: 'native',
    part: 'from',
    name: 'spiffeIds',
    l7: false,
    forms: { 'of a node': id('agent/node-a'), 'of nodes': id('agent/*-a'), presence: 'spiffe://*/agent/?ode-a' },
    presence: 'no',
    same: web,
    other: api,
    states: {
      'the node is not known': { change: from(id('ns/shop/sa/web')), plain: 'open', negated: 'open' },
      'the peer is the node': { change: from(id('agent/node-a')), plain: 'yes' },
    },
  },
  { dialect: 'native', part: 'from', name: 'ipBlocks', ...sourceIp },
  {
    dialect: 'native',
    part: 'to',
    name: 'methods',
    l7: true,
    forms: { exact: 'GET', ...noWildcards() },
    same: { http: { method: 'GET' } },
    other: { http: { method: 'POST' } },
    states: methodStates,
  },
  {
    dialect: 'native',
    part: 'to',
    name: 'paths',
    l7: true,
    forms: {
      exact: '/api',
      prefix: '/ap*',
      suffix: '/*pi',
      'any segment': '/*',
      'one character': '/ap?',
      'any depth': '/api/**',
    },
    same: { http: { path: '/api' } },
    other: { http: { path: '/other/x' } },
    states: {
      ...pathStates,
      'with two readings': { change: { http: { path: '/x/../api' } }, plain: 'open', negated: 'open' },
    },
  },
  {
    dialect: 'native',
    part: 'to',
    name: 'hosts',
    l7: true,
    forms: { exact: 'Shop.example', prefix: error('malformed-value', 'shop.*'), suffix: '*.EXAMPLE', presence: '*' },
    same: { http: { host: 'shop.example' } },
    other: { http: { host: 'other.test' } },
    states: istioHost.states,
  },
  { dialect: 'native', part: 'to', name: 'ports', ...port },
  { dialect: 'native', part: 'headers', name: 'X-Env', ...header },
  ...conditions.flatMap(([name, rest]): Field[] => [
    { dialect: 'istio', part: 'when', name, ...rest },
    { dialect: 'native', part: 'when', name, ...rest },
  ]),
];

function rule({ dialect, part, name }: Field, value: string, negated: boolean): object {
  const values = { [negated ? 'notValues' : 'values']: [value] };
  if (part === 'when') return { when: [{ key: name, ...values }] };
  if (part === 'headers') return { to: [{ headers: [{ name, ...values }] }] };
  const field = negated ? `not${name.slice(0, 1).toUpperCase()}${name.slice(1)}` : name;
  const entry = { [field]: [value] };
  return { [part]: [dialect === 'native' ? entry : { [part === 'from' ? 'source' : 'operation']: entry }] };
}

function compile(field: Field, action: 'ALLOW' | 'DENY', value: string, negated: boolean): AuthzEngine {
  const rules = [rule(field, value, negated)];
  const metadata = { name: 'policy', namespace: 'shop' };
  const manifest =
    field.dialect === 'native'
      ? {
          apiVersion: 'novaedge.io/v1alpha1',
          kind: 'ProxyPolicy',
          metadata,
          spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'api' }, action, rules },
        }
      : { apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata, spec: { action, rules } };
  return AuthzEngine.compile([manifest], { trustDomain: 'cluster.local' });
}

function request({ source = web.source ?? {}, destination, http, jwt }: Change, isHttp: boolean): AuthzRequest {
  return {
    source,
    destination: { namespace: 'shop', services: ['api'], ...destination },
    ...(isHttp ? { http: { method: 'GET', path: '/api', ...http } } : {}),
    ...(isHttp && jwt !== undefined ? { jwt } : {}),
  };
}

const opposite: Readonly<Record<Worth, Worth>> = {
  yes: 'no',
  no: 'yes',
  open: 'open',
  http: 'http',
  refused: 'refused',
};

/** What is open counts as matched in a DENY and as not matched in an ALLOW. */
function check(field: Field, value: string, negated: boolean, change: Change, isHttp: boolean, worth: Worth): void {
  const asked = request(change, isHttp);
  const allow = compile(field, 'ALLOW', value, negated);
  const deny = compile(field, 'DENY', value, negated);
  const allows = allow.authorize(asked).allowed;
  const denies = !deny.authorize(asked).allowed;
  expect({ allows, denies }).toEqual({ allows: worth === 'yes', denies: worth !== 'no' });
  if (worth !== 'http') return;
  expect(allow.authorizeConnection(asked).verdict).toBe('needs-http');
  expect(deny.authorizeConnection(asked).verdict).toBe('needs-http');
}

describe.each(
  fields.map(
    (field) => [`${field.dialect} ${field.part} ${field.name} ${Object.keys(field.forms)[0] ?? ''}`, field] as const,
  ),
)('%s', (_title, field) => {
  const cells = Object.entries(field.forms).flatMap(([form, value]) =>
    [false, true].map((negated) => [form, negated ? 'not-form' : 'plain', value, negated] as const),
  );
  it.each(cells)('%s, %s', (form, _kind, value, negated) => {
    if (typeof value !== 'string') {
      const refused = (): unknown => compile(field, 'ALLOW', value.value, negated);
      expect(refused).toThrow(AuthzCompileError);
      expect(refused).toThrow(expect.objectContaining({ problems: [expect.objectContaining({ code: value.error })] }));
      return;
    }
    const turn = (worth: Worth): Worth => (negated ? opposite[worth] : worth);
    const told = Object.keys(field.same).length > 0;
    const otherWorth = form === 'presence' && field.presence === undefined ? 'yes' : 'no';
    for (const isHttp of field.l7 ? [true] : [true, false]) {
      if (told) {
        check(field, value, negated, field.same, isHttp, turn('yes'));
        check(field, value, negated, field.other, isHttp, turn(otherWorth));
      }
    }
    if (field.l7) {
      for (const change of [field.same, field.other, {}]) check(field, value, negated, change, false, 'http');
    }
  });

  const states = Object.entries(field.states).flatMap(([state, expected]) =>
    Object.entries(field.forms).flatMap(([form, value]) =>
      typeof value !== 'string'
        ? []
        : [false, true].map(
            (negated) => [state, form, negated ? 'not-form' : 'plain', value, negated, expected] as const,
          ),
    ),
  );
  it.each(states)('%s: %s, %s', (_state, _form, _kind, value, negated, expected) => {
    const worth = negated ? (expected.negated ?? opposite[expected.plain]) : expected.plain;
    for (const isHttp of field.l7 ? [true] : [true, false])
      check(field, value, negated, expected.change, isHttp, worth);
  });
});

describe('the table', () => {
  type Schema = { readonly properties?: Readonly<Record<string, Schema>>; readonly items?: Schema };
  const rules = (schema: Schema | undefined): Schema | undefined =>
    schema?.properties?.meshAuthorization?.properties?.rules?.items ?? schema?.properties?.rules?.items;
  const names = (kind: string, part: 'from' | 'to', inner: string | undefined): string[] => {
    const spec = (policySchemas[kind] as Schema | undefined)?.properties?.spec;
    const entry = rules(spec)?.properties?.[part]?.items;
    return Object.keys((inner === undefined ? entry : entry?.properties?.[inner])?.properties ?? {}).sort();
  };
  const inTable = (dialect: Field['dialect'], part: Part): string[] =>
    [
      ...new Set(
        fields
          .filter((field) => field.dialect === dialect && field.part === part)
          .flatMap(({ name }) => [name, `not${name.slice(0, 1).toUpperCase()}${name.slice(1)}`]),
      ),
    ].sort();

  it('has every field of the published schemas, and they have every field of it', () => {
    expect(inTable('istio', 'from')).toEqual(names('AuthorizationPolicy', 'from', 'source'));
    expect(inTable('istio', 'to')).toEqual(names('AuthorizationPolicy', 'to', 'operation'));
    expect(inTable('native', 'from')).toEqual(names('ProxyPolicy', 'from', undefined));
    expect([...inTable('native', 'to'), 'headers'].sort()).toEqual(names('ProxyPolicy', 'to', undefined));
  });

  it('has every key of conditions', () => {
    const keys = fields.filter(({ part }) => part === 'when').map(({ name }) => name);
    for (const key of plainWhenKeys) expect(keys).toContain(key);
  });
});
