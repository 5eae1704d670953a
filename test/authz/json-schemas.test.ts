import { readFileSync, readdirSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { AuthzEngine, policySchemas } from '../../src/authz/index.js';
import { policies } from './naive/arbitraries.js';

const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true });
const validators = new Map(Object.entries(policySchemas).map(([kind, schema]) => [kind, ajv.compile(schema)]));

function schemaErrors(manifest: unknown): readonly string[] {
  const validate = validators.get((manifest as { kind: string }).kind);
  if (validate === undefined) return ['no schema'];
  return validate(manifest)
    ? []
    : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message ?? ''}`);
}

function compiles(manifest: unknown): boolean {
  try {
    AuthzEngine.compile([manifest]);
    return true;
  } catch {
    return false;
  }
}

const native = (spec: object): object => ({
  apiVersion: 'novaedge.io/v1alpha1',
  kind: 'ProxyPolicy',
  metadata: { name: 'a', namespace: 'b' },
  spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 's' }, ...spec },
});
const istio = (kind: string, spec: object): object => ({
  apiVersion: 'security.istio.io/v1',
  kind,
  metadata: { name: 'a', namespace: 'b' },
  spec,
});

describe('JSON Schemas', () => {
  it('take whatever the engine takes', () => {
    fc.assert(
      fc.property(policies, (manifests) => {
        for (const manifest of manifests) expect(schemaErrors(manifest)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('take the examples', () => {
    const folder = 'examples/policy-ci/policies';
    for (const file of readdirSync(folder)) {
      for (const document of parseAllDocuments(readFileSync(`${folder}/${file}`, 'utf8')))
        expect(schemaErrors(document.toJS())).toEqual([]);
    }
  });

  it.each([
    native({ action: 'allow' }),
    native({ action: 'ALLOW', meshAuthorization: { action: 'ALLOW' } }),
    native({}),
    native({ action: 'ALLOW', targetRef: { kind: 'Deployment', name: 's' } }),
    native({ action: 'ALLOW', rules: [{ from: [{}] }] }),
    native({ action: 'ALLOW', rules: [{ from: [{ namespace: ['a'] }] }] }),
    native({ action: 'ALLOW', rules: [{ from: [{ spiffeIds: ['td/ns/a/sa/b'] }] }] }),
    native({ action: 'ALLOW', rules: [{ to: [{ methods: ['get'] }] }] }),
    native({ action: 'ALLOW', rules: [{ to: [{ paths: ['api'] }] }] }),
    native({ action: 'ALLOW', rules: [{ to: [{ ports: [0] }] }] }),
    native({ action: 'ALLOW', rules: [{ when: [{ key: 'source.ip' }] }] }),
    native({ action: 'ALLOW', rules: [{ when: [{ key: 'source.ips', values: ['a'] }] }] }),
    istio('AuthorizationPolicy', { action: 'allow' }),
    istio('AuthorizationPolicy', { rules: [{ from: [{ source: {} }] }] }),
    istio('AuthorizationPolicy', { rules: [{ from: [{ source: { principals: ['spiffe://a/ns/b/sa/c'] } }] }] }),
    istio('AuthorizationPolicy', { rules: [{ to: [{ operation: { ports: ['http'] } }] }] }),
    istio('AuthorizationPolicy', { selector: { labels: {} } }),
    istio('PeerAuthentication', { mtls: { mode: 'strict' } }),
    istio('RequestAuthentication', { jwtRules: [{ issuer: 'a' }] }),
    istio('RequestAuthentication', { jwtRules: [{ jwksUri: 'https://a/b' }] }),
  ])('refuse what the engine refuses: %j', (manifest) => {
    expect(compiles(manifest)).toBe(false);
    expect(schemaErrors(manifest)).not.toEqual([]);
  });

  it.each([
    native({ action: 'ALLOW' }),
    native({ meshAuthorization: { action: 'DENY', rules: [{}] } }),
    istio('AuthorizationPolicy', {}),
    istio('PeerAuthentication', {
      selector: { matchLabels: { app: 'a' } },
      portLevelMtls: { 80: { mode: 'DISABLE' } },
    }),
    istio('RequestAuthentication', {
      jwtRules: [{ issuer: 'a', jwksUri: 'https://a/b', fromHeaders: [{ name: 'x', prefix: 'y ' }] }],
    }),
  ])('take what the engine takes: %j', (manifest) => {
    expect(compiles(manifest)).toBe(true);
    expect(schemaErrors(manifest)).toEqual([]);
  });
});
