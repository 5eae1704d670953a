/** The engine against the naive evaluator. `MESHWRIGHT_FUZZ_RUNS` sets how many policy sets are tried. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { AuthzEngine } from '../../../src/authz/index.js';
import type { AuthzRequest } from '../../../src/authz/index.js';
import { manyPolicies, options as anyOptions, policies, request } from './arbitraries.js';
import { naiveAllowed } from './evaluator.js';

const numRuns = Number(process.env.MESHWRIGHT_FUZZ_RUNS ?? '400');
const options = {
  defaultAction: 'allow',
  trustDomain: 'mesh.example',
  trustDomainAliases: ['old.example'],
  rootNamespace: 'istio-system',
} as const;
// Not shrunk: the message names the one request that matters.
const many = (count: number): fc.Arbitrary<AuthzRequest[]> =>
  fc.noShrink(fc.array(request, { minLength: count, maxLength: count }));
const requests = many(40);

// Much work on a machine that may be busy; nothing here waits for anything.
vi.setConfig({ testTimeout: 600_000 });

describe('random policies and requests', () => {
  it('the engine agrees with the naive evaluator', () => {
    fc.assert(
      fc.property(policies, requests, anyOptions, (manifests, asked, chosen) => {
        const engine = AuthzEngine.compile(manifests, chosen);
        for (const each of asked) {
          const expected = naiveAllowed(manifests, each, chosen);
          const actual = engine.authorize(each);
          if (actual.allowed !== expected)
            throw new Error(
              `naive says ${String(expected)}, engine ${JSON.stringify(actual)}: ${JSON.stringify(each)}`,
            );
        }
      }),
      { numRuns },
    );
  });

  it('the engine agrees where many policies are indexed, and after some of them changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('ALLOW', 'DENY'),
        manyPolicies,
        manyPolicies,
        many(60),
        async (action, manifests, others, asked) => {
          // One action and one place, so that the rules meet in one index.
          const gather = (list: readonly Record<string, unknown>[], prefix: string): Record<string, unknown>[] =>
            list.map((manifest, index) => {
              const { spec } = manifest as { spec: { meshAuthorization?: object; rules?: unknown[] } };
              const native = manifest.kind === 'ProxyPolicy';
              const body = { ...(spec.meshAuthorization ?? spec) } as { rules?: unknown[] };
              const rules =
                body.rules === undefined || body.rules.length === 0
                  ? [{ to: [native ? { ports: ['80'] } : { operation: { ports: ['80'] } }] }]
                  : body.rules;
              return {
                ...manifest,
                metadata: { name: `${prefix}${String(index)}`, namespace: 'prod' },
                spec: native
                  ? { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'api' }, action, rules }
                  : { action, rules },
              };
            });
          const first = gather(manifests, 'a');
          const second = [...first, ...gather(others, 'b').slice(0, 40)];
          const third = [...second.slice(3), ...gather(others, 'c').slice(0, 3)];
          let engine: AuthzEngine | undefined;
          for (const set of [first, second, third]) {
            engine = await AuthzEngine.compileAsync(set, { ...options, previous: engine });
            const anew = AuthzEngine.compile(set, options);
            for (const each of asked) {
              const placed = { ...each, destination: { ...each.destination, namespace: 'prod', services: ['api'] } };
              const actual = engine.authorize(placed);
              expect(actual).toEqual(anew.authorize(placed));
              if (actual.allowed !== naiveAllowed(set, placed, options))
                throw new Error(`engine ${JSON.stringify(actual)}: ${JSON.stringify(placed)}`);
            }
          }
        },
      ),
      { numRuns: Math.ceil(numRuns / 10) },
    );
  });

  it('what a connection decision promises holds for every request and for none', () => {
    fc.assert(
      fc.property(policies, requests, (manifests, asked) => {
        const engine = AuthzEngine.compile(manifests, options);
        for (const each of asked) {
          // Answers of providers and tokens come with requests; a connection has neither.
          const { http: _http, jwt: _jwt, custom: _custom, ...connection } = each;
          const { verdict, decision } = engine.authorizeConnection(connection);
          expect(decision.allowed).toBe(engine.authorize(connection).allowed);
          if (verdict === 'needs-http') continue;
          expect(decision.action).toBe(verdict);
          if (engine.authorize({ ...each, http: { method: 'GET', path: '/api', ...each.http } }).action !== verdict) {
            throw new Error(`connection ${verdict}, request not: ${JSON.stringify(each)}`);
          }
        }
      }),
      { numRuns },
    );
  });

  it('explain gives the same decision and marks what matched', () => {
    fc.assert(
      fc.property(policies, many(5), (manifests, asked) => {
        const engine = AuthzEngine.compile(manifests, options);
        for (const each of asked) {
          const { decision, considered } = engine.explain(each);
          expect(decision).toEqual(engine.authorize(each));
          // Plaintext that is refused is no matter of rules.
          if (decision.policy === undefined || decision.rule === undefined) continue;
          const by = considered.find(
            ({ policy, rules }) => policy === decision.policy && rules[decision.rule ?? -1]?.matched === true,
          );
          expect(by).toBeDefined();
        }
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    );
  });

  it('recompiling after a change gives the same as compiling anew', async () => {
    await fc.assert(
      fc.asyncProperty(policies, policies, many(20), async (before, after, asked) => {
        const mixed = [
          ...before.slice(0, 2),
          ...after.map((policy, index) => ({
            ...policy,
            metadata: { ...(policy.metadata as object), name: `q${String(index)}` },
          })),
        ];
        const engine = await AuthzEngine.compileAsync(mixed, {
          ...options,
          previous: AuthzEngine.compile(before, options),
        });
        const anew = AuthzEngine.compile(mixed, options);
        for (const each of asked) expect(engine.authorize(each)).toEqual(anew.authorize(each));
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    );
  });
});
