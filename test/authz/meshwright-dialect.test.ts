/** Tiers, audit mode and grants that end, one sentence of docs/authz.md after the other. */
import { describe, expect, it } from 'vitest';
import { AuthzCompileError, AuthzEngine, watchGrants } from '../../src/authz/index.js';
import type { AuthzOptions, AuthzRequest, Decision } from '../../src/authz/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';

type Json = Record<string, unknown>;

const end = '2027-01-31T18:00:00Z';
const endMs = Date.parse(end);
const grant = { notAfter: end, owner: 'team-a', reason: 'CHG-1' };
const anyone = { rules: [{}] };
const from = (...namespaces: string[]): Json => ({ rules: [{ from: [{ namespaces }] }] });
const on: AuthzOptions = { dialects: { meshwright: true } };

let count = 0;
function policy(body: Json, place: { name?: string; namespace?: string; targetRef?: Json } = {}): Json {
  const { name = `p${String((count += 1))}`, namespace = 'shop', targetRef = { kind: 'Service', name: 'web' } } = place;
  return {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name, namespace },
    spec: { type: 'MeshAuthorization', targetRef, meshAuthorization: body },
  };
}
function istio(spec: Json, namespace = 'shop'): Json {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `i${String((count += 1))}`, namespace },
    spec,
  };
}
function request(namespace: string, destination: Partial<AuthzRequest['destination']> = {}): AuthzRequest {
  return {
    source: { principal: `spiffe://cluster.local/ns/${namespace}/sa/x`, node: 'spiffe://cluster.local/agent/a' },
    destination: { namespace: 'shop', services: ['web'], labels: {}, port: 80, ...destination },
  };
}
function decide(manifests: readonly Json[], asked: AuthzRequest, options: AuthzOptions = on): Decision {
  return AuthzEngine.compile(manifests, options).authorize(asked);
}
function codes(manifest: Json, options: AuthzOptions = on): readonly string[] {
  try {
    return AuthzEngine.compile([manifest], options).problems.map(({ code }) => code);
  } catch (error) {
    if (error instanceof AuthzCompileError) return error.problems.map(({ code }) => code);
    throw error;
  }
}

describe('the dialect is off unless it is asked for', () => {
  it.each<[string, Json]>([
    ['tier', policy({ action: 'ALLOW', tier: 100 })],
    ['mode', policy({ action: 'ALLOW', mode: 'AUDIT' })],
    ['mode, even ENFORCE', policy({ action: 'ALLOW', mode: 'ENFORCE' })],
    ['owner', policy({ action: 'ALLOW', owner: 'a' })],
    ['a Namespace', policy({ action: 'ALLOW' }, { targetRef: { kind: 'Namespace', name: 'shop' } })],
    ['the Mesh', policy({ action: 'ALLOW' }, { namespace: 'istio-system', targetRef: { kind: 'Mesh' } })],
  ])('%s', (_name, manifest) => {
    expect(codes(manifest, {})).toEqual(['dialect-disabled']);
    expect(codes(manifest, { dialects: {} })).toEqual(['dialect-disabled']);
  });

  it.each<AuthzOptions>([
    { dialects: { meshwright: 'true' as unknown as boolean } },
    { dialects: { meshWright: true } as unknown as AuthzOptions['dialects'] },
    { dialects: true as unknown as AuthzOptions['dialects'] },
    { ...on, audit: 'All' as 'all' },
    { ...on, audit: [''] },
    { ...on, audit: true as unknown as 'all' },
    { audit: 'all' },
    { audit: ['shop'] },
    { ...on, clock: {} as unknown as AuthzOptions['clock'] },
  ])('an option that is not exactly as documented is refused: %j', (options) => {
    expect(() => AuthzEngine.compile([], options)).toThrow(expect.objectContaining({ code: 'AUTHZ_OPTION_INVALID' }));
  });
});

describe('values are exactly those documented', () => {
  it.each<[Json, string]>([
    [{ tier: '100' }, 'tier-malformed'],
    [{ tier: 1.5 }, 'tier-malformed'],
    [{ tier: -1 }, 'tier-malformed'],
    [{ tier: 1000 }, 'tier-malformed'],
    [{ tier: null }, 'tier-malformed'],
    [{ tier: Number.NaN }, 'tier-malformed'],
    [{ tier: 99 }, 'tier-reserved'],
    [{ mode: 'audit' }, 'unknown-mode'],
    [{ mode: 'AUDIT ' }, 'unknown-mode'],
    [{ mode: true }, 'unknown-mode'],
    [{ mode: '' }, 'unknown-mode'],
    [{ mode: null }, 'unknown-mode'],
    [{ notafter: end }, 'unknown-field'],
    [{ Mode: 'AUDIT' }, 'unknown-field'],
    [{ ...grant, notAfter: 'tomorrow' }, 'date-malformed'],
    [{ ...grant, notAfter: '2027-01-31' }, 'date-malformed'],
    [{ ...grant, notAfter: '2027-01-31T18:00:00' }, 'date-malformed'],
    [{ ...grant, notAfter: '2027-02-30T18:00:00Z' }, 'date-malformed'],
    [{ ...grant, notAfter: '2027-01-31T24:00:00Z' }, 'date-malformed'],
    [{ ...grant, notAfter: '2027-01-31T18:00:60Z' }, 'date-malformed'],
    [{ ...grant, notAfter: '2027-01-31t18:00:00z' }, 'date-malformed'],
    [{ ...grant, notAfter: ` ${end}` }, 'date-malformed'],
    [{ ...grant, notAfter: endMs }, 'wrong-type'],
    [{ ...grant, notAfter: new Date(endMs) }, 'wrong-type'],
    [{ ...grant, owner: ' ' }, 'wrong-type'],
    [{ ...grant, reason: 7 }, 'wrong-type'],
    [{ ...grant, owner: undefined }, 'grant-incomplete'],
    [{ ...grant, reason: undefined }, 'grant-incomplete'],
    [{ owner: 'a', reason: 'b' }, 'grant-incomplete'],
  ])('%j', (fields, code) => {
    expect(codes(policy({ action: 'ALLOW', ...anyone, ...fields }))).toEqual([code]);
  });

  it.each(['2027-01-31T18:00:00+01:00', '2027-01-31T18:00:00.250Z', '2028-02-29T00:00:00-11:30'])('%s', (notAfter) => {
    const engine = AuthzEngine.compile([policy({ action: 'ALLOW', ...grant, notAfter })], {
      ...on,
      clock: new FakeClock({ start: 0 }),
    });
    expect(engine.grants()[0]?.notAfterMs).toBe(Date.parse(notAfter));
  });

  it('a DENY does not end', () => {
    expect(codes(policy({ action: 'DENY', ...anyone, ...grant }))).toEqual(['deny-cannot-end']);
  });

  it('the fields stand with action and rules, never in both places', () => {
    const nested = policy({ action: 'ALLOW' });
    expect(codes({ ...nested, spec: { ...(nested['spec'] as Json), tier: 100 } })).toEqual(['two-forms']);
    expect(
      codes({
        ...nested,
        spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'web' }, action: 'ALLOW', tier: 100 },
      }),
    ).toEqual([]);
  });

  it.each<[Json, string, string | undefined]>([
    [{ kind: 'Namespace', name: 'shop' }, 'shop', undefined],
    [{ kind: 'Namespace', name: 'other' }, 'shop', 'target-foreign'],
    [{ kind: 'Namespace', name: 'other' }, 'istio-system', undefined],
    [{ kind: 'Namespace' }, 'shop', 'target-malformed'],
    [{ kind: 'Namespace', name: 'shop', namespace: 'shop' }, 'shop', 'target-malformed'],
    [{ kind: 'Mesh' }, 'istio-system', undefined],
    [{ kind: 'Mesh' }, 'shop', 'target-foreign'],
    [{ kind: 'Mesh', name: 'mesh' }, 'istio-system', 'target-malformed'],
    [{ kind: 'mesh' }, 'istio-system', 'target-malformed'],
  ])('targetRef %j in %s: %s', (targetRef, namespace, code) => {
    const found = codes(policy({ action: 'ALLOW' }, { namespace, targetRef }));
    if (code === undefined) expect(found).toEqual([]);
    else expect(found).toContain(code);
  });
});

describe('tiers', () => {
  it('an ALLOW is an exception to a DENY of a later tier, and to none of its own or an earlier one', () => {
    const deny = (tier: number): Json => policy({ action: 'DENY', tier, ...from('ops') });
    const allow = (tier: number): Json => policy({ action: 'ALLOW', tier, ...from('ops') });
    expect(decide([deny(200), allow(100)], request('ops')).allowed).toBe(true);
    expect(decide([deny(200), allow(200)], request('ops')).allowed).toBe(false);
    expect(decide([deny(200), allow(300)], request('ops')).allowed).toBe(false);
  });

  it('a DENY without a tier, native or of Istio, and a CUSTOM, have no exceptions', () => {
    const allow = policy({ action: 'ALLOW', tier: 100, ...anyone });
    expect(decide([allow, policy({ action: 'DENY', ...from('ops') })], request('ops')).allowed).toBe(false);
    expect(decide([allow, istio({ action: 'DENY', rules: [{}] })], request('ops')).allowed).toBe(false);
    expect(
      decide([allow, istio({ action: 'CUSTOM', provider: { name: 'p' }, rules: [{}] })], request('ops')).allowed,
    ).toBe(false);
    expect(decide([allow], request('ops')).allowed).toBe(true);
  });

  it('what no tier decides goes on to the ALLOW policies without a tier', () => {
    const set = [policy({ action: 'DENY', tier: 100, ...from('bad') }), policy({ action: 'ALLOW', ...from('ops') })];
    expect(decide(set, request('ops')).allowed).toBe(true);
    expect(decide(set, request('other')).allowed).toBe(false);
  });

  it('an ALLOW with a tier closes what it applies to, as one without does', () => {
    expect(decide([policy({ action: 'ALLOW', tier: 100, ...from('ops') })], request('other')).allowed).toBe(false);
  });

  it('tiers of the mesh, of the namespace and of the service are the same tiers', () => {
    const root = { namespace: 'istio-system', targetRef: { kind: 'Mesh' } };
    const wide = { targetRef: { kind: 'Namespace', name: 'shop' } };
    const set = [
      policy({ action: 'DENY', tier: 50, ...from('bad') }, root),
      policy({ action: 'DENY', tier: 300, ...anyone }, root),
      policy({ action: 'DENY', tier: 150, ...from('half') }, wide),
      policy({ action: 'ALLOW', tier: 200, ...from('bad', 'half', 'ops') }),
    ];
    expect(decide(set, request('bad')).reason).toMatch(/^denied by istio-system\/.* in tier 50$/);
    expect(decide(set, request('half')).reason).toMatch(/^denied by shop\/.* in tier 150$/);
    expect(decide(set, request('ops')).reason).toMatch(/^allowed by shop\/.* in tier 200$/);
    expect(decide(set, request('other')).reason).toMatch(/in tier 300$/);
    expect(decide(set, request('ops', { namespace: 'else', services: [] })).reason).toMatch(/in tier 300$/);
  });

  it('explain lists them in the order of evaluation', () => {
    const engine = AuthzEngine.compile(
      [
        policy({ action: 'ALLOW', ...anyone }, { name: 'last' }),
        policy({ action: 'ALLOW', tier: 200, ...anyone }, { name: 'd' }),
        policy({ action: 'ALLOW', tier: 100, ...from('x') }, { name: 'c' }),
        policy({ action: 'DENY', tier: 100, ...from('x') }, { name: 'b' }),
        policy({ action: 'DENY', ...from('x') }, { name: 'z' }),
      ],
      on,
    );
    expect(engine.explain(request('ops')).considered.map(({ policy: key, tier }) => [key, tier])).toEqual([
      ['shop/z', undefined],
      ['shop/b', 100],
      ['shop/c', 100],
      ['shop/d', 200],
      ['shop/last', undefined],
    ]);
  });

  it('a connection is judged at once only when no request could change it', () => {
    const get = { rules: [{ to: [{ methods: ['GET'] }] }] };
    const verdict = (set: readonly Json[]): string =>
      AuthzEngine.compile(set, on).authorizeConnection(request('ops')).verdict;
    const deny = policy({ action: 'DENY', tier: 200, ...anyone });
    expect(verdict([deny])).toBe('deny');
    expect(verdict([policy({ action: 'ALLOW', tier: 100, ...get }), deny])).toBe('needs-http');
    expect(verdict([policy({ action: 'ALLOW', tier: 100, ...anyone }), deny])).toBe('allow');
    expect(
      verdict([policy({ action: 'DENY', tier: 100, ...get }), policy({ action: 'ALLOW', tier: 150, ...anyone })]),
    ).toBe('needs-http');
  });
});

describe('audit mode', () => {
  const deny = { action: 'DENY', ...from('ops') };

  it('observes a policy: the decision carries what would have been', () => {
    const decision = decide([policy({ ...deny, mode: 'AUDIT' }, { name: 'p' })], request('ops'));
    expect(decision).toMatchObject({ allowed: true, dryRun: { allowed: false, policy: 'shop/p', rule: 0 } });
  });

  it('with a tier too', () => {
    const set = [
      policy({ ...deny, tier: 200 }),
      policy({ action: 'ALLOW', tier: 100, ...anyone, mode: 'AUDIT' }, { name: 'p' }),
    ];
    expect(decide(set, request('ops'))).toMatchObject({ allowed: false, dryRun: { allowed: true, policy: 'shop/p' } });
  });

  it('as the default of a namespace or of all, which a policy overrules', () => {
    const plain = policy(deny);
    expect(decide([plain], request('ops'), { ...on, audit: ['shop'] }).allowed).toBe(true);
    expect(decide([plain], request('ops'), { ...on, audit: 'all' }).allowed).toBe(true);
    expect(decide([plain], request('ops'), { ...on, audit: ['shops'] }).allowed).toBe(false);
    const enforced = policy({ ...deny, mode: 'ENFORCE' });
    expect(decide([enforced], request('ops'), { ...on, audit: 'all' }).allowed).toBe(false);
  });

  it('of a namespace does not reach policies of the root namespace, nor any of Istio', () => {
    const root = policy(deny, { namespace: 'istio-system', targetRef: { kind: 'Namespace', name: 'shop' } });
    expect(decide([root], request('ops'), { ...on, audit: ['shop'] }).allowed).toBe(false);
    expect(decide([istio({ action: 'DENY', rules: [{}] })], request('ops'), { ...on, audit: 'all' }).allowed).toBe(
      false,
    );
  });
});

describe('grants that end', () => {
  const set = [policy({ action: 'ALLOW', ...from('ops'), ...grant }, { name: 'g' })];

  it('grant until their instant, and nothing from it on; the policy goes on closing', () => {
    const clock = new FakeClock({ start: endMs - 1 });
    const engine = AuthzEngine.compile(set, { ...on, clock });
    expect(engine.problems).toEqual([]);
    expect(engine.authorize(request('ops')).allowed).toBe(true);
    expect(engine.authorizeConnection(request('ops')).verdict).toBe('allow');
    clock.advance(1);
    expect(engine.authorize(request('ops')).allowed).toBe(false);
    expect(engine.authorize(request('ops')).reason).toBe(
      `no rule matched of the ALLOW policies that apply (shop/g); the grant shop/g of team-a ended ${end}`,
    );
    expect(engine.authorize(request('other')).allowed).toBe(false);
    expect(engine.authorizeConnection(request('ops')).verdict).toBe('deny');
  });

  it('do not begin again when the clock is set back, and count as ended when it tells nothing', () => {
    const clock = new FakeClock({ start: endMs });
    const engine = AuthzEngine.compile(set, { ...on, clock });
    expect(engine.authorize(request('ops')).allowed).toBe(false);
    clock.jumpWall(-1000);
    expect(engine.authorize(request('ops')).allowed).toBe(false);
    const broken = AuthzEngine.compile(set, { ...on, clock: { ...clock, now: () => Number.NaN } as FakeClock });
    expect(broken.authorize(request('ops')).allowed).toBe(false);
  });

  it('are reported: by explain, by grants() and, when they ended before, as a problem', () => {
    const clock = new FakeClock({ start: endMs });
    const [first] = set;
    const engine = AuthzEngine.compile([{ source: 'g.yaml:1', manifest: first }], { ...on, clock });
    expect(engine.problems).toMatchObject([
      { severity: 'warning', code: 'grant-ended', file: 'g.yaml', path: 'spec.meshAuthorization.notAfter' },
    ]);
    expect(engine.grants()).toEqual([{ policy: 'shop/g', ...grant, notAfterMs: endMs, ended: true }]);
    const { considered, nearestMiss } = engine.explain(request('ops'));
    expect(considered[0]?.grant).toMatchObject({ owner: 'team-a', reason: 'CHG-1' });
    expect(nearestMiss?.failed).toEqual([
      {
        field: 'notAfter',
        path: 'spec.meshAuthorization.notAfter',
        expected: [`a time before ${end} (the grant of team-a ended)`],
        got: '2027-01-31T18:00:00.000Z',
      },
    ]);
  });

  it('are reported anew by an engine that took over the compiled policy', async () => {
    const clock = new FakeClock({ start: endMs - 1 });
    const previous = AuthzEngine.compile(set, { ...on, clock });
    expect(previous.problems).toEqual([]);
    clock.advance(1);
    const next = await AuthzEngine.compileAsync(set, { ...on, clock, previous });
    expect(next.problems.map(({ code }) => code)).toEqual(['grant-ended']);
    const after = await AuthzEngine.compileAsync(set, { ...on, clock, previous: next });
    expect(after.problems.map(({ code }) => code)).toEqual(['grant-ended']);
  });

  it('watchGrants tells when each ends, also after a jump of the clock, and stops when closed', () => {
    const clock = new FakeClock({ start: endMs - 3_600_000 });
    const later = policy({ action: 'ALLOW', ...grant, notAfter: '2027-01-31T19:00:00Z' }, { name: 'later' });
    const engine = AuthzEngine.compile([later, ...set], { ...on, clock });
    const seen: string[] = [];
    const watch = watchGrants(engine, { clock, onEnded: ({ policy: key }) => seen.push(key) });
    clock.advance(3_599_999);
    expect(seen).toEqual([]);
    clock.advance(1);
    expect(seen).toEqual(['shop/g']);
    clock.jumpWall(3_600_000);
    clock.advance(60_000);
    expect(seen).toEqual(['shop/g', 'shop/later']);
    expect(clock.pendingTimers).toBe(0);
    watchGrants(engine, { clock, onEnded: ({ policy: key }) => seen.push(key) });
    expect(seen).toEqual(['shop/g', 'shop/later', 'shop/g', 'shop/later']);
    watch.close();
    const fresh = AuthzEngine.compile(set, { ...on, clock: new FakeClock({ start: 0 }) });
    const waiting = new FakeClock({ start: 0 });
    watchGrants(fresh, { clock: waiting, onEnded: () => seen.push('never') }).close();
    expect(waiting.pendingTimers).toBe(0);
  });
});
