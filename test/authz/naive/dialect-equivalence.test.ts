/** The meshwright dialect against the naive evaluator. `MESHWRIGHT_FUZZ_RUNS` sets how many policy sets are tried. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { AuthzEngine } from '../../../src/authz/index.js';
import type { AuthzRequest } from '../../../src/authz/index.js';
import { FakeClock } from '../../../src/testing/fake-clock.js';
import { dialectPolicies, instants, policies, request } from './arbitraries.js';
import { naiveAllowed } from './evaluator.js';

const numRuns = Number(process.env.MESHWRIGHT_FUZZ_RUNS ?? '400');
const common = {
  trustDomain: 'mesh.example',
  trustDomainAliases: ['old.example'],
  rootNamespace: 'istio-system',
} as const;
const requests = fc.noShrink(fc.array(request, { minLength: 30, maxLength: 30 }));
const audit = fc.constantFrom<'all' | readonly string[]>([], [], ['prod'], 'all');
const defaultAction = fc.constantFrom('allow' as const, 'deny' as const);
/** Just before and at each end. */
const times = instants.flatMap((text) => [Date.parse(text) - 1, Date.parse(text)]);

vi.setConfig({ testTimeout: 600_000 });

describe('the meshwright dialect', () => {
  it('the engine agrees with the naive evaluator at every moment, without compiling anew, enforced and observed', () => {
    let byTier = 0;
    let wouldDiffer = 0;
    let ended = 0;
    fc.assert(
      fc.property(dialectPolicies, requests, defaultAction, audit, (manifests, asked, action, observed) => {
        const clock = new FakeClock({ start: 0 });
        const options = { ...common, defaultAction: action, audit: observed };
        const engine = AuthzEngine.compile(manifests, { ...options, dialects: { meshwright: true }, clock });
        let before: readonly boolean[] | undefined;
        for (const nowMs of times) {
          clock.jumpWall(nowMs - clock.now());
          const now = asked.map((each: AuthzRequest): boolean => {
            const decision = engine.authorize(each);
            const expected = naiveAllowed(manifests, each, { ...options, nowMs });
            const shadow = naiveAllowed(manifests, each, { ...options, nowMs, shadow: true });
            if (decision.allowed !== expected || (decision.dryRun ?? decision).allowed !== shadow)
              throw new Error(
                `naive says ${String(expected)} and ${String(shadow)}, engine ${JSON.stringify(decision)}: ${JSON.stringify(each)}`,
              );
            if (/ in tier /.test(decision.reason)) byTier += 1;
            if (decision.dryRun !== undefined && decision.dryRun.allowed !== decision.allowed) wouldDiffer += 1;
            return decision.allowed;
          });
          // Time alone never opens anything.
          now.forEach((allowed, index) => {
            if (before === undefined || before[index] === allowed) return;
            expect(allowed).toBe(false);
            ended += 1;
          });
          before = now;
        }
      }),
      { numRuns },
    );
    expect(Math.min(byTier, wouldDiffer, ended)).toBeGreaterThan(10);
  });

  it('what a connection decision promises holds for every request and for none', () => {
    fc.assert(
      fc.property(dialectPolicies, requests, (manifests, asked) => {
        const clock = new FakeClock({ start: times[1] ?? 0 });
        const engine = AuthzEngine.compile(manifests, { ...common, dialects: { meshwright: true }, clock });
        for (const each of asked) {
          const { http: _http, jwt: _jwt, custom: _custom, ...connection } = each;
          const { verdict, decision } = engine.authorizeConnection(connection);
          expect(decision.allowed).toBe(engine.authorize(connection).allowed);
          if (verdict === 'needs-http') continue;
          expect(decision.action).toBe(verdict);
          for (const http of [
            { method: 'GET', path: '/api' },
            { method: 'POST', path: '/admin/v1', host: 'shop.example', headers: { 'x-env': 'prod' } },
            ...(each.http === undefined ? [] : [each.http]),
          ])
            if (engine.authorize({ ...each, http }).action !== verdict)
              throw new Error(`connection ${verdict}, request not: ${JSON.stringify({ ...each, http })}`);
        }
      }),
      { numRuns },
    );
  });

  it('explain gives the same decision and marks what matched', () => {
    fc.assert(
      fc.property(dialectPolicies, requests, (manifests, asked) => {
        const clock = new FakeClock({ start: times[3] ?? 0 });
        const engine = AuthzEngine.compile(manifests, { ...common, dialects: { meshwright: true }, clock });
        for (const each of asked.slice(0, 5)) {
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

  it('policies without its fields, and all of Istio, mean the same with it and without', () => {
    fc.assert(
      fc.property(policies, requests, audit, (manifests, asked, observed) => {
        const plain = AuthzEngine.compile(manifests, common);
        const opted = AuthzEngine.compile(manifests, { ...common, dialects: { meshwright: true } });
        const istio = manifests.filter(({ kind }) => kind === 'AuthorizationPolicy');
        const alone = AuthzEngine.compile(istio, common);
        const audited = AuthzEngine.compile(istio, { ...common, dialects: { meshwright: true }, audit: observed });
        for (const each of asked) {
          expect(opted.authorize(each)).toEqual(plain.authorize(each));
          expect(audited.authorize(each)).toEqual(alone.authorize(each));
        }
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    );
  });

  it('no tier lets through what a CUSTOM policy or a DENY without a tier refuses', () => {
    fc.assert(
      fc.property(dialectPolicies, requests, (manifests, asked) => {
        const clock = new FakeClock({ start: 0 });
        const engine = AuthzEngine.compile(manifests, { ...common, dialects: { meshwright: true }, clock });
        const absolute = manifests.filter(({ spec }) => {
          const { meshAuthorization, ...flat } = spec as { meshAuthorization?: { tier?: number }; tier?: number };
          return (meshAuthorization ?? flat).tier === undefined;
        });
        const without = AuthzEngine.compile(absolute, { ...common, dialects: { meshwright: true }, clock });
        for (const each of asked) {
          const { action, policy } = without.authorize(each);
          if (action === 'deny' && policy !== undefined) expect(engine.authorize(each).allowed).toBe(false);
        }
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    );
  });
});
