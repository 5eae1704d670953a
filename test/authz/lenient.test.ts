/** `lenient` may drop a bad policy only when dropping cannot allow more. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { AuthzCompileError, AuthzEngine } from '../../src/authz/index.js';
import type { AuthzOptions, AuthzRequest } from '../../src/authz/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { dialectPolicies, policies, request } from './naive/arbitraries.js';

vi.setConfig({ testTimeout: 600_000 });

type Json = Record<string, unknown>;
const numRuns = Number(process.env.MESHWRIGHT_FUZZ_RUNS ?? '1500');
const options: AuthzOptions = {
  trustDomain: 'mesh.example',
  rootNamespace: 'istio-system',
  dialects: { meshwright: true },
  clock: new FakeClock({ start: 0 }),
};

/** Every place in a manifest, those in rules a few times so that they are as likely as the few others. */
function places(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[...at, key], ...places(inner, [...at, key])]);
}

function changed(original: Json, at: readonly string[], change: 'replace' | 'rename' | 'remove', value: unknown): Json {
  const copy = structuredClone(original);
  let holder = copy;
  for (const key of at.slice(0, -1)) holder = holder[key] as Json;
  const key = at.at(-1) ?? '';
  if (change === 'replace') holder[key] = value;
  else {
    if (change === 'rename' && !Array.isArray(holder)) holder[`${key}x`] = holder[key];
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else Reflect.deleteProperty(holder, key);
  }
  return copy;
}

const junk = fc.constantFrom<unknown>(
  null,
  0,
  '',
  'x',
  '*',
  [],
  {},
  [''],
  [{}],
  'ALLOW',
  'DENY',
  'true',
  'spiffe://a/b',
);

function compiled(manifests: readonly unknown[], extra: AuthzOptions = {}): AuthzEngine | undefined {
  try {
    return AuthzEngine.compile(manifests, { ...options, ...extra });
  } catch (error) {
    if (error instanceof AuthzCompileError) return undefined;
    throw error;
  }
}

/** The rules of a manifest replaced; the rest as it is. */
function withRules(manifest: Json, rules: unknown): Json {
  const copy = structuredClone(manifest);
  const spec = copy.spec as Json;
  ((spec.meshAuthorization as Json | undefined) ?? spec).rules = rules;
  return copy;
}
const rulesOf = (manifest: Json): unknown => {
  const spec = manifest.spec as Json;
  return ((spec.meshAuthorization as Json | undefined) ?? spec).rules;
};

describe('lenient', () => {
  it('never allows what the policies would refuse with the bad one corrected, however it is corrected', () => {
    let lenientOnes = 0;
    let closed = 0;
    const scenario = fc
      .oneof(policies, dialectPolicies)
      .filter((list) => list.length > 0)
      .chain((manifests) =>
        fc
          .record({ index: fc.nat({ max: manifests.length - 1 }), donor: fc.nat({ max: manifests.length - 1 }) })
          .chain(({ index, donor }) => {
            // A namespace that reads well is taken as written: nobody's policy is read as one of another namespace.
            const all = places(manifests[index]).filter((at) => at.join('.') !== 'metadata.namespace');
            const outside = all.filter((at) => !at.includes('rules'));
            return fc.record({
              manifests: fc.constant(manifests),
              index: fc.constant(index),
              donor: fc.constant(donor),
              at: fc.oneof(fc.constantFrom(...all), fc.constantFrom(...outside)),
              change: fc.constantFrom('replace', 'rename', 'remove'),
              value: junk,
            });
          }),
      );
    const requests = fc.noShrink(fc.array(request, { minLength: 25, maxLength: 25 }));
    fc.assert(
      fc.property(scenario, requests, ({ manifests, index, donor, at, change, value }, asked: AuthzRequest[]) => {
        const original = manifests[index] ?? {};
        const set = (each: Json): Json[] => manifests.map((other, place) => (place === index ? each : other));
        const broken = set(changed(original, at, change, value));
        if (compiled(broken) !== undefined) return;
        const lenient = compiled(broken, { lenient: true });
        if (lenient === undefined) return;
        lenientOnes += 1;
        const other = manifests[donor] ?? {};
        const corrections = [
          original,
          ...(at.includes('rules')
            ? [
                withRules(original, [{}]),
                withRules(original, []),
                ...(other.kind === original.kind ? [withRules(original, rulesOf(other))] : []),
              ]
            : []),
        ].flatMap((each) => compiled(set(each)) ?? []);
        for (const each of asked) {
          if (!lenient.authorize(each).allowed) {
            closed += 1;
            continue;
          }
          for (const engine of corrections)
            if (!engine.authorize(each).allowed)
              throw new Error(
                `lenient allows (${lenient.authorize(each).reason}), corrected refuses (${engine.authorize(each).reason}): ${JSON.stringify(each)}`,
              );
        }
      }),
      { numRuns },
    );
    expect(Math.min(lenientOnes, closed)).toBeGreaterThan(numRuns / 10);
  });

  const native = (spec: Json, namespace = 'shop', name = 'p'): Json => ({
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name, namespace },
    spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'web' }, ...spec },
  });
  const istio = (spec: Json, metadata: Json = {}): Json => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'i', namespace: 'shop', ...metadata },
    spec,
  });
  const to = (services: string[], namespace = 'shop'): AuthzRequest => ({
    source: { principal: 'spiffe://mesh.example/ns/shop/sa/a', node: 'spiffe://mesh.example/agent/n' },
    destination: { namespace, services, labels: {}, port: 80 },
  });
  const bad = { rules: [{ from: [{ namespace: ['shop'] }] }] };

  it.each<[string, Json[], string, boolean, boolean]>([
    [
      'an ALLOW closes its target and nothing else',
      [native({ action: 'ALLOW', ...bad })],
      'no rule matched',
      false,
      true,
    ],
    ['a DENY denies its target and nothing else', [native({ action: 'DENY', ...bad })], 'has errors', false, true],
    ['so does one without a readable action', [native({ action: 'deny', rules: [{}] })], 'has errors', false, true],
    ['and a CUSTOM', [istio({ action: 'CUSTOM', provider: { name: 'p' }, ...bad })], 'has errors', false, false],
    [
      'without a readable target its namespace',
      [native({ action: 'DENY', targetRef: {} })],
      'has errors',
      false,
      false,
    ],
    ['a misspelt action is no ALLOW', [istio({ actoin: 'DENY', rules: [{}] })], 'has errors', false, false],
    ['an AUDIT is left out', [istio({ action: 'AUDIT', ...bad })], 'no policy applies', true, true],
    [
      'a dry run is left out',
      [istio({ action: 'DENY', ...bad }, { annotations: { 'istio.io/dry-run': 'true' } })],
      'no policy applies',
      true,
      true,
    ],
    [
      'a malformed dry run is none',
      [istio({ action: 'DENY', rules: [{}] }, { annotations: { 'istio.io/dry-run': 'yes' } })],
      'has errors',
      false,
      false,
    ],
    [
      'the second of two with one name',
      [native({ action: 'ALLOW', rules: [{}] }), native({ action: 'DENY', rules: [{}] })],
      'has errors',
      false,
      true,
    ],
    [
      'another ALLOW still allows',
      [native({ action: 'ALLOW', ...bad }), native({ action: 'ALLOW', rules: [{}] }, 'shop', 'q')],
      'allowed by shop/q',
      true,
      true,
    ],
  ])('%s', (_title, manifests, reason, web, other) => {
    const engine = AuthzEngine.compile(manifests, { ...options, lenient: true });
    const decision = engine.authorize(to(['shop/web']));
    expect(decision.reason).toContain(reason);
    expect([decision.allowed, engine.authorize(to(['shop/other'])).allowed]).toEqual([web, other]);
    expect(engine.authorize(to([], 'elsewhere')).allowed).toBe(true);
    expect(engine.problems.map(({ code }) => code)).toContain('policy-quarantined');
    expect(engine.problems.some(({ severity }) => severity === 'error')).toBe(true);
  });

  it('a service of the namespace is denied wherever its pods are', () => {
    const engine = AuthzEngine.compile([native({ action: 'DENY', targetRef: 'web' })], { ...options, lenient: true });
    expect(engine.authorize(to(['shop/any'], 'elsewhere')).allowed).toBe(false);
    expect(engine.authorize(to(['elsewhere/any'], 'elsewhere')).allowed).toBe(true);
  });

  it.each<[string, unknown]>([
    ['no manifest at all', 'text'],
    ['an unknown kind', { ...native({ action: 'ALLOW' }), kind: 'Policy' }],
    ['an unknown version', { ...native({ action: 'ALLOW' }), apiVersion: 'novaedge.io/v2' }],
    ['an unreadable namespace', native({ action: 'ALLOW' }, 'Shop')],
    ['PeerAuthentication', { ...istio({ mtls: { mode: 'strict' } }), kind: 'PeerAuthentication' }],
    ['RequestAuthentication', { ...istio({ jwtRules: [{}] }), kind: 'RequestAuthentication' }],
  ])('still throws for %s', (_title, manifest) => {
    expect(() => AuthzEngine.compile([manifest], { ...options, lenient: true })).toThrow(AuthzCompileError);
  });
});
