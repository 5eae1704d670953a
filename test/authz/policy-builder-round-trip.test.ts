/** A policy of the builder, and the YAML that it prints, decide alike; both are valid by the schema. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { AuthzEngine, freezeManifest, policyBuilder, policySchemas } from '../../src/authz/index.js';
import type { PolicyDraft } from '../../src/authz/index.js';
import { request } from './naive/arbitraries.js';

const { allow, deny, namespace, service, spiffe, workload } = policyBuilder<{
  workloads: { shop: 'web' | 'api'; prod: 'web' | 'api' };
  services: { prod: 'api'; shop: 'web' };
}>();

const source = fc.oneof(
  fc
    .tuple(fc.constantFrom('shop' as const, 'prod' as const), fc.constantFrom('web' as const, 'api' as const))
    .map(([own, account]) => workload(own, account)),
  fc.constantFrom('shop' as const, 'prod' as const).map((name) => namespace(name)),
  fc
    .constantFrom('spiffe://*/agent/edge-*', 'spiffe://mesh.example/**', 'spiffe://mesh.example/ns/*/sa/web')
    .map((pattern) => spiffe(pattern)),
);
/** Among them text that YAML would read as something else were it not quoted. */
const path = fc.constantFrom('/api/*', '/**', '/', '/x', '/?', "/it's", '/a:b', '/true', '/*/v1/**');
const operation = fc.tuple(
  fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'NO', 'ON', 'NULL'),
  fc.array(path, { maxLength: 3 }),
);
const target = fc.constantFrom(service('prod', 'api'), service('shop', 'web'));

const drafts: fc.Arbitrary<readonly PolicyDraft[]> = fc
  .array(
    fc.record({
      start: fc.constantFrom(allow, deny),
      sources: fc.array(source, { maxLength: 3 }),
      target,
      operations: fc.array(operation, { maxLength: 3 }),
      anyMethod: fc.array(path, { minLength: 1, maxLength: 2 }),
      withAnyMethod: fc.boolean(),
    }),
    { maxLength: 4 },
  )
  .map((list) =>
    list.map((each, index) => {
      let draft = each
        .start(...each.sources)
        .to(each.target)
        .named(`p${String(index)}`);
      for (const [method, paths] of each.operations) draft = draft.method(method, ...paths);
      return each.withAnyMethod ? draft.paths(...each.anyMethod) : draft;
    }),
  );

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
      const options = { trustDomain: 'mesh.example' };
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
  expect(() => allow().to(workload('shop', 'web'))).not.toThrow();
});
