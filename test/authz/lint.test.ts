/** Lint beyond single examples (those are in docs/policy-problems.md): what it calls useless is useless. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { AuthzEngine, lintPolicies } from '../../src/authz/index.js';
import type { AuthzOptions, PolicyProblem } from '../../src/authz/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { dialectPolicies, policies, request } from './naive/arbitraries.js';

vi.setConfig({ testTimeout: 600_000 });

type Json = Record<string, unknown>;
const numRuns = Number(process.env.MESHWRIGHT_FUZZ_RUNS ?? '100');
const options: AuthzOptions = {
  trustDomain: 'mesh.example',
  rootNamespace: 'istio-system',
  dialects: { meshwright: true },
  clock: new FakeClock({ start: 0 }),
};

const bodyOf = (manifest: Json): { rules?: Json[]; action?: string } => {
  const spec = manifest.spec as Json;
  return spec.meshAuthorization ?? spec;
};

/** A rule that matches less or the same: fewer values, fewer alternatives. */
function narrowed(value: unknown, keep: number): unknown {
  if (Array.isArray(value)) {
    const list: readonly unknown[] = value.length > 1 ? value.slice(0, Math.max(1, value.length - (keep % 2))) : value;
    return list.map((item) => narrowed(item, keep >> 1));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, narrowed(item, keep >> 1)]));
}

/** The policies, some of them once more with narrower rules, and some rules twice. */
const crowded = fc
  .tuple(fc.oneof(policies, dialectPolicies), fc.array(fc.nat({ max: 255 }), { minLength: 12, maxLength: 12 }))
  .map(([list, dice]) =>
    list.flatMap((manifest, index) => {
      const die = dice[index] ?? 0;
      const copy = structuredClone(manifest);
      const body = bodyOf(copy);
      if (body.rules !== undefined) {
        body.rules = narrowed(body.rules, die) as Json[];
        if (die % 3 === 0) body.rules.push(...structuredClone(body.rules).slice(0, 1));
        if (die % 5 === 0 && body.action === 'DENY') body.action = 'ALLOW';
      }
      (copy.metadata as Json).name = `copy${String(index)}`;
      return [manifest, copy];
    }),
  );

function without(manifests: readonly Json[], { policy = '', path }: PolicyProblem): Json[] {
  const index = Number(/rules\[(\d+)\]$/.exec(path)?.[1]);
  return manifests.flatMap((manifest) => {
    const { name, namespace } = manifest.metadata as { name: string; namespace: string };
    if (policy !== `${String(manifest.kind)} ${namespace}/${name}`) return [manifest];
    const copy = structuredClone(manifest);
    const body = bodyOf(copy);
    body.rules = body.rules?.filter((_, place) => place !== index) ?? [];
    // Only an ALLOW may be without rules.
    return body.rules.length === 0 && (body.action ?? 'ALLOW') !== 'ALLOW' ? [] : [copy];
  });
}

describe('rules that lint calls useless', () => {
  it('change no decision, enforced or observed, on HTTP or not, when each is taken away', () => {
    let found = 0;
    const across = new Set<string>();
    const requests = fc.noShrink(fc.array(request, { minLength: 30, maxLength: 30 }));
    fc.assert(
      fc.property(crowded, requests, (manifests, asked) => {
        const problems = lintPolicies(manifests, options).filter(({ code }) =>
          ['duplicate-rule', 'shadowed-rule'].includes(code),
        );
        const engine = AuthzEngine.compile(manifests, options);
        for (const problem of problems.slice(0, 6)) {
          found += 1;
          across.add(`${problem.code} ${problem.got.replace(/[^ ]*\d[^ ]*/g, '#')}`);
          const reduced = AuthzEngine.compile(without(manifests, problem), options);
          for (const each of asked) {
            const before = engine.authorize(each);
            const after = reduced.authorize(each);
            if (
              before.allowed !== after.allowed ||
              (before.dryRun ?? before).allowed !== (after.dryRun ?? after).allowed
            )
              throw new Error(
                `${problem.policy ?? ''} ${problem.path} (${problem.got}) is not useless: ${before.reason}, then ${after.reason}: ${JSON.stringify(each)}`,
              );
          }
        }
      }),
      { numRuns },
    );
    expect(found).toBeGreaterThan(numRuns / 2);
    expect([...across].sort()).toEqual([
      'duplicate-rule the same as rule #',
      'duplicate-rule the same as rule # of #',
      'shadowed-rule rule # matches everything',
      'shadowed-rule rule # matches whatever this one matches',
      'shadowed-rule rule # of # denies whatever this one allows',
      'shadowed-rule rule # of # matches everything',
      'shadowed-rule rule # of # matches whatever this one matches',
    ]);
  });

  const native = (name: string, body: Json): Json => ({
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name, namespace: 'shop' },
    spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'web' }, ...body },
  });
  const codes = (...manifests: Json[]): string[] =>
    lintPolicies(manifests, options).map(({ code, policy = '' }) => `${code} ${policy.replace(/^.*\//, '')}`);

  it('a wider ALLOW about HTTP does not cover a narrower one that also holds without', () => {
    const rule = { to: [{ ports: [80] }] };
    const wide = { to: [{ ports: [80] }, { methods: ['GET'] }] };
    expect(codes(native('a', { action: 'ALLOW', rules: [wide, rule] }))).toEqual([]);
    expect(codes(native('a', { action: 'DENY', rules: [wide, rule] }))).toEqual(['shadowed-rule a']);
  });

  it('tiers: a DENY makes an ALLOW useless only when it comes first', () => {
    const deny = (tier?: number): Json =>
      native('d', { action: 'DENY', rules: [{}], ...(tier === undefined ? {} : { tier }) });
    const allow = (tier?: number): Json =>
      native('a', { action: 'ALLOW', rules: [{}], ...(tier === undefined ? {} : { tier }) });
    expect(codes(deny(), allow(100))).toEqual(['shadowed-rule a']);
    expect(codes(deny(100), allow(100))).toEqual(['shadowed-rule a']);
    expect(codes(deny(100), allow())).toEqual(['shadowed-rule a']);
    expect(codes(deny(200), allow(100))).toEqual([]);
  });

  it('an ALLOW that ends covers none that does not', () => {
    const grant = { notAfter: '2027-01-01T00:00:00Z', owner: 'a', reason: 'b' };
    const rules = [{ from: [{ namespaces: ['shop'] }] }];
    expect(codes(native('a', { action: 'ALLOW', rules, ...grant }), native('b', { action: 'ALLOW', rules }))).toEqual([
      'shadowed-rule a',
    ]);
  });

  it("names of a service account mean those of the policy's namespace, so other namespaces are not compared", () => {
    const istio = (name: string, namespace: string): Json => ({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name, namespace },
      spec: { rules: [{ from: [{ source: { serviceAccounts: ['web'] } }] }] },
    });
    expect(codes(istio('a', 'shop'), istio('b', 'prod'))).toEqual([]);
    expect(codes(istio('a', 'shop'), istio('b', 'shop'))).toEqual(['duplicate-rule b']);
  });
});

describe('facts that are not all there is', () => {
  const istio = (namespace: string, spec: Json): Json => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'a', namespace },
    spec,
  });
  const service = { targetRefs: [{ group: '', kind: 'Service', name: 'api' }] };
  const selector = { selector: { matchLabels: { app: 'x' } } };
  const facts = { services: ['shop/web'], workloads: [{ namespace: 'shop', labels: { app: 'web' } }] };
  const codes = (namespace: string, spec: Json, complete?: boolean): string[] =>
    lintPolicies([istio(namespace, spec)], options, { ...facts, complete }).map(({ code }) => code);

  it('are not held against namespaces of which nothing is known', () => {
    expect(codes('shop', service, false)).toEqual(['target-unknown']);
    expect(codes('other', service, false)).toEqual([]);
    expect(codes('other', service)).toEqual(['target-unknown']);
    expect(codes('shop', selector, false)).toEqual(['selector-unmatched']);
    expect(codes('other', selector, false)).toEqual([]);
    expect(codes('other', selector)).toEqual(['selector-unmatched']);
    expect(codes('istio-system', selector, false)).toEqual(['selector-unmatched']);
    expect(codes('other', {}, false)).toEqual([]);
    expect(codes('other', {})).toEqual(['namespace-unknown']);
  });

  it('hold for PeerAuthentication and RequestAuthentication too', () => {
    const peer = { ...istio('shop', selector), kind: 'PeerAuthentication' };
    const jwt = { ...istio('shop', service), kind: 'RequestAuthentication' };
    expect(lintPolicies([peer, jwt], options, facts).map(({ code, path }) => [code, path])).toEqual([
      ['selector-unmatched', 'spec.selector.matchLabels'],
      ['target-unknown', 'spec.targetRefs[0].name'],
    ]);
  });
});
