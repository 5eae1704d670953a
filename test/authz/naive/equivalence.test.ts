/** The engine against the naive evaluator. `MESHWRIGHT_FUZZ_RUNS` sets how many policy sets are tried. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuthzEngine } from '../../../src/authz/index.js';
import type { AuthzRequest } from '../../../src/authz/index.js';
import { policies, request } from './arbitraries.js';
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

describe('random policies and requests', () => {
  it('the engine agrees with the naive evaluator', () => {
    fc.assert(
      fc.property(policies, requests, fc.constantFrom('allow', 'deny'), (manifests, asked, defaultAction) => {
        const engine = AuthzEngine.compile(manifests, { ...options, defaultAction });
        for (const each of asked) {
          const expected = naiveAllowed(manifests, each, { ...options, defaultAction });
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
          if (decision.policy === undefined) continue;
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
