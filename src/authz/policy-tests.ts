/**
 * Tests of policies as data: a table of requests with the expected decision, run against an engine. Files are read and
 * printed elsewhere; here is only what a test means.
 */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import type { AuthzEngine } from './engine.js';
import { AuthzError } from './errors.js';
import type { Explanation } from './explanation.js';
import { parseInstant } from './grant.js';
import { isFields } from './manifest.js';
import type { Fields } from './manifest.js';
import type { AuthzOptions } from './options.js';
import { show } from './problem.js';
import type { AuthzRequest } from './request.js';

/** A workload by name: who it is and where. */
export interface TestWorkload {
  readonly namespace: string;
  /** Default `default`. */
  readonly serviceAccount?: string;
  /** Name of its node. */
  readonly node?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ip?: string;
}

/** A service by `namespace/name`. */
export interface TestService {
  readonly port?: number;
  /** `tcp`: lint warns of rules about HTTP. */
  readonly protocol?: 'http' | 'tcp';
  /** Labels of its pods. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What the tests of one file share. */
export interface TestMesh {
  readonly options: AuthzOptions;
  readonly trustDomain: string;
  readonly workloads: Readonly<Record<string, TestWorkload>>;
  readonly services: Readonly<Record<string, TestService>>;
}

export interface PolicyTest {
  readonly name: string;
  readonly request: AuthzRequest;
  readonly expect: 'allow' | 'deny';
  /** `namespace/name`, or with a rule `namespace/name/0`. */
  readonly by: string | undefined;
  /** Where in the file it stands, such as `tests[3]`. */
  readonly path: string;
}

export interface PolicyTestFile {
  /** Files or directories of the policies, relative to the test file; undefined: those beside it. */
  readonly policies: readonly string[] | undefined;
  readonly mesh: TestMesh;
  readonly tests: readonly PolicyTest[];
}

export interface PolicyTestResult {
  readonly test: PolicyTest;
  readonly ok: boolean;
  /** Why it failed, as a sentence. */
  readonly message: string | undefined;
  readonly explanation: Explanation;
}

/**
 * Reads a parsed test file: `policies`, `mesh` and `tests`, each test with `request`, `expect` and optionally `name` and
 * `by`. A request is either a whole `AuthzRequest`, or short: `{ from, to, port, method, path, host, headers, jwt }` with
 * names of `mesh`. Throws `AUTHZ_TEST_MALFORMED` naming the first field that is wrong.
 */
export function readPolicyTests(data: unknown): PolicyTestFile {
  const file = fields(data, 'the file', ['policies', 'mesh', 'tests']);
  const mesh = readTestMesh(file.mesh);
  if (
    file.policies !== undefined &&
    !(Array.isArray(file.policies) && file.policies.every((item) => typeof item === 'string'))
  ) {
    throw malformed('policies', 'a list of files or directories', file.policies);
  }
  if (!Array.isArray(file.tests) || file.tests.length === 0)
    throw malformed('tests', 'a list of at least one test', file.tests);
  const tests = file.tests.map((item: unknown, index) => readTest(item, `tests[${String(index)}]`, mesh));
  return { policies: file.policies, mesh, tests };
}

/** Runs every test; the explanation of each is at hand for reports. */
export function runPolicyTests(engine: AuthzEngine, tests: readonly PolicyTest[]): readonly PolicyTestResult[] {
  return tests.map((test) => {
    const explanation = engine.explain(test.request);
    const message = missOf(test, explanation);
    return { test, ok: message === undefined, message, explanation };
  });
}

function missOf({ expect, by }: PolicyTest, { decision }: Explanation): string | undefined {
  if (decision.action !== expect) return `expected ${expect}, got ${decision.action}: ${decision.reason}`;
  if (by === undefined) return undefined;
  const { policy } = decision;
  const rule = `${policy ?? ''}/${String(decision.rule ?? '')}`;
  if (by === policy || by === rule) return undefined;
  return `expected ${expect} by ${by}, got ${expect} by ${policy === undefined ? 'no policy' : rule}: ${decision.reason}`;
}

/** Reads the `mesh` of a test file; absent is a mesh without names. Throws `AUTHZ_TEST_MALFORMED`. */
export function readTestMesh(data: unknown): TestMesh {
  const mesh =
    data === undefined
      ? {}
      : fields(data, 'mesh', [
          'trustDomain',
          'trustDomainAliases',
          'rootNamespace',
          'defaultAction',
          'pathNormalization',
          'dialects',
          'audit',
          'now',
          'workloads',
          'services',
        ]);
  const { workloads = {}, services = {}, now, ...options } = mesh;
  if (!isFields(workloads)) throw malformed('mesh.workloads', 'workloads by name', workloads);
  if (!isFields(services)) throw malformed('mesh.services', 'services by namespace/name', services);
  for (const [name, value] of Object.entries(workloads)) {
    const workload = fields(value, `mesh.workloads.${name}`, ['namespace', 'serviceAccount', 'node', 'labels', 'ip']);
    if (typeof workload.namespace !== 'string')
      throw malformed(`mesh.workloads.${name}.namespace`, 'a namespace', workload.namespace);
  }
  for (const [name, value] of Object.entries(services)) {
    const { protocol } = fields(value, `mesh.services.${name}`, ['port', 'protocol', 'labels']);
    if (protocol !== undefined && protocol !== 'http' && protocol !== 'tcp')
      throw malformed(`mesh.services.${name}.protocol`, 'http or tcp', protocol);
    if (name.split('/').length !== 2) throw malformed(`mesh.services.${name}`, 'namespace/name as the key', name);
  }
  const { trustDomain = 'cluster.local' } = options;
  if (typeof trustDomain !== 'string') throw malformed('mesh.trustDomain', 'a trust domain', trustDomain);
  const nowMs = typeof now === 'string' ? parseInstant(now) : undefined;
  if (now !== undefined && nowMs === undefined)
    throw malformed('mesh.now', 'an instant such as 2027-01-31T18:00:00Z', now);
  return {
    options: { ...options, trustDomain, ...(nowMs === undefined ? {} : { clock: clockAt(nowMs) }) },
    trustDomain,
    workloads: workloads as TestMesh['workloads'],
    services: services as TestMesh['services'],
  };
}

/** Stands still, so that tests of grants that end give the same on every day. */
function clockAt(nowMs: number): Clock {
  return Object.freeze({ ...systemClock, now: () => nowMs });
}

function readTest(data: unknown, path: string, mesh: TestMesh): PolicyTest {
  const test = fields(data, path, ['name', 'request', 'expect', 'by']);
  if (test.expect !== 'allow' && test.expect !== 'deny')
    throw malformed(`${path}.expect`, 'allow or deny', test.expect);
  if (test.by !== undefined && typeof test.by !== 'string')
    throw malformed(`${path}.by`, 'namespace/name or namespace/name/rule', test.by);
  const { request, title } = readRequest(test.request, `${path}.request`, mesh);
  return { name: typeof test.name === 'string' ? test.name : title, request, expect: test.expect, by: test.by, path };
}

const wholeFields = ['source', 'destination', 'http', 'jwt', 'custom'];
const shortFields = ['from', 'node', 'to', 'port', 'method', 'path', 'host', 'headers', 'jwt', 'custom', 'ip'];

/** Reads a request in either form; `title` is what a report calls it. Throws `AUTHZ_TEST_MALFORMED`. */
export function readRequest(
  data: unknown,
  path: string,
  mesh: TestMesh,
): { readonly request: AuthzRequest; readonly title: string } {
  if (!isFields(data)) throw malformed(path, 'a request', data);
  if ('source' in data || 'destination' in data) {
    fields(data, path, wholeFields);
    fields(data.source, `${path}.source`, ['principal', 'node', 'ip', 'remoteIp']);
    fields(data.destination, `${path}.destination`, [
      'namespace',
      'services',
      'workload',
      'labels',
      'ip',
      'port',
      'sni',
    ]);
    if (data.http !== undefined) fields(data.http, `${path}.http`, ['method', 'path', 'host', 'headers']);
    return { request: data as unknown as AuthzRequest, title: show(data) };
  }
  const short = fields(data, path, shortFields);
  const { from, to, method, path: target } = short;
  if (typeof to !== 'string' || to.split('/').length !== 2)
    throw malformed(`${path}.to`, 'a service as namespace/name', to);
  const [namespace = ''] = to.split('/');
  const service = mesh.services[to];
  const source = readSource(from, path, mesh, short);
  const http =
    method === undefined && target === undefined
      ? undefined
      : {
          method: text(method ?? 'GET', `${path}.method`),
          path: text(target ?? '/', `${path}.path`),
          host: short.host,
          headers: short.headers,
        };
  const port = short.port ?? service?.port;
  const request = {
    source,
    destination: { namespace, services: [to], labels: service?.labels ?? {}, ...(port === undefined ? {} : { port }) },
    ...(http === undefined ? {} : { http }),
    ...(short.jwt === undefined ? {} : { jwt: short.jwt }),
    ...(short.custom === undefined ? {} : { custom: short.custom }),
  } as unknown as AuthzRequest;
  const what = http === undefined ? 'opaque TCP' : `${http.method} ${http.path}`;
  return { request, title: `${typeof from === 'string' ? from : 'plaintext'} -> ${to} ${what}` };
}

function readSource(from: unknown, path: string, mesh: TestMesh, short: Fields): AuthzRequest['source'] {
  const ip = short.ip === undefined ? {} : { ip: text(short.ip, `${path}.ip`) };
  const agent = (name: string): string => `spiffe://${mesh.trustDomain}/agent/${name}`;
  const node = short.node === undefined ? {} : { node: agent(text(short.node, `${path}.node`)) };
  if (from === undefined || from === null) return { ...ip, ...node };
  const name = text(from, `${path}.from`);
  if (name.startsWith('spiffe://')) return { principal: name, ...ip, ...node };
  const workload = Object.hasOwn(mesh.workloads, name) ? mesh.workloads[name] : undefined;
  const parts = name.split('/');
  if (workload === undefined && parts.length !== 2) {
    throw malformed(`${path}.from`, 'a workload of mesh.workloads, namespace/service-account, or a SPIFFE ID', name);
  }
  const [namespace = '', account = 'default'] =
    workload === undefined ? parts : [workload.namespace, workload.serviceAccount ?? 'default'];
  return {
    principal: `spiffe://${mesh.trustDomain}/ns/${namespace}/sa/${account}`,
    ...(workload?.node === undefined ? {} : { node: agent(workload.node) }),
    ...(workload?.ip === undefined ? {} : { ip: workload.ip }),
    ...ip,
    ...node,
  };
}

function fields(value: unknown, path: string, allowed: readonly string[]): Fields {
  if (!isFields(value)) throw malformed(path, `an object with ${allowed.join(', ')}`, value);
  for (const key of Object.keys(value))
    if (!allowed.includes(key)) throw malformed(`${path}.${key}`, `only ${allowed.join(', ')}`, key);
  return value;
}

function text(value: unknown, path: string): string {
  if (typeof value === 'string') return value;
  throw malformed(path, 'text', value);
}

function malformed(path: string, expected: string, got: unknown): AuthzError {
  return new AuthzError('AUTHZ_TEST_MALFORMED', `${path}: expected ${expected}, got ${show(got)}`, {
    fields: { path },
  });
}
