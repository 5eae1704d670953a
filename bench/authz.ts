/** The authorization engine beside casbin and Cedar: decisions per second, compilation, and growth with hostile input. */
import { AuthzEngine } from 'meshwright/authz';
import type { AuthzRequest } from 'meshwright/authz';
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { newEnforcer, newModel } from 'casbin';
import { compilation, garbageCollector } from './authz/compilation.js';
import { growth } from './authz/growth.js';
import { compare } from './support.js';

const json = process.argv.includes('--json');
const rulesPerPolicy = 10;

const wanted = process.argv.flatMap((argument, index) => (process.argv[index - 1] === '--part' ? [argument] : []));
/** `--part <name>`, as often as wanted: decisions, peers, compilation, allocation, growth. Default all. */
const part = (name: string): boolean => wanted.length === 0 || wanted.includes(name);

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

if (part('decisions')) {
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
}

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

for (const rules of part('peers') ? [10, 1_000] : []) {
  await compare({
    title: `the same question to each, ${rules} rules`,
    unit: 'decision',
    rounds: 3,
    contenders: [sameQuestion(rules), await casbinContender(rules), cedarContender(rules)],
  });
}

/** Milliseconds of CPU time of the fastest of a few runs: other programs on the machine hardly change it. */
async function fastest(runs: number, work: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run += 1) {
    const before = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1000);
  }
  return best;
}

const collectGarbage = garbageCollector();

if (part('compilation')) {
  const rows = [
    await compilation('one for each service', (index) => native(index, true), rulesPerPolicy, fastest),
    await compilation("ztunnel's shape", ztunnelShape, rulesPerPolicy, fastest),
  ];
  say('compilation of 10,000 policies with 10 rules each (CPU time)', rows);
}

if (part('allocation')) {
  // Requests made beforehand; whatever the heap grows by meanwhile is what deciding allocates.
  const asked = requests(20_000, 10, true).map((request, index) => ({
    ...request,
    jwt: { claims: { iss: 'https://issuer.example', sub: 'alice', groups: ['a', `g${index % 9}`] } },
    http: {
      method: 'GET',
      path: `/api/item-${index}`,
      host: 'shop.example',
      headers: { accept: '*/*', 'x-env': 'prod' },
    },
  }));
  const rule = {
    from: [{ namespaces: many(20, (index) => `team-${index}`), ipBlocks: ['10.0.0.0/8'] }],
    to: [
      {
        methods: ['GET'],
        paths: ['/api/*'],
        hosts: ['*.example'],
        headers: [
          { name: 'X-Env', values: ['prod'] },
          { name: 'Accept', values: ['*'] },
        ],
      },
    ],
    when: [{ key: 'request.auth.claims[groups]', values: ['g*'] }],
  };
  const rows: Record<string, string | number>[] = [];
  for (const [what, from] of [
    ['namespaces and IP blocks of a stream', { from: rule.from }],
    ['that, method, path, host, two headers, a claim', rule],
  ] as const) {
    const engine = AuthzEngine.compile(
      many(10, (index) => {
        const policy = native(index, false) as { spec: object };
        return { ...policy, spec: { ...policy.spec, meshAuthorization: { action: 'ALLOW', rules: [from] } } };
      }),
      { trustDomain: 'cluster.local' },
    );
    let allowed = 0;
    const round = (): void => {
      for (const request of asked) if (engine.authorize(request).allowed) allowed += 1;
    };
    for (let run = 0; run < 10; run += 1) round();
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let run = 0; run < 20; run += 1) round();
    const bytes = process.memoryUsage().heapUsed - before;
    rows.push({
      what,
      allowed: allowed === 30 * asked.length ? 'all' : allowed,
      'bytes allocated for each decision': (bytes / (20 * asked.length)).toFixed(1),
    });
  }
  say('allocation', rows);
}

if (part('growth')) await growth(say, fastest);
