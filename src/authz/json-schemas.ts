/**
 * JSON Schemas (2020-12) of the policies, for editors and for checks before a policy reaches an engine. They describe
 * the form; what only the engine can tell (a pattern that never matches, a policy given twice) they let through.
 */
import { maxTier, policyModes } from './dialects/meshwright-fields.js';
import { plainWhenKeys } from './dialects/when.js';

export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

const texts: JsonSchema = { type: 'array', minItems: 1, items: { type: 'string', minLength: 1 } };
const object = (properties: Readonly<Record<string, JsonSchema>>, more: JsonSchema = {}): JsonSchema => ({
  type: 'object',
  properties,
  additionalProperties: false,
  ...more,
});
const list = (items: JsonSchema, more: JsonSchema = {}): JsonSchema => ({ type: 'array', items, ...more });

/** Each field and its not-form. */
function withNots(fields: Readonly<Record<string, JsonSchema>>): Record<string, JsonSchema> {
  const all: Record<string, JsonSchema> = {};
  for (const [name, schema] of Object.entries(fields)) {
    all[name] = schema;
    all[`not${name.slice(0, 1).toUpperCase()}${name.slice(1)}`] = {
      ...schema,
      description: `Holds when none of the values of ${name} would.`,
    };
  }
  return all;
}

const described = (description: string, schema: JsonSchema = texts): JsonSchema => ({ ...schema, description });
const portText: JsonSchema = { type: 'string', pattern: '^[1-9][0-9]{0,4}$' };
const ports = described('Destination ports as decimal text.', { type: 'array', minItems: 1, items: portText });

const when: JsonSchema = list(
  object(
    {
      key: {
        description: 'The attribute.',
        anyOf: [
          { enum: [...plainWhenKeys] },
          { type: 'string', pattern: '^request\\.headers\\[[^\\[\\]]+\\]$' },
          { type: 'string', pattern: '^request\\.auth\\.claims(\\[[^\\[\\]]+\\])+$' },
          { type: 'string', pattern: '^experimental\\.envoy\\.filters\\.[^\\[\\]]+(\\[[^\\[\\]]+\\])+$' },
        ],
      },
      values: texts,
      notValues: texts,
    },
    { required: ['key'], anyOf: [{ required: ['values'] }, { required: ['notValues'] }] },
  ),
);

const metadata: JsonSchema = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string' }, namespace: { type: 'string' } },
};

function manifest(title: string, apiVersions: readonly string[], kind: string, spec: JsonSchema): JsonSchema {
  return Object.freeze({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title,
    ...object(
      { apiVersion: { enum: apiVersions }, kind: { const: kind }, metadata, spec, status: {} },
      { required: ['apiVersion', 'kind', 'metadata', 'spec'] },
    ),
  });
}

const header = object(
  { name: { type: 'string', minLength: 1 }, values: texts, notValues: texts },
  { required: ['name'], anyOf: [{ required: ['values'] }, { required: ['notValues'] }] },
);

const nativeRules = list(
  object({
    from: list(
      object(
        withNots({
          namespaces: described('Exact namespace names.'),
          serviceAccounts: described("name (of the policy's own namespace), namespace/name, or */name."),
          spiffeIds: described('Globs over SPIFFE IDs: * within a segment, ** across, ? one character.', {
            ...texts,
            items: { type: 'string', pattern: '^spiffe://' },
          }),
          ipBlocks: described('Addresses and CIDR blocks of the peer.'),
        }),
        { minProperties: 1 },
      ),
    ),
    to: list(
      object(
        {
          ...withNots({
            methods: described('HTTP methods in capitals.', {
              ...texts,
              items: { type: 'string', pattern: '^[^a-z*\\s]+$' },
            }),
            paths: described('Globs over the path: * within a segment, ** across, ? one character.', {
              ...texts,
              items: { type: 'string', pattern: '^/' },
            }),
            hosts: described('Hosts, exact or *.example.'),
            ports: described('Destination ports.', {
              type: 'array',
              minItems: 1,
              items: { anyOf: [portText, { type: 'integer', minimum: 1, maximum: 65535 }] },
            }),
          }),
          headers: list(header),
        },
        { minProperties: 1 },
      ),
    ),
    when,
  }),
);

const opted = 'Of the meshwright dialect, which the engine must be told to read.';
const dialectBody: Readonly<Record<string, JsonSchema>> = {
  tier: {
    description: `Judged in ascending order; below 100 for policies of the root namespace. ${opted}`,
    type: 'integer',
    minimum: 0,
    maximum: maxTier,
  },
  mode: { description: `AUDIT: observed, not enforced. ${opted}`, enum: [...policyModes] },
  notAfter: {
    description: `When an ALLOW ends, such as 2027-01-31T18:00:00Z; with owner and reason. ${opted}`,
    type: 'string',
    pattern:
      '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,3})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
  },
  owner: { description: `Who answers for a grant that ends. ${opted}`, type: 'string', pattern: '\\S' },
  reason: { description: `Why a grant that ends exists. ${opted}`, type: 'string', pattern: '\\S' },
};
const nativeBody = { action: { enum: ['ALLOW', 'DENY'] }, rules: nativeRules, ...dialectBody };
/** Together or not at all, and only of an ALLOW. */
const nativeBodyRules: JsonSchema = {
  if: { anyOf: ['notAfter', 'owner', 'reason'].map((field) => ({ required: [field] })) },
  then: { required: ['notAfter', 'owner', 'reason'], properties: { action: { const: 'ALLOW' } } },
};

/** `ProxyPolicy` of type MeshAuthorization. */
export const meshAuthorizationSchema: JsonSchema = manifest(
  'MeshAuthorization',
  ['novaedge.io/v1alpha1'],
  'ProxyPolicy',
  object(
    {
      type: { const: 'MeshAuthorization' },
      targetRef: object(
        {
          group: { enum: ['', 'core'] },
          kind: { description: `Namespace and Mesh: ${opted}`, enum: ['Service', 'Namespace', 'Mesh'] },
          name: { type: 'string', minLength: 1 },
          namespace: { type: 'string' },
        },
        {
          required: ['kind'],
          if: { properties: { kind: { const: 'Mesh' } } },
          then: { properties: { name: false } },
          else: { required: ['name'] },
        },
      ),
      meshAuthorization: object(nativeBody, { required: ['action'], ...nativeBodyRules }),
      ...nativeBody,
    },
    {
      required: ['type', 'targetRef'],
      ...nativeBodyRules,
      oneOf: [
        {
          required: ['meshAuthorization'],
          properties: Object.fromEntries(Object.keys(nativeBody).map((field) => [field, false])),
        },
        { required: ['action'], properties: { meshAuthorization: false } },
      ],
    },
  ),
);

const istioApis = ['security.istio.io/v1', 'security.istio.io/v1beta1'];
const selector = object({
  matchLabels: { type: 'object', additionalProperties: { type: 'string', pattern: '^[^*]*$' } },
});
const targetRef = object(
  {
    group: { type: 'string' },
    kind: { enum: ['Service', 'Gateway', 'GatewayClass', 'ServiceEntry'] },
    name: { type: 'string', minLength: 1 },
    namespace: { type: 'string' },
  },
  { required: ['kind', 'name'] },
);
const target = { selector, targetRef, targetRefs: list(targetRef, { minItems: 1 }) };
/** At most one of the three. */
const oneTarget: JsonSchema = {
  allOf: [
    ['selector', 'targetRef'],
    ['selector', 'targetRefs'],
    ['targetRef', 'targetRefs'],
  ].map((pair) => ({ not: { required: pair } })),
};

/** Istio's `AuthorizationPolicy`. */
export const authorizationPolicySchema: JsonSchema = manifest(
  'AuthorizationPolicy',
  istioApis,
  'AuthorizationPolicy',
  object(
    {
      ...target,
      action: { enum: ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'] },
      provider: object({ name: { type: 'string', minLength: 1 } }, { required: ['name'] }),
      rules: list(
        object({
          from: list(
            object(
              {
                source: object(
                  withNots({
                    principals: described('td/ns/NAMESPACE/sa/ACCOUNT without a scheme; x* prefix, *x suffix, * any.', {
                      ...texts,
                      items: { type: 'string', not: { pattern: '://' } },
                    }),
                    namespaces: described('Namespaces of the principal.'),
                    serviceAccounts: described('name or namespace/name.', { ...texts, maxItems: 16 }),
                    trustDomains: described('Trust domains.'),
                    requestPrincipals: described('iss/sub of the validated token.'),
                    ipBlocks: described('Addresses and CIDR blocks of the peer.'),
                    remoteIpBlocks: described('Addresses and CIDR blocks of the client.'),
                  }),
                  { minProperties: 1 },
                ),
              },
              { required: ['source'] },
            ),
          ),
          to: list(
            object(
              {
                operation: object(
                  withNots({
                    hosts: described('Hosts; a port is part of them.'),
                    ports,
                    methods: described('HTTP methods.'),
                    paths: described('Paths, prefixes, suffixes, or templates with {*} and {**}.'),
                  }),
                  { minProperties: 1 },
                ),
              },
              { required: ['operation'] },
            ),
          ),
          when,
        }),
      ),
    },
    oneTarget,
  ),
);

const mtls = object({ mode: { enum: ['UNSET', 'STRICT', 'PERMISSIVE', 'DISABLE'] } });

/** Istio's `PeerAuthentication`. */
export const peerAuthenticationSchema: JsonSchema = manifest(
  'PeerAuthentication',
  istioApis,
  'PeerAuthentication',
  object({
    selector,
    mtls,
    portLevelMtls: { type: 'object', propertyNames: { pattern: '^[1-9][0-9]{0,4}$' }, additionalProperties: mtls },
  }),
);

/** Istio's `RequestAuthentication`. */
export const requestAuthenticationSchema: JsonSchema = manifest(
  'RequestAuthentication',
  istioApis,
  'RequestAuthentication',
  object(
    {
      ...target,
      jwtRules: list(
        object(
          {
            issuer: { type: 'string', minLength: 1 },
            audiences: texts,
            jwks: { type: 'string' },
            jwksUri: { type: 'string', pattern: '^https?://' },
            jwks_uri: { type: 'string', pattern: '^https?://' },
            fromHeaders: list(
              object({ name: { type: 'string', minLength: 1 }, prefix: { type: 'string' } }, { required: ['name'] }),
            ),
            fromParams: texts,
            fromCookies: texts,
            outputPayloadToHeader: { type: 'string' },
            forwardOriginalToken: { type: 'boolean' },
            outputClaimToHeaders: { type: 'array' },
            timeout: { type: 'string' },
            spaceDelimitedClaims: texts,
          },
          {
            required: ['issuer'],
            oneOf: [{ required: ['jwks'] }, { required: ['jwksUri'] }, { required: ['jwks_uri'] }],
          },
        ),
      ),
    },
    oneTarget,
  ),
);

/** All of them, by kind. */
export const policySchemas: Readonly<Record<string, JsonSchema>> = Object.freeze({
  ProxyPolicy: meshAuthorizationSchema,
  AuthorizationPolicy: authorizationPolicySchema,
  PeerAuthentication: peerAuthenticationSchema,
  RequestAuthentication: requestAuthenticationSchema,
});
