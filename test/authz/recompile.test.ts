/** Compiling again after a change: the same as compiling anew, whatever was taken over. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { AuthzCompileError, AuthzEngine, freezeManifest } from '../../src/authz/index.js';
import type { AuthzRequest } from '../../src/authz/index.js';
import { manyPolicies, request } from './naive/arbitraries.js';
import { naiveAllowed } from './naive/evaluator.js';

vi.setConfig({ testTimeout: 600_000 });

type Manifest = Record<string, unknown> & { metadata: { name: string }; spec: { rules: unknown[] } };
function policy(name: string, action = 'DENY', namespace = 'shop'): Manifest {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec: { action, rules: [{ to: [{ operation: { ports: [String(1000 + Number(name.replace(/\D/g, '')))] } }] }] },
  } as unknown as Manifest;
}
const at = (port: number, namespace = 'shop'): AuthzRequest => ({ source: {}, destination: { namespace, port } });
const list = (count: number): Manifest[] => Array.from({ length: count }, (_, index) => policy(`p${String(index)}`));
const openPorts = { to: [{ operation: { ports: ['9'] } }] };

describe.each([
  ['frozen manifests', freezeManifest],
  ['manifests that could change', <T>(manifest: T): T => manifest],
])('with %s', (_name, make) => {
  const manifests = list(100).map(make);

  it('one policy changed, removed, added, moved, or renamed', async () => {
    const first = await AuthzEngine.compileAsync(manifests);
    const changed = make({ ...policy('p50'), spec: { action: 'DENY', rules: [openPorts] } });
    const cases: [readonly unknown[], number, boolean][] = [
      [[...manifests.slice(0, 50), changed, ...manifests.slice(51)], 1050, true],
      [[...manifests.slice(0, 50), changed, ...manifests.slice(51)], 9, false],
      [[...manifests.slice(0, 50), ...manifests.slice(51)], 1050, true],
      [[...manifests.slice(0, 50), ...manifests.slice(51)], 1099, false],
      [[make(policy('p200')), ...manifests], 1200, false],
      [[make(policy('p200')), ...manifests], 1000, false],
      [[...manifests, make(policy('p201'))], 1201, false],
      [[...manifests].reverse(), 1050, false],
      [[...manifests.slice(1), make({ ...policy('p0'), metadata: { name: 'q', namespace: 'shop' } })], 1000, false],
      [[], 1050, true],
    ];
    for (const [next, port, allowed] of cases) {
      const engine = await AuthzEngine.compileAsync(next, { previous: first });
      expect(engine.authorize(at(port))).toEqual(AuthzEngine.compile(next).authorize(at(port)));
      expect(engine.authorize(at(port)).allowed).toBe(allowed);
    }
    // The engine that was taken from goes on as before.
    expect(first.authorize(at(1050)).allowed).toBe(false);
    expect(first.authorize(at(9)).allowed).toBe(true);
  });

  it('the same manifest twice is an error, even when it was compiled before', async () => {
    const previous = AuthzEngine.compile(manifests);
    for (const next of [
      [...manifests, manifests[7]],
      [manifests[7], ...manifests],
    ]) {
      const error = await AuthzEngine.compileAsync(next, { previous }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(AuthzCompileError);
      expect(error).toMatchObject({ problems: [{ code: 'duplicate-policy' }] });
    }
  });

  it('the last policy of a namespace leaves nothing behind', async () => {
    const alone = make(policy('p1', 'ALLOW', 'other'));
    const first = await AuthzEngine.compileAsync([...manifests, alone]);
    expect(first.authorize(at(5, 'other')).allowed).toBe(false);
    const second = await AuthzEngine.compileAsync(manifests, { previous: first });
    expect(second.authorize(at(5, 'other')).allowed).toBe(true);
    const third = await AuthzEngine.compileAsync([...manifests, alone], { previous: second });
    expect(third.authorize(at(5, 'other')).allowed).toBe(false);
  });

  it('other options take nothing over', async () => {
    const previous = AuthzEngine.compile(manifests);
    const engine = await AuthzEngine.compileAsync(manifests, { previous, rootNamespace: 'shop' });
    expect(engine.authorize(at(1050, 'other')).allowed).toBe(false);
  });

  it('warnings of what was taken over are told again', async () => {
    const doubtful = make({
      ...policy('doubtful'),
      spec: { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/a/*/b'] } }] }] },
    });
    const previous = AuthzEngine.compile([...manifests, doubtful]);
    const engine = await AuthzEngine.compileAsync([...manifests, doubtful], { previous });
    expect(previous.problems).toMatchObject([{ code: 'inner-star' }]);
    expect(engine.problems).toEqual(previous.problems);
  });
});

it('a manifest changed in place is noticed', async () => {
  const manifests = list(100);
  const first = await AuthzEngine.compileAsync(manifests);
  manifests[50]?.spec.rules.push(openPorts);
  const second = await AuthzEngine.compileAsync(manifests, { previous: first });
  expect(second.authorize(at(9)).allowed).toBe(false);
  manifests[50]?.spec.rules.pop();
  const third = await AuthzEngine.compileAsync(manifests, { previous: second });
  expect(third.authorize(at(9)).allowed).toBe(true);
});

it('what would be the same as text and is not the same is compiled again', async () => {
  const manifests = list(100);
  const previous = await AuthzEngine.compileAsync(manifests);
  const next = [...manifests];
  next[3] = { ...policy('p3'), misspelt: undefined };
  await expect(AuthzEngine.compileAsync(next, { previous })).rejects.toBeInstanceOf(AuthzCompileError);
});

it('random changes, one after another, of many policies', async () => {
  await fc.assert(
    fc.asyncProperty(
      manyPolicies,
      manyPolicies,
      fc.noShrink(
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.constantFrom('add', 'remove', 'change', 'move')), {
          minLength: 6,
          maxLength: 12,
        }),
      ),
      fc.noShrink(fc.array(request, { minLength: 25, maxLength: 25 })),
      async (start, others, edits, asked) => {
        const options = {
          trustDomain: 'mesh.example',
          trustDomainAliases: ['old.example'],
          rootNamespace: 'istio-system',
          defaultAction: 'allow',
        } as const;
        const named = (manifest: Record<string, unknown>, name: string): Record<string, unknown> => ({
          ...manifest,
          metadata: { ...(manifest.metadata as object), name },
        });
        let manifests = [...start, ...start.map((each, index) => named(each, `copy${String(index)}`))];
        let engine = AuthzEngine.compile(manifests, options);
        for (const [step, [where, which, edit]] of edits.entries()) {
          const place = where % manifests.length;
          const other = others[which % others.length] ?? {};
          const known = manifests[place] ?? {};
          const next = [...manifests];
          if (edit === 'add') next.splice(place, 0, named(other, `new${String(step)}`));
          else if (edit === 'remove') next.splice(place, 1);
          else if (edit === 'change')
            next[place] = {
              ...known,
              spec: other.spec,
              kind: other.kind,
              apiVersion: other.apiVersion,
              metadata: { ...(other.metadata as object), name: `changed${String(step)}` },
            };
          else next.push(...next.splice(place, 1));
          manifests = next;
          engine = await AuthzEngine.compileAsync(manifests, { ...options, previous: engine });
          const anew = AuthzEngine.compile(manifests, options);
          for (const each of asked) {
            const decision = engine.authorize(each);
            expect(decision).toEqual(anew.authorize(each));
            if (step === edits.length - 1) expect(decision.allowed).toBe(naiveAllowed(manifests, each, options));
          }
        }
      },
    ),
    { numRuns: Math.ceil(Number(process.env.MESHWRIGHT_FUZZ_RUNS ?? '400') / 20) },
  );
});
