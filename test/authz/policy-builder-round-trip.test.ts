/** A policy of the builder, and the YAML that it prints, decide alike; both are valid by the schema. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { AuthzEngine, freezeManifest, policyBuilder, policySchemas } from '../../src/authz/index.js';
import type { PolicyDraft } from '../../src/authz/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { request } from './naive/arbitraries.js';

const { allow, anyone, both, deny, ip, namespace, node, not, service, spiffe, wholeMesh, wholeNamespace, workload } =
  policyBuilder<{
    workloads: { shop: 'web' | 'api'; prod: 'web' | 'api' };
    services: { prod: 'api'; shop: 'web' };
  }>({ trustDomain: 'mesh.example' });

const plainSource = fc.oneof(
  fc
    .tuple(fc.constantFrom('shop' as const, 'prod' as const), fc.constantFrom('web' as const, 'api' as const))
    .map(([own, account]) => workload(own, account)),
  fc.constantFrom('shop' as const, 'prod' as const).map((name) => namespace(name)),
  fc
    .constantFrom('spiffe://*/agent/edge-*', 'spiffe://mesh.example/**', 'spiffe://mesh.example/ns/*/sa/web')
    .map((pattern) => spiffe(pattern)),
  fc.constantFrom('node-a', 'edge-1').map((name) => node(name)),
  fc.constantFrom('10.0.0.0/24', 'fd00::/16').map((block) => ip(block)),
);
const source = fc.oneof(
  plainSource,
  plainSource.map((each) => not(each)),
  fc.tuple(plainSource, plainSource).map(([one, other]) => both(one, not(other))),
);
/** Among them text that YAML would read as something else were it not quoted. */
const path = fc.constantFrom('/api/*', '/**', '/', '/x', '/?', "/it's", '/a:b', '/true', '/*/v1/**');
const target = fc.constantFrom(service('prod', 'api'), service('shop', 'web'), wholeNamespace('prod'), wholeMesh());

/** One thing that can be said about a policy; none that can be said only once is said twice. */
type Step = (draft: PolicyDraft) => PolicyDraft;
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'NO', 'ON', 'NULL'), fc.array(path, { maxLength: 3 })).map(
    ([method, paths]): Step =>
      (draft) =>
        draft.method(method, ...paths),
  ),
  path.map(
    (each): Step =>
      (draft) =>
        draft.paths(each),
  ),
  path.map(
    (each): Step =>
      (draft) =>
        draft.except({ paths: [each], methods: ['DELETE'] }),
  ),
  fc.constantFrom('prod', 'dev').map(
    (value): Step =>
      (draft) =>
        draft.header('x-env', value),
  ),
  fc.constantFrom('x-env', 'X-B').map(
    (name): Step =>
      (draft) =>
        draft.withoutHeader(name),
  ),
  fc.constantFrom(80, 443).map(
    (port): Step =>
      (draft) =>
        draft.operation({ notPorts: [port], hosts: ['*.example'] }),
  ),
  fc.constantFrom('10.0.0.0/24', '::/0').map(
    (block): Step =>
      (draft) =>
        draft.when('source.ip', block),
  ),
  fc.constantFrom('a', 'b*', '*').map(
    (value): Step =>
      (draft) =>
        draft.whenNot('request.auth.claims[scope]', value),
  ),
);
const extras: fc.Arbitrary<Step> = fc
  .record({
    tier: fc.option(fc.constantFrom(100, 200), { nil: undefined }),
    mode: fc.option(fc.constantFrom('ENFORCE' as const, 'AUDIT' as const), { nil: undefined }),
    ends: fc.constantFrom('never', 'never', '2030-01-01T00:00:00Z', '2020-01-01T00:00:00+02:00'),
    ports: fc.boolean(),
  })
  .map(({ tier, mode, ends, ports }): Step => (draft) => {
    let next = tier === undefined ? draft : draft.tier(tier);
    if (mode !== undefined) next = next.mode(mode);
    if (ends !== 'never' && draft.manifest().spec.meshAuthorization.action === 'ALLOW')
      next = next.until(ends, { owner: 'yes', reason: '# no comment: 1' });
    return ports ? next.ports(80, 8080) : next;
  });

const drafts: fc.Arbitrary<readonly PolicyDraft[]> = fc
  .array(
    fc.record({
      start: fc.constantFrom(allow, deny),
      sources: fc.option(fc.tuple(source, source), { nil: undefined }),
      target,
      steps: fc.array(step, { maxLength: 5 }),
      extra: extras,
    }),
    { maxLength: 4 },
  )
  .map((list) =>
    list.map(({ start, sources, target: place, steps, extra }, index) => {
      const draft = (sources === undefined ? start(anyone()) : start(...sources)).to(place).named(`p${String(index)}`);
      return extra(steps.reduce((each, next) => next(each), draft));
    }),
  );

const clock = new FakeClock({ start: new Date('2027-01-01T00:00:00Z') });
const validate = new Ajv2020({ strict: false }).compile(policySchemas.ProxyPolicy ?? false);

it('builder, YAML and back: the same manifest, valid, and the same decisions', () => {
  const requests = fc.noShrink(fc.array(request, { minLength: 30, maxLength: 30 }));
  let decided = 0;
  fc.assert(
    fc.property(drafts, requests, (list, asked) => {
      const built = list.map((draft) => freezeManifest(draft.manifest()));
      const parsed = list.map((draft) => parse(String(draft)) as unknown);
      expect(parsed).toEqual(built);
      for (const manifest of parsed) expect(validate(manifest), JSON.stringify(validate.errors)).toBe(true);
      const options = { trustDomain: 'mesh.example', dialects: { meshwright: true }, clock };
      const first = AuthzEngine.compile(built, options);
      const second = AuthzEngine.compile(parsed, options);
      for (const each of asked) {
        const decision = first.authorize(each);
        expect(second.authorize(each)).toEqual(decision);
        if (decision.policy !== undefined) decided += 1;
      }
    }),
    { numRuns: 120 },
  );
  expect(decided).toBeGreaterThan(50);
});

it('a name that the mesh does not have is a type error', () => {
  // @ts-expect-error web runs in shop and prod only
  expect(workload('staging', 'web')).toBeDefined();
  // @ts-expect-error no such service account
  expect(workload('shop', 'root')).toBeDefined();
  // @ts-expect-error the service api is in prod
  expect(service('shop', 'api')).toBeDefined();
  // @ts-expect-error no such namespace
  expect(namespace('Shop')).toBeDefined();
  // @ts-expect-error a service is no source
  expect(() => allow(service('prod', 'api')).to(service('prod', 'api'))).not.toThrow();
  // @ts-expect-error a source is no target
  expect(() => allow(anyone()).to(workload('shop', 'web'))).not.toThrow();
});
