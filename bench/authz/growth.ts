/** How the time of a decision, and of compiling, grows with hostile patterns and inputs. */
import { AuthzEngine } from 'meshwright/authz';
import type { AuthzRequest } from 'meshwright/authz';

type Rows = readonly Readonly<Record<string, string | number>>[];
type Rule = Readonly<Record<string, unknown>>;

const sizes = [500, 1_000, 2_000, 4_000, 8_000];
/** Inputs that take turns, so that the processor cannot learn one by heart. */
const variants = 16;

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

function native(rules: readonly Rule[], action = 'ALLOW'): AuthzEngine {
  return AuthzEngine.compile([
    {
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyPolicy',
      metadata: { name: 'policy', namespace: 'shop' },
      spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'api' }, action, rules },
    },
  ]);
}

function istio(rules: readonly Rule[], action = 'ALLOW'): AuthzEngine {
  return AuthzEngine.compile([
    {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'policy', namespace: 'shop' },
      spec: { action, rules },
    },
  ]);
}

function ask(http: Partial<NonNullable<AuthzRequest['http']>>, more: Partial<AuthzRequest> = {}): AuthzRequest {
  return {
    source: { principal: 'spiffe://cluster.local/ns/shop/sa/web', ip: '10.0.0.1' },
    destination: { namespace: 'shop', services: ['api'], port: 80 },
    http: { method: 'GET', path: '/', ...http },
    ...more,
  };
}

const claims = (all: Record<string, unknown>): Partial<AuthzRequest> => ({ jwt: { claims: all } });
const path = (pattern: string): Rule => ({ to: [{ paths: [pattern] }] });
const when = (key: string): Rule => ({ when: [{ key, values: ['wanted'] }] });
const nested = (depth: number, leaf: unknown): unknown => {
  let value = leaf;
  for (let level = 0; level < depth; level += 1) value = { a: value };
  return value;
};

/** For a size: the engine, and the request of one variant. */
type Case = (size: number) => { engine: AuthzEngine; request: (variant: number) => AuthzRequest };

const cases: Readonly<Record<string, Case>> = {
  'stars in one segment': (size) => ({
    engine: native([path(`/${'*a'.repeat(8)}b`)]),
    request: (variant) => ask({ path: `/${'a'.repeat(size)}${variant}` }),
  }),
  '** between segments': (size) => ({
    engine: native([path(`${'/**/a'.repeat(8)}/b`)]),
    request: (variant) => ask({ path: `${'/a'.repeat(size)}/${variant}` }),
  }),
  'a path template': (size) => ({
    engine: istio([{ to: [{ operation: { paths: ['/{*}/{*}/{**}/b'] } }] }]),
    request: (variant) => ask({ path: `${'/a'.repeat(size)}/${variant}` }),
  }),
  'dot segments': (size) => ({
    engine: istio([{ to: [{ operation: { paths: ['/x'] } }] }]),
    request: (variant) => ask({ path: `${'/a/..'.repeat(size)}/${variant}` }),
  }),
  'escapes in a path': (size) => ({
    engine: native([path('/x')]),
    request: (variant) => ask({ path: `/${'%41%c3%a9'.repeat(size)}${variant}` }),
  }),
  'stars in a namespace pattern': (size) => ({
    engine: istio([{ from: [{ source: { namespaces: [`${'*a'.repeat(30)}*b`] } }] }]),
    request: (variant) =>
      ask({}, { source: { principal: `spiffe://cluster.local/ns/${'a'.repeat(size / 5)}${variant}/sa/web` } }),
  }),
  'glob values of one field': (size) => ({
    engine: native([{ to: [{ paths: many(size, (index) => `/v${index}*x`) }] }]),
    request: (variant) => ask({ path: `/nothing-${variant}` }),
  }),
  'exact values of one field': (size) => ({
    engine: native([{ to: [{ paths: many(size, (index) => `/v${index}`) }] }]),
    request: (variant) => ask({ path: `/v${size + variant}` }),
  }),
  'IP blocks of one field': (size) => ({
    engine: native([{ from: [{ ipBlocks: many(size, (index) => `11.${index >> 8}.${index & 255}.0/24`) }] }]),
    request: (variant) => ask({}, { source: { ip: `10.0.0.${variant}` } }),
  }),
  'rules that no index can tell apart': (size) => ({
    engine: native(
      many(size, (index) => ({ from: [{ notIpBlocks: ['10.0.0.0/8', `11.0.${index >> 8}.${index & 255}`] }] })),
    ),
    request: (variant) => ask({}, { source: { ip: `10.0.0.${variant}` } }),
  }),
  'distinct headers': (size) => ({
    engine: native([{ to: [{ headers: [{ name: 'x', values: ['y'] }] }] }]),
    request: (variant) =>
      ask({ headers: Object.fromEntries(many(size, (index) => [`h-${(index * 7919 + variant * 31) % 99_991}`, 'v'])) }),
  }),
  'distinct headers, and a rule for each': (size) => ({
    engine: native(many(size, (index) => ({ to: [{ headers: [{ name: `r-${index}`, values: ['y'] }] }] }))),
    request: (variant) =>
      ask({ headers: Object.fromEntries(many(size, (index) => [`h-${(index * 7919 + variant * 31) % 99_991}`, 'v'])) }),
  }),
  'values of one header': (size) => ({
    engine: native([{ to: [{ headers: [{ name: 'x', values: ['*wanted'] }] }] }]),
    request: (variant) => ask({ headers: { x: many(size, (index) => `v${index}-${variant}`) } }),
  }),
  'depth of a claim': (size) => ({
    engine: istio([when(`request.auth.claims${'[a]'.repeat(size)}`)]),
    request: (variant) => ask({}, claims({ a: nested(size - 1, `leaf-${variant}`) })),
  }),
  'elements of a claim': (size) => ({
    engine: istio([when('request.auth.claims[groups]')]),
    request: (variant) => ask({}, claims({ groups: many(size, (index) => `g${index}-${variant}`) })),
  }),
  'words of a scope': (size) => ({
    engine: istio([when('request.auth.claims[scope]')]),
    request: (variant) => ask({}, claims({ scope: many(size, (index) => `s${index}-${variant}`).join(' ') })),
  }),
  'services of one destination': (size) => ({
    engine: AuthzEngine.compile(
      many(size, (index) => ({
        apiVersion: 'novaedge.io/v1alpha1',
        kind: 'ProxyPolicy',
        metadata: { name: `policy-${index}`, namespace: 'shop' },
        spec: {
          type: 'MeshAuthorization',
          targetRef: { kind: 'Service', name: `s${index}` },
          action: 'DENY',
          rules: [{ to: [{ ports: [1] }] }],
        },
      })),
    ),
    request: (variant) =>
      ask({}, { destination: { namespace: 'shop', services: many(size, (index) => `s${index}`), port: 80 + variant } }),
  }),
  'a long principal (refused from 2,048 characters)': (size) => ({
    engine: istio([{ from: [{ source: { principals: ['*/never'] } }] }]),
    request: (variant) => ask({}, { source: { principal: `spiffe://cluster.local/${'a/'.repeat(size)}${variant}` } }),
  }),
};

/** Microseconds for one decision by size, and by how much the time multiplies, on average, when the size doubles. */
export async function growth(
  say: (title: string, rows: Rows) => void,
  fastest: (runs: number, work: () => unknown) => Promise<number>,
): Promise<void> {
  const rows: Record<string, string | number>[] = [];
  for (const [input, make] of Object.entries(cases)) {
    const row: Record<string, string | number> = { input };
    const times: number[] = [];
    for (const size of sizes) {
      const { engine, request } = make(size);
      const asked = many(variants, request);
      const round = (): void => {
        for (const each of asked) engine.authorize(each);
      };
      // As many rounds as take some milliseconds.
      let rounds = 1;
      while ((await fastest(1, () => many(rounds, round))) < 8 && rounds < 4_096) rounds *= 2;
      const us = ((await fastest(5, () => many(rounds, round))) * 1000) / (rounds * variants);
      times.push(us);
      row[`${size} us`] = us.toFixed(us < 10 ? 2 : 1);
    }
    const [first = 1] = times;
    const doublings = times.length - 1;
    row['for each doubling'] = (((times.at(-1) ?? 1) / first) ** (1 / doublings)).toFixed(2);
    row['last doubling'] = ((times.at(-1) ?? 1) / (times.at(-2) ?? 1)).toFixed(2);
    rows.push(row);
  }
  say('growth with hostile input (CPU time): 2.00 is linear', rows);
}
