/** The published schema files and the engine say the same: whatever the engine takes is valid, field by field. */
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { policySchemaFiles } from '../../scripts/generate/policy-schemas.js';
import { AuthzCompileError, AuthzEngine, policySchemas } from '../../src/authz/index.js';
import type { PolicyProblem } from '../../src/authz/index.js';
import { readRepositoryFile, repositoryFiles } from '../support/repository.js';
import { dialectPolicies, policies } from './naive/arbitraries.js';

const numRuns = Number(process.env.MESHWRIGHT_FUZZ_RUNS ?? '1200');
const files = policySchemaFiles(policySchemas);
const ajv = new Ajv({ strict: true, allErrors: true, strictRequired: false, strictTypes: false });
const validators = new Map(
  Object.keys(files).map((path) => [path, ajv.compile(JSON.parse(readRepositoryFile(path)) as object)]),
);
const fileOf: Readonly<Record<string, string>> = {
  ProxyPolicy: 'schemas/proxy-policy.schema.json',
  AuthorizationPolicy: 'schemas/authorization-policy.schema.json',
  PeerAuthentication: 'schemas/peer-authentication.schema.json',
  RequestAuthentication: 'schemas/request-authentication.schema.json',
};

type Json = Record<string, unknown>;

function valid(path: string, manifest: unknown): boolean {
  const validate = validators.get(path);
  if (validate === undefined) throw new Error(`expected a schema ${path}, got none`);
  return validate(manifest);
}

function problemsOf(manifest: unknown): readonly PolicyProblem[] | undefined {
  try {
    AuthzEngine.compile([manifest], { dialects: { meshwright: true } });
    return undefined;
  } catch (error) {
    if (error instanceof AuthzCompileError) return error.problems;
    throw error;
  }
}

function manifestOf(kind: string, spec: Json): Json {
  const apiVersion = kind === 'ProxyPolicy' ? 'novaedge.io/v1alpha1' : 'security.istio.io/v1';
  return { apiVersion, kind, metadata: { name: 'a', namespace: 'b' }, spec };
}
const native = (body: Json): Json =>
  manifestOf('ProxyPolicy', { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 's' }, ...body });
const istio = (rule: Json): Json => manifestOf('AuthorizationPolicy', { rules: [rule] });

const otherKinds: fc.Arbitrary<Json> = fc.constantFrom(
  manifestOf('PeerAuthentication', { mtls: { mode: 'STRICT' } }),
  manifestOf('PeerAuthentication', {
    selector: { matchLabels: { app: 'web' } },
    mtls: { mode: 'UNSET' },
    portLevelMtls: { 8080: { mode: 'DISABLE' }, 9090: { mode: 'PERMISSIVE' } },
  }),
  manifestOf('RequestAuthentication', {
    selector: { matchLabels: { app: 'web' } },
    jwtRules: [
      { issuer: 'i', jwksUri: 'https://i.example/keys', audiences: ['a'], fromParams: ['t'], fromCookies: ['c'] },
      { issuer: 'j', jwks: '{"keys":[]}', fromHeaders: [{ name: 'x', prefix: 'y ' }], spaceDelimitedClaims: ['s'] },
    ],
  }),
  manifestOf('RequestAuthentication', {
    targetRef: { kind: 'Service', name: 's', namespace: 'b' },
    jwtRules: [
      {
        issuer: 'i',
        jwksUri: 'https://i.example/keys',
        timeout: '5s',
        forwardOriginalToken: true,
        outputPayloadToHeader: 'x',
        outputClaimToHeaders: [{ header: 'x', claim: 'y' }],
      },
    ],
  }),
  manifestOf('AuthorizationPolicy', { targetRef: { group: 'core', kind: 'Service', name: 's' }, rules: [{}] }),
  manifestOf('AuthorizationPolicy', {
    targetRefs: [
      { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'g' },
      { group: 'networking.istio.io', kind: 'ServiceEntry', name: 'e', namespace: 'b' },
    ],
  }),
  manifestOf('RequestAuthentication', {
    targetRefs: [{ group: '', kind: 'Service', name: 's' }],
    jwtRules: [{ issuer: 'i', jwks_uri: 'https://i.example/keys' }],
  }),
);
const manifest: fc.Arbitrary<unknown> = fc.oneof(
  policies.filter((list) => list.length > 0).map((list) => list[0]),
  dialectPolicies.map((list) => list[0]),
  otherKinds,
);

/** Every place in a manifest below its kind. */
function places(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .filter(([key]) => at.length > 0 || (key !== 'kind' && key !== 'status'))
    .flatMap(([key, inner]) => [[...at, key], ...places(inner, [...at, key])]);
}

function changed(original: unknown, at: readonly string[], change: string, value: unknown): unknown {
  const copy: unknown = structuredClone(original);
  let holder = copy as Json;
  for (const key of at.slice(0, -1)) holder = holder[key] as Json;
  const key = at.at(-1) ?? '';
  if (change === 'replace') holder[key] = value;
  else if (change === 'remove' && Array.isArray(holder)) holder.splice(Number(key), 1);
  else if (change === 'remove') Reflect.deleteProperty(holder, key);
  else if (!Array.isArray(holder)) holder[change === 'rename' ? `${key}s` : String(value)] = holder[key];
  if (change === 'rename' && !Array.isArray(holder)) Reflect.deleteProperty(holder, key);
  return copy;
}

const junk = fc.oneof(
  fc.constantFrom<unknown>(null, 0, 80, 70_000, -1, 1.5, true, '', 'x', '*', '/a//b', 'spiffe://a/b', 'get', 'ALLOW'),
  fc.constantFrom<unknown>('DENY', 'CUSTOM', 'TCP', [], {}, [{}], [''], ['a', 1], [null], { mode: 'STRICT' }),
  fc.constantFrom<unknown>(
    'targetRef',
    'targetRefs',
    'selector',
    'provider',
    'values',
    'notPaths',
    'meshAuthorization',
  ),
  fc.string({ maxLength: 6 }),
);
const broken: fc.Arbitrary<unknown> = manifest.chain((original) =>
  fc
    .tuple(fc.constantFrom(...places(original)), fc.constantFrom('replace', 'remove', 'rename', 'copy'), junk)
    .map(([at, change, value]) => changed(original, at, change, value)),
);

describe('the schema files of the package', () => {
  it.each(Object.entries(files))('%s is up to date (npm run update rewrites it)', (path, text) => {
    expect(readRepositoryFile(path)).toBe(text);
  });

  it('are there for every kind, and no others', () => {
    expect(repositoryFiles('schemas')).toEqual([...Object.values(fileOf), 'schemas/policies.schema.json'].sort());
    expect(Object.keys(fileOf).sort()).toEqual(Object.keys(policySchemas).sort());
  });

  it('take every policy of the examples', () => {
    const found = repositoryFiles('examples')
      .filter((path) => path.endsWith('.yaml'))
      .flatMap((path) => parseAllDocuments(readRepositoryFile(path)).map((document) => document.toJS() as Json | null))
      .filter((document) => document !== null && typeof document.kind === 'string' && document.kind in fileOf);
    expect(found.length).toBeGreaterThan(5);
    for (const each of found) {
      const path = fileOf[String(each?.kind)] ?? '';
      expect({ each, valid: valid(path, each), any: valid('schemas/policies.schema.json', each) }).toEqual({
        each,
        valid: true,
        any: true,
      });
    }
  });

  it('refuse nothing that the engine takes, however a policy is changed', () => {
    let refusedByBoth = 0;
    fc.assert(
      fc.property(fc.oneof({ weight: 1, arbitrary: manifest }, { weight: 6, arbitrary: broken }), (each) => {
        const { kind } = each as { kind: string };
        const path = fileOf[kind] ?? '';
        const accepted = valid(path, each);
        expect(valid('schemas/policies.schema.json', each)).toBe(accepted);
        if (accepted) return;
        refusedByBoth += 1;
        if (problemsOf(each) === undefined)
          throw new Error(
            `the engine takes ${JSON.stringify(each)}, ${path} does not: ${ajv.errorsText(validators.get(path)?.errors)}`,
          );
      }),
      { numRuns },
    );
    expect(refusedByBoth).toBeGreaterThan(numRuns / 5);
  });
});

describe('the engine is as strict as the schema', () => {
  const keys = { issuer: 'i', jwksUri: 'https://i.example/keys' };
  const service = { kind: 'Service', name: 's' };
  it.each<[string, Json]>([
    ['RequestAuthentication', { jwtRules: [keys], unheard: 1 }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [] }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [{ ...service, unheard: 1 }] }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [{ ...service, group: 'apps' }] }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [{ ...service, group: [''] }] }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [{ ...service, group: null }] }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [{ ...service, name: '' }] }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: null, targetRef: service }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [service], targetRef: service }],
    ['RequestAuthentication', { jwtRules: [keys], targetRefs: [service], selector: {} }],
    ['RequestAuthentication', { jwtRules: [{ ...keys, jwks_uri: keys.jwksUri }] }],
    ['RequestAuthentication', { jwtRules: [{ ...keys, jwksUri: null, jwks_uri: keys.jwksUri }] }],
    ['RequestAuthentication', { jwtRules: [{ ...keys, timeout: 5 }] }],
    ['RequestAuthentication', { jwtRules: [{ ...keys, forwardOriginalToken: 'yes' }] }],
    ['RequestAuthentication', { jwtRules: [{ ...keys, outputPayloadToHeader: 1 }] }],
    ['RequestAuthentication', { jwtRules: [{ ...keys, outputClaimToHeaders: {} }] }],
    ['AuthorizationPolicy', { targetRefs: [{ ...service, group: [''] }] }],
    ['AuthorizationPolicy', { targetRefs: [{ ...service, group: ['core'] }] }],
    ['AuthorizationPolicy', { targetRefs: [{ ...service, group: null }] }],
    ['AuthorizationPolicy', { targetRefs: [{ ...service, kind: ['Service'] }] }],
    ['AuthorizationPolicy', { targetRefs: [service], targetRef: service }],
    ['AuthorizationPolicy', { targetRef: null }],
    ['AuthorizationPolicy', { targetRefs: null, targetRef: service }],
    ['AuthorizationPolicy', { targetRef: service, selector: {} }],
  ])('%s %j', (kind, spec) => {
    const each = manifestOf(kind, spec);
    // A group that the schema does not know for a kind is text to it.
    if (!JSON.stringify(spec).includes('apps')) expect(valid(fileOf[kind] ?? '', each)).toBe(false);
    expect(problemsOf(each)).toBeDefined();
  });
});

/** The fields that the engine knows at a place: it lists them when it finds one that it does not know. */
function engineFields(value: Json): readonly string[] {
  const problem = problemsOf(value)?.find(({ code, got }) => code === 'unknown-field' && got === '"unheard-of"');
  if (problem === undefined) throw new Error('expected the engine to refuse the field unheard-of');
  return problem.expected
    .replace(/^only /, '')
    .split(', ')
    .sort();
}

function schemaFields(kind: string, ...at: readonly string[]): readonly string[] {
  let schema = policySchemas[kind] as Json;
  for (const name of at) schema = (name === '[]' ? schema.items : (schema.properties as Json)[name]) as Json;
  expect(schema.additionalProperties).toBe(false);
  return Object.keys(schema.properties as Json).sort();
}

describe('the fields of the schemas are those of the engine', () => {
  const stray = { 'unheard-of': true };
  const rules = ['spec', 'rules', '[]'] as const;
  it.each<[string, Json, readonly string[]]>([
    ['ProxyPolicy', { ...native({ action: 'ALLOW' }), ...stray }, []],
    ['ProxyPolicy', native({ action: 'ALLOW', ...stray }), ['spec']],
    [
      'ProxyPolicy',
      native({ action: 'ALLOW', targetRef: { kind: 'Service', name: 's', ...stray } }),
      ['spec', 'targetRef'],
    ],
    ['ProxyPolicy', native({ meshAuthorization: { action: 'ALLOW', ...stray } }), ['spec', 'meshAuthorization']],
    ['ProxyPolicy', native({ action: 'ALLOW', rules: [stray] }), rules],
    ['ProxyPolicy', native({ action: 'ALLOW', rules: [{ from: [stray] }] }), [...rules, 'from', '[]']],
    ['ProxyPolicy', native({ action: 'ALLOW', rules: [{ to: [stray] }] }), [...rules, 'to', '[]']],
    [
      'ProxyPolicy',
      native({ action: 'ALLOW', rules: [{ to: [{ headers: [stray] }] }] }),
      [...rules, 'to', '[]', 'headers', '[]'],
    ],
    ['ProxyPolicy', native({ action: 'ALLOW', rules: [{ when: [stray] }] }), [...rules, 'when', '[]']],
    ['AuthorizationPolicy', manifestOf('AuthorizationPolicy', stray), ['spec']],
    ['AuthorizationPolicy', manifestOf('AuthorizationPolicy', { selector: stray }), ['spec', 'selector']],
    [
      'AuthorizationPolicy',
      manifestOf('AuthorizationPolicy', { targetRefs: [{ name: 'a', ...stray }] }),
      ['spec', 'targetRefs', '[]'],
    ],
    [
      'AuthorizationPolicy',
      manifestOf('AuthorizationPolicy', { action: 'CUSTOM', provider: { name: 'p', ...stray } }),
      ['spec', 'provider'],
    ],
    ['AuthorizationPolicy', istio(stray), rules],
    ['AuthorizationPolicy', istio({ from: [{ ...stray, source: {} }] }), [...rules, 'from', '[]']],
    ['AuthorizationPolicy', istio({ from: [{ source: stray }] }), [...rules, 'from', '[]', 'source']],
    ['AuthorizationPolicy', istio({ to: [{ ...stray, operation: {} }] }), [...rules, 'to', '[]']],
    ['AuthorizationPolicy', istio({ to: [{ operation: stray }] }), [...rules, 'to', '[]', 'operation']],
    ['AuthorizationPolicy', istio({ when: [stray] }), [...rules, 'when', '[]']],
    ['PeerAuthentication', manifestOf('PeerAuthentication', stray), ['spec']],
    ['PeerAuthentication', manifestOf('PeerAuthentication', { mtls: stray }), ['spec', 'mtls']],
    ['RequestAuthentication', manifestOf('RequestAuthentication', stray), ['spec']],
    ['RequestAuthentication', manifestOf('RequestAuthentication', { jwtRules: [stray] }), ['spec', 'jwtRules', '[]']],
    [
      'RequestAuthentication',
      manifestOf('RequestAuthentication', { jwtRules: [{ issuer: 'i', fromHeaders: [{ name: 'x', ...stray }] }] }),
      ['spec', 'jwtRules', '[]', 'fromHeaders', '[]'],
    ],
  ])('%s %j', (kind, value, at) => {
    expect(schemaFields(kind, ...at)).toEqual(engineFields(value));
  });
});
