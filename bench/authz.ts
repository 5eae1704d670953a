/** The authorization engine beside casbin and Cedar: decisions per second, compilation, and growth with hostile input. */
import { AuthzEngine, freezeManifest } from 'meshwright/authz';
import type { AuthzRequest } from 'meshwright/authz';
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { newEnforcer, newModel } from 'casbin';
import { compare } from './support.js';

const json = process.argv.includes('--json');
const rulesPerPolicy = 10;

function say(title: string, rows: readonly Readonly<Record<string, string | number>>[]): void {
  if (json) process.stdout.write(`${JSON.stringify({ title, rows })}\n`);
  else {
    process.stdout.write(`\n${title}\n`);
    for (const row of rows)
      process.stdout.write(
        `  ${Object.entries(row)
          .map(([name, value]) => `${name}: ${value}`)
          .join('  ')}\n`,
      );
  }
}

const service = (index: number): string => `shop/service-${index}`;

/** One policy for each service: ten namespaces may call it, each on its own method and path when `http`. */
function native(index: number, http: boolean): unknown {
  return {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name: `clients-${index}`, namespace: 'shop' },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: `service-${index}` },
      meshAuthorization: {
        action: 'ALLOW',
        rules: Array.from({ length: rulesPerPolicy }, (_, rule) => ({
          from: [{ namespaces: [`team-${rule}`] }],
          ...(http ? { to: [{ methods: ['GET', 'POST'], paths: [`/api/v${rule}/*`, `/health-${rule}`] }] } : {}),
        })),
      },
    },
  };
}

/** The shape of ztunnel's own benchmark: mesh-wide DENY policies with many kinds of terms, none of which matches. */
function ztunnelShape(index: number): unknown {
  const patterns = ['random-prefix-2b123/*', '*random-postix-2b723'];
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `policy-${index}`, namespace: 'istio-system' },
    spec: {
      action: 'DENY',
      rules: Array.from({ length: rulesPerPolicy }, () => ({
        from: [
          {
            source: {
              namespaces: ['random-prefix-2b123*', '*random-postix-2b723', 'random-exac-2bc13'],
              principals: [...patterns, 'td/ns/random/sa/exact'],
              ipBlocks: ['198.51.100.0/24'],
            },
          },
        ],
        to: [{ operation: { ports: ['1'] } }],
        when: [{ key: 'destination.ip', values: ['198.51.100.0/24'] }],
      })),
    },
  };
}

/** All different; about half are allowed. */
function requests(count: number, policies: number, http: boolean): AuthzRequest[] {
  return Array.from({ length: count }, (_, index) => ({
    source: {
      principal: `spiffe://cluster.local/ns/team-${index % 20}/sa/account-${index % 97}`,
      node: `spiffe://cluster.local/agent/node-${index % 13}`,
      ip: `10.${index % 200}.${(index >> 8) % 250}.${index % 250}`,
    },
    destination: {
      namespace: 'shop',
      services: [service(index % policies)],
      ip: `10.250.0.${index % 250}`,
      port: 8000 + (index % 1000),
    },
    ...(http ? { http: { method: index % 3 === 0 ? 'POST' : 'GET', path: `/api/v${index % 20}/item-${index}` } } : {}),
  }));
}

function engineContender(
  name: string,
  manifests: readonly unknown[],
  asked: readonly AuthzRequest[],
): { name: string; run: () => { units: number } } {
  const engine = AuthzEngine.compile(manifests, { trustDomain: 'cluster.local' });
  return {
    name,
    run: () => {
      let allowed = 0;
      for (let round = 0; round < 4; round += 1)
        for (const request of asked) if (engine.authorize(request).allowed) allowed += 1;
      return { units: allowed >= 0 ? 4 * asked.length : 0 };
    },
  };
}

const distinct = 50_000;
const many = (count: number, make: (index: number) => unknown): unknown[] =>
  Array.from({ length: count }, (_, index) => make(index));

await compare({
  title: 'L4 decisions, hits and misses mixed',
  unit: 'decision',
  contenders: [
    engineContender(
      '10 policies',
      many(10, (index) => native(index, false)),
      requests(distinct, 10, false),
    ),
    engineContender(
      '10,000 policies, one for each service',
      many(10_000, (index) => native(index, false)),
      requests(distinct, 10_000, false),
    ),
    engineContender(
      "10,000 mesh-wide policies, ztunnel's shape",
      many(10_000, ztunnelShape),
      requests(distinct, 10, false),
    ),
  ],
});

await compare({
  title: 'L7 decisions, hits and misses mixed',
  unit: 'decision',
  contenders: [
    engineContender(
      '10 policies',
      many(10, (index) => native(index, true)),
      requests(distinct, 10, true),
    ),
    engineContender(
      '10,000 policies, one for each service',
      many(10_000, (index) => native(index, true)),
      requests(distinct, 10_000, true),
    ),
  ],
});

// The peers get the same question in their own words: may this namespace call this method and path of this service?
const casbinModel = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && r.act == p.act
`;

async function casbinContender(rules: number): Promise<{ name: string; run: () => Promise<{ units: number }> }> {
  const enforcer = await newEnforcer(newModel(casbinModel));
  await enforcer.addPolicies(many(rules, (index) => [`team-${index}`, `/api/v${index}/*`, 'GET']) as string[][]);
  const units = rules > 100 ? 300 : 5_000;
  return {
    name: `casbin, ${rules} rules`,
    run: async () => {
      for (let index = 0; index < units; index += 1)
        await enforcer.enforce(`team-${index % (2 * rules)}`, `/api/v${index % (2 * rules)}/item-${index}`, 'GET');
      return { units };
    },
  };
}

function cedarContender(rules: number): { name: string; run: () => { units: number } } {
  const policies = many(
    rules,
    (index) =>
      `permit(principal == Team::"team-${index}", action == Action::"GET", resource) when { context.path like "/api/v${index}/*" };`,
  ).join('\n');
  const name = `set-${rules}`;
  const parsed = cedar.preparsePolicySet(name, { staticPolicies: policies });
  if (parsed.type !== 'success') throw new Error(JSON.stringify(parsed));
  const units = rules > 100 ? 200 : 2_000;
  return {
    name: `cedar, ${rules} rules`,
    run: () => {
      for (let index = 0; index < units; index += 1) {
        const answer = cedar.statefulIsAuthorized({
          principal: { type: 'Team', id: `team-${index % (2 * rules)}` },
          action: { type: 'Action', id: 'GET' },
          resource: { type: 'Service', id: 'api' },
          context: { path: `/api/v${index % (2 * rules)}/item-${index}` },
          preparsedPolicySetId: name,
          entities: [],
          validateRequest: false,
        });
        if (answer.type !== 'success') throw new Error(JSON.stringify(answer));
      }
      return { units };
    },
  };
}

function sameQuestion(rules: number): { name: string; run: () => { units: number } } {
  const manifest = {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name: 'clients', namespace: 'shop' },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: 'service-0' },
      action: 'ALLOW',
      rules: many(rules, (index) => ({
        from: [{ namespaces: [`team-${index}`] }],
        to: [{ methods: ['GET'], paths: [`/api/v${index}/*`] }],
      })),
    },
  };
  const asked = many(distinct, (index) => ({
    source: { principal: `spiffe://cluster.local/ns/team-${index % (2 * rules)}/sa/any` },
    destination: { namespace: 'shop', services: [service(0)] },
    http: { method: 'GET', path: `/api/v${index % (2 * rules)}/item-${index}` },
  })) as AuthzRequest[];
  return engineContender(`meshwright, ${rules} rules`, [manifest], asked);
}

for (const rules of [10, 1_000]) {
  await compare({
    title: `the same question to each, ${rules} rules`,
    unit: 'decision',
    rounds: 3,
    contenders: [sameQuestion(rules), await casbinContender(rules), cedarContender(rules)],
  });
}

/** Milliseconds of the fastest of a few runs. */
async function fastest(runs: number, work: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run += 1) {
    const start = performance.now();
    await work();
    best = Math.min(best, performance.now() - start);
  }
  return Number(best.toFixed(1));
}

{
  const rows: Record<string, string | number>[] = [];
  for (const [shape, make] of [
    ['one for each service', (index: number) => native(index, true)],
    ["ztunnel's shape", ztunnelShape],
  ] as const) {
    const manifests = many(10_000, (index) => freezeManifest(make(index)));
    const compileMs = await fastest(3, () => AuthzEngine.compile(manifests));
    let previous = await AuthzEngine.compileAsync(manifests);
    let change = 0;
    const changed = (): unknown[] => {
      change += 1;
      const next = [...manifests];
      next[change] = freezeManifest(make(20_000 + change));
      return next;
    };
    const recompileMs = await fastest(5, async () => {
      previous = await AuthzEngine.compileAsync(changed(), { previous });
    });
    rows.push({
      shape,
      rules: 10_000 * rulesPerPolicy,
      'compile ms': compileMs,
      'recompile after one change ms': recompileMs,
      'heap MB': Math.round(process.memoryUsage().heapUsed / 1e6),
    });
  }
  say('compilation of 10,000 policies with 10 rules each', rows);
}

{
  const engineFor = (to: object): AuthzEngine =>
    AuthzEngine.compile([
      {
        ...(native(0, false) as object),
        spec: {
          type: 'MeshAuthorization',
          targetRef: { kind: 'Service', name: 'service-0' },
          action: 'ALLOW',
          rules: [{ to: [to] }],
        },
      },
    ]);
  const ask = (http: NonNullable<AuthzRequest['http']>): AuthzRequest => ({
    source: {},
    destination: { namespace: 'shop', services: [service(0)] },
    http,
  });
  const cases: readonly (readonly [string, (size: number) => () => unknown])[] = [
    [
      'stars in one segment',
      (size) => {
        const engine = engineFor({ paths: [`/${'*a'.repeat(8)}b`] });
        const request = ask({ method: 'GET', path: `/${'a'.repeat(size)}` });
        return () => engine.authorize(request);
      },
    ],
    [
      '** between segments',
      (size) => {
        const engine = engineFor({ paths: [`${'/**/a'.repeat(8)}/b`] });
        const request = ask({ method: 'GET', path: '/a'.repeat(size) });
        return () => engine.authorize(request);
      },
    ],
    [
      'dot segments',
      (size) => {
        const engine = engineFor({ paths: ['/x'] });
        const request = ask({ method: 'GET', path: '/a/..'.repeat(size) });
        return () => engine.authorize(request);
      },
    ],
    [
      'values of one field',
      (size) => {
        const engine = engineFor({ paths: many(size, (index) => `/v${index}*x`) });
        const request = ask({ method: 'GET', path: '/nothing' });
        return () => engine.authorize(request);
      },
    ],
    [
      'headers',
      (size) => {
        const engine = engineFor({ headers: [{ name: 'x', values: ['y'] }] });
        const request = ask({
          method: 'GET',
          path: '/',
          headers: Object.fromEntries(many(size, (index) => [`h-${index}`, 'v']) as [string, string][]),
        });
        return () => engine.authorize(request);
      },
    ],
  ];
  const rows: Record<string, string | number>[] = [];
  for (const [name, make] of cases) {
    const row: Record<string, string | number> = { input: name };
    for (const size of [500, 1_000, 2_000, 4_000]) {
      const run = make(size);
      for (let warm = 0; warm < 30; warm += 1) run();
      row[`${size} (us)`] = Number(
        (
          (await fastest(5, () => {
            for (let each = 0; each < 20; each += 1) run();
          })) * 50
        ).toFixed(1),
      );
    }
    rows.push(row);
  }
  say('growth with hostile input: double the size, about double the time', rows);
}
