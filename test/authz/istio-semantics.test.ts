/** Istio's semantics where a rule is more than one field: order, absence, sharing, opaque streams. */
import { describe, expect, it } from 'vitest';
import { AuthzEngine } from '../../src/authz/index.js';
import type { AuthzOptions, AuthzRequest } from '../../src/authz/index.js';

let count = 0;
function policy(spec: Record<string, unknown>, annotations?: Record<string, string>): unknown {
  count += 1;
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${String(count)}`, namespace: 'shop', ...(annotations === undefined ? {} : { annotations }) },
    spec,
  };
}
const web = 'spiffe://cluster.local/ns/shop/sa/web';
const request: AuthzRequest = {
  source: { principal: web, ip: '10.0.0.1' },
  destination: { namespace: 'shop', labels: {}, services: ['shop/api'], port: 8080 },
  http: { method: 'GET', path: '/api', host: 'shop.example' },
};
const { http: _http, ...stream } = request;
const http = (change: Partial<NonNullable<AuthzRequest['http']>>): AuthzRequest => ({
  ...request,
  http: { method: 'GET', path: '/api', ...change },
});
const allowed = (manifests: readonly unknown[], asked: AuthzRequest, options?: AuthzOptions): boolean =>
  AuthzEngine.compile(manifests, options).authorize(asked).allowed;
const allow = (...rules: unknown[]): unknown => policy({ action: 'ALLOW', rules });
const deny = (...rules: unknown[]): unknown => policy({ action: 'DENY', rules });
const custom = (rule: unknown, name = 'ext'): unknown =>
  policy({ action: 'CUSTOM', provider: { name }, rules: [rule] });
const to = (operation: object): object => ({ to: [{ operation }] });
const from = (source: object): object => ({ from: [{ source }] });

describe('evaluation', () => {
  it('the order in which policies are given changes nothing', () => {
    const set = [
      deny(to({ methods: ['DELETE'] })),
      allow(to({ methods: ['GET', 'DELETE'] })),
      allow(to({ methods: ['PUT'] })),
      custom(to({ paths: ['/admin'] })),
    ];
    const asked = ['GET', 'DELETE', 'PUT', 'POST'].flatMap((method) => [
      http({ method }),
      http({ method, path: '/admin' }),
      { ...http({ method, path: '/admin' }), custom: { ext: 'allow' as const } },
    ]);
    const decide = (manifests: readonly unknown[]): unknown[] => {
      const engine = AuthzEngine.compile(manifests);
      return asked.map((each) => engine.authorize(each));
    };
    const expected = decide(set);
    for (let shift = 1; shift < set.length; shift += 1)
      expect(decide([...set.slice(shift), ...set.slice(0, shift)])).toEqual(expected);
    expect(decide([...set].reverse())).toEqual(expected);
  });

  it('a rule without from is about any source, one without to about any operation, one without when about any condition', () => {
    const none: AuthzRequest = { ...request, source: {} };
    expect([request, none].map((asked) => allowed([allow(to({ paths: ['/api'] }))], asked))).toEqual([true, true]);
    expect([request, stream].map((asked) => allowed([allow(from({ namespaces: ['shop'] }))], asked))).toEqual([
      true,
      true,
    ]);
    expect(allowed([allow({ when: [{ key: 'source.ip', values: ['10.0.0.1'] }] })], stream)).toBe(true);
  });

  it('several conditions on one attribute must all hold', () => {
    const both = {
      when: [
        { key: 'source.ip', values: ['10.0.0.0/8'] },
        { key: 'source.ip', notValues: ['10.0.0.1'] },
      ],
    };
    expect(allowed([allow(both)], request)).toBe(false);
    expect(allowed([allow(both)], { ...request, source: { principal: web, ip: '10.0.0.2' } })).toBe(true);
  });

  it('values and notValues of one condition must both hold', () => {
    const rule = { when: [{ key: 'source.ip', values: ['10.0.0.0/8'], notValues: ['10.0.0.1', '10.0.0.3'] }] };
    const at = (ip: string): boolean => allowed([allow(rule)], { ...request, source: { ip } });
    expect(['10.0.0.1', '10.0.0.2', '10.0.0.3', '11.0.0.1'].map(at)).toEqual([false, true, false, false]);
  });

  it('targetRefs may name several targets, a ServiceEntry too', () => {
    const refs = policy({
      targetRefs: [
        { group: 'networking.istio.io', kind: 'ServiceEntry', name: 'ext' },
        { group: '', kind: 'Service', name: 'api' },
      ],
      action: 'DENY',
      rules: [{}],
    });
    const at = (...services: string[]): boolean =>
      allowed([refs], { ...request, destination: { namespace: 'shop', services } });
    expect(at('shop/api')).toBe(false);
    expect(at('serviceentry:shop/ext')).toBe(false);
    expect(at('shop/ext')).toBe(true);
    expect(at('serviceentry:other/ext', 'other/api')).toBe(true);
  });
});

describe('values', () => {
  it('there are no regular expressions: their characters are literal', () => {
    expect(allowed([allow(to({ paths: ['/a.i'] }))], request)).toBe(false);
    expect(allowed([allow(to({ paths: ['/a.i'] }))], http({ path: '/a.i' }))).toBe(true);
    expect(allowed([allow(to({ hosts: ['(shop|x).example'] }))], request)).toBe(false);
    expect(allowed([allow(to({ methods: ['GET|POST'] }))], request)).toBe(false);
  });

  it('gRPC is POST to the path of its method', () => {
    const rule = to({ methods: ['POST'], paths: ['/shop.Orders/*'] });
    expect(allowed([allow(rule)], http({ method: 'POST', path: '/shop.Orders/Place' }))).toBe(true);
    expect(allowed([allow(rule)], http({ method: 'POST', path: '/shop.Payments/Charge' }))).toBe(false);
  });

  it('a namespace is never taken from an address', () => {
    const asked: AuthzRequest = { ...request, source: { ip: '10.0.0.1' } };
    expect(allowed([allow(from({ namespaces: ['*'] }))], asked)).toBe(false);
    expect(allowed([deny(from({ namespaces: ['shop'] }))], asked)).toBe(true);
  });

  it('a host with a port is another host, so both have to be written', () => {
    const at = (hosts: string[], host: string): boolean => allowed([allow(to({ hosts }))], http({ host }));
    expect(at(['shop.example'], 'shop.example:8080')).toBe(false);
    expect(at(['shop.example:*'], 'shop.example')).toBe(false);
    expect(['shop.example', 'shop.example:8080'].map((host) => at(['shop.example', 'shop.example:*'], host))).toEqual([
      true,
      true,
    ]);
  });

  it('attributes of a token are there only with a validated token: a credential in a header is none', () => {
    const asked = http({ headers: { authorization: 'Bearer e30.eyJpc3MiOiJpIiwic3ViIjoicyJ9.x' } });
    expect(allowed([allow(from({ requestPrincipals: ['*'] }))], asked)).toBe(false);
    expect(allowed([allow(from({ notRequestPrincipals: ['*'] }))], asked)).toBe(true);
    expect(
      allowed([allow(from({ requestPrincipals: ['*'] }))], { ...asked, jwt: { claims: { iss: 'i', sub: 's' } } }),
    ).toBe(true);
  });

  it('what a peer claims in headers is no address, no name and no namespace', () => {
    const headers = {
      forwarded: 'for=192.0.2.7',
      'x-forwarded-for': '192.0.2.7',
      baggage: 'k8s.namespace.name=admin',
      'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/admin/sa/root',
    };
    for (const source of [{ ipBlocks: ['192.0.2.7'] }, { remoteIpBlocks: ['192.0.2.7'] }, { namespaces: ['admin'] }])
      expect(allowed([allow(from(source))], http({ headers }))).toBe(false);
  });
});

describe('CUSTOM', () => {
  it('policies of one provider share its answer', () => {
    const set = [custom(to({ paths: ['/api'] })), custom(to({ methods: ['GET'] }))];
    expect(allowed(set, { ...request, custom: { ext: 'allow' } })).toBe(true);
    expect(allowed(set, { ...request, custom: { ext: 'deny' } })).toBe(false);
    expect(allowed(set, request)).toBe(false);
  });

  it('is enforced on an opaque stream: its HTTP terms count as matched', () => {
    for (const rule of [{}, to({ paths: ['/admin'] }), to({ ports: ['8080'] })]) {
      expect(allowed([custom(rule)], stream)).toBe(false);
      expect(allowed([custom(rule)], { ...stream, custom: { ext: 'allow' } })).toBe(true);
    }
    expect(allowed([custom(to({ ports: ['80'] }))], stream)).toBe(true);
  });

  it('may use addresses, trust domains, service accounts and everything about the request', () => {
    for (const rule of [
      from({ ipBlocks: ['10.0.0.0/8'] }),
      from({ trustDomains: ['cluster.local'] }),
      from({ serviceAccounts: ['web'] }),
      to({ hosts: ['shop.example'], paths: ['/api'] }),
      { when: [{ key: 'request.headers[x]', notValues: ['y'] }] },
    ])
      expect(allowed([custom(rule)], request)).toBe(false);
  });
});

describe('AUDIT and dry run', () => {
  it('AUDIT tags opaque streams too', () => {
    const engine = AuthzEngine.compile([policy({ action: 'AUDIT', rules: [to({ ports: ['8080'] })] })]);
    expect(engine.authorize(stream).audited).toHaveLength(1);
    expect(engine.authorize({ ...stream, destination: { ...stream.destination, port: 1 } }).audited).toBeUndefined();
  });

  it.each(['AUDIT', 'CUSTOM'])('%s has no dry run: it does what it does', (action) => {
    const manifest = policy(
      { action, ...(action === 'CUSTOM' ? { provider: { name: 'ext' } } : {}), rules: [{}] },
      { 'istio.io/dry-run': 'true' },
    );
    const engine = AuthzEngine.compile([manifest]);
    expect(engine.problems).toMatchObject([{ severity: 'warning', code: 'dry-run-ignored' }]);
    expect(engine.authorize(request).allowed).toBe(action === 'AUDIT');
    expect(engine.authorize(request).dryRun).toBeUndefined();
  });

  it.each(['ALLOW', 'DENY'])('a dry run of %s is judged on opaque streams as it would be enforced there', (action) => {
    const spec = { action, rules: [to({ paths: ['/api'] })] };
    const dry = AuthzEngine.compile([policy(spec, { 'istio.io/dry-run': 'true' })]);
    expect(dry.authorize(stream).allowed).toBe(true);
    expect(dry.authorize(stream).dryRun?.allowed).toBe(allowed([policy(spec)], stream));
    expect(dry.authorize(request).dryRun?.allowed).toBe(allowed([policy(spec)], request));
  });
});

describe('paths that no normalisation makes safe', () => {
  const denied = (path: string, pathNormalization: AuthzOptions['pathNormalization']): boolean =>
    !allowed([deny(to({ paths: ['/admin', '/admin/*'] }))], http({ path }), { pathNormalization });
  const tricks = ['/admin;v=1', '/%20admin', '/%c0%afadmin', '/Admin', '/admin%20'];

  it("Istio's modes compare them as they are, so a DENY of the plain path does not cover them", () => {
    for (const mode of ['BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const)
      expect(tricks.map((path) => denied(path, mode))).toEqual([false, false, false, false, false]);
  });

  it('REFUSE_AMBIGUOUS refuses parameters and bytes that are not UTF-8; spaces and case it takes for what they are', () => {
    expect(tricks.map((path) => denied(path, 'REFUSE_AMBIGUOUS'))).toEqual([true, false, true, false, false]);
  });

  it('decoding is done once, in every mode', () => {
    for (const mode of ['BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const)
      expect(['/x/%252e%252e/admin', '/%2561dmin', '/x%252f..%252fadmin'].map((path) => denied(path, mode))).toEqual([
        false,
        false,
        false,
      ]);
  });
});

describe('reasons', () => {
  it('name what denied: a rule, the lack of a match, or the default', () => {
    const reasonOf = (manifests: readonly unknown[], options?: AuthzOptions): string =>
      AuthzEngine.compile(manifests, options).authorize(request).reason;
    expect(reasonOf([deny({})])).toMatch(/^denied by shop\/p\d+ rule 0$/);
    expect(reasonOf([allow(to({ paths: ['/x'] }))])).toMatch(
      /^no rule matched of the ALLOW policies that apply \(shop\/p\d+\)/,
    );
    expect(reasonOf([], { defaultAction: 'deny' })).toBe('no ALLOW policy applies and the default is deny');
    expect(reasonOf([])).toBe('no policy applies and the default is allow');
  });
});
