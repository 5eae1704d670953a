/** Istio's `RequestAuthentication`: which tokens are taken, from where, and whose keys prove them. */
import { checkKeys, isFields, isObjectName, readArray, readStrings } from '../manifest.js';
import type { Fields, ManifestIdentity, ManifestReport } from '../manifest.js';
import { show } from '../problem.js';
import { qualifiedKind, readTargetRefs } from './istio-scopes.js';
import { readSelector } from './selector.js';

/** Tokens of one issuer. */
export interface JwtRule {
  readonly issuer: string;
  /** Any of these; empty: any audience. */
  readonly audiences: readonly string[];
  /** Inline key set as JSON text, or where to fetch it: one of the two. */
  readonly jwks: string | undefined;
  readonly jwksUri: string | undefined;
  /** Headers, with the text before the token. Default `authorization` with `Bearer `, when no place is given. */
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[];
  /** Query parameters. Default `access_token`, when no place is given. */
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  /** Claims split at spaces, besides `scope` and `permission`. */
  readonly spaceDelimitedClaims: readonly string[];
}

export interface RequestAuthentication {
  readonly id: string;
  readonly key: string;
  /** Undefined: the whole mesh. */
  readonly namespace: string | undefined;
  /** Undefined: every workload. */
  readonly labels: Readonly<Record<string, string>> | undefined;
  /** `namespace/name` of targeted services; undefined: by labels. */
  readonly services: readonly string[] | undefined;
  readonly rules: readonly JwtRule[];
}

/** Compiles one policy; reports problems and returns undefined when there are any. */
export function compileRequestAuthentication(
  identity: ManifestIdentity,
  rootNamespace: string,
  report: ManifestReport,
): RequestAuthentication | undefined {
  const before = report.errors;
  const { spec, namespace, name } = identity;
  checkKeys(spec, ['selector', 'targetRef', 'targetRefs', 'jwtRules'], 'spec', report);
  const labels = readSelector(spec.selector, 'spec.selector', report);
  const services = readServices(spec, namespace, report);
  const list = readArray(spec.jwtRules, 'spec.jwtRules', report, 'rules') ?? [];
  const rules = list.flatMap((rule, index) => readJwtRule(rule, `spec.jwtRules[${String(index)}]`, report) ?? []);
  if (report.errors > before) return undefined;
  const key = `${namespace}/${name}`;
  return Object.freeze({
    id: `RequestAuthentication ${key}`,
    key,
    namespace: namespace === rootNamespace ? undefined : namespace,
    labels,
    services,
    rules,
  });
}

function readServices(spec: Fields, namespace: string, report: ManifestReport): readonly string[] | undefined {
  const refs = readTargetRefs(spec, report);
  if (refs === undefined || refs === 'malformed') return undefined;
  return refs.flatMap(({ ref, path }) => {
    if (
      isFields(ref) &&
      qualifiedKind(ref) === '/Service' &&
      isObjectName(ref.name) &&
      (ref.namespace === undefined || ref.namespace === namespace)
    ) {
      checkKeys(ref, ['group', 'kind', 'name', 'namespace'], path, report);
      return [`${namespace}/${ref.name}`];
    }
    report.error('target-malformed', path, 'a Service of the same namespace', show(ref), 'name a Service');
    return [];
  });
}

const ruleFields = [
  'issuer',
  'audiences',
  'jwks',
  'jwksUri',
  'jwks_uri',
  'fromHeaders',
  'fromParams',
  'fromCookies',
  'outputPayloadToHeader',
  'forwardOriginalToken',
  'outputClaimToHeaders',
  'timeout',
  'spaceDelimitedClaims',
];
const anything = (): undefined => undefined;

function readJwtRule(rule: unknown, path: string, report: ManifestReport): JwtRule | undefined {
  if (!isFields(rule)) {
    report.error('wrong-type', path, 'a rule with an issuer', show(rule), 'write issuer and jwks or jwksUri');
    return undefined;
  }
  checkKeys(rule, ruleFields, path, report);
  const { issuer, jwks } = rule;
  const jwksUri = rule.jwksUri === undefined ? rule.jwks_uri : rule.jwksUri;
  checkUnused(rule, path, report);
  if (typeof issuer !== 'string' || issuer === '') {
    report.error(
      'issuer-missing',
      `${path}.issuer`,
      'the issuer of the tokens',
      show(issuer),
      'add the value of their iss claim',
    );
    return undefined;
  }
  if ([jwks, rule.jwksUri, rule.jwks_uri].filter((keys) => keys !== undefined).length > 1)
    report.error('two-key-sets', `${path}.jwks`, 'one of jwks and jwksUri', 'several', 'keep one of them');
  if (jwks === undefined && jwksUri === undefined)
    report.error(
      'keys-missing',
      path,
      'jwks or jwksUri',
      'neither',
      'say where the keys of the issuer are: nothing is discovered',
    );
  if (jwks !== undefined && !isKeySet(jwks))
    report.error(
      'jwks-malformed',
      `${path}.jwks`,
      'a JSON Web Key Set as text',
      show(jwks),
      'paste the document { "keys": […] }',
    );
  if (jwksUri !== undefined && !(typeof jwksUri === 'string' && /^https?:\/\/[^\s/]+/.test(jwksUri))) {
    report.error('uri-malformed', `${path}.jwksUri`, 'an http or https URL', show(jwksUri), 'correct the URL');
  }
  const fromHeaders = (readArray(rule.fromHeaders, `${path}.fromHeaders`, report, 'headers') ?? []).flatMap(
    (item, index) => {
      if (
        isFields(item) &&
        typeof item.name === 'string' &&
        item.name !== '' &&
        (item.prefix === undefined || typeof item.prefix === 'string')
      ) {
        checkKeys(item, ['name', 'prefix'], `${path}.fromHeaders[${String(index)}]`, report);
        return [{ name: item.name.toLowerCase(), prefix: item.prefix ?? '' }];
      }
      report.error(
        'wrong-type',
        `${path}.fromHeaders[${String(index)}]`,
        'a header with name and prefix',
        show(item),
        'write name, and prefix such as "Bearer "',
      );
      return [];
    },
  );
  const texts = (field: string): readonly string[] =>
    readStrings(rule[field], `${path}.${field}`, report, anything) ?? [];
  const fromParams = texts('fromParams');
  const fromCookies = texts('fromCookies');
  const usual = fromHeaders.length + fromParams.length + fromCookies.length === 0;
  return Object.freeze({
    issuer,
    audiences: texts('audiences'),
    jwks: typeof jwks === 'string' ? jwks : undefined,
    jwksUri: typeof jwksUri === 'string' ? jwksUri : undefined,
    fromHeaders: usual ? [{ name: 'authorization', prefix: 'Bearer ' }] : fromHeaders,
    fromParams: usual ? ['access_token'] : fromParams,
    fromCookies,
    spaceDelimitedClaims: texts('spaceDelimitedClaims'),
  });
}

/** Fields that only a data path acts on: the engine does not, but no manifest that says nonsense passes it. */
function checkUnused(rule: Fields, path: string, report: ManifestReport): void {
  const forms: Readonly<Record<string, readonly [expected: string, check: (value: unknown) => boolean]>> = {
    outputPayloadToHeader: ['the name of a header', (value) => typeof value === 'string'],
    forwardOriginalToken: ['true or false', (value) => typeof value === 'boolean'],
    outputClaimToHeaders: ['a list of claims and headers', Array.isArray],
    timeout: ['a duration such as 5s', (value) => typeof value === 'string'],
  };
  for (const [field, [expected, check]] of Object.entries(forms))
    if (rule[field] !== undefined && !check(rule[field]))
      report.error('wrong-type', `${path}.${field}`, expected, show(rule[field]), 'correct the value, or leave it out');
}

function isKeySet(text: unknown): boolean {
  if (typeof text !== 'string') return false;
  try {
    const set: unknown = JSON.parse(text);
    return isFields(set) && Array.isArray(set.keys) && set.keys.every(isFields);
  } catch {
    return false;
  }
}

/** The rules that apply to a destination. Without labels every selector of the namespace counts as matching. */
export function jwtRulesOf(
  policies: readonly RequestAuthentication[],
  destination: {
    readonly namespace: string;
    readonly services?: readonly string[] | undefined;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  },
): readonly JwtRule[] {
  const { namespace, labels } = destination;
  const services = (destination.services ?? []).map((name) => (name.includes('/') ? name : `${namespace}/${name}`));
  return policies.flatMap((policy) => {
    if (policy.services !== undefined)
      return policy.services.some((service) => services.includes(service)) ? policy.rules : [];
    if (policy.namespace !== undefined && policy.namespace !== namespace) return [];
    const wanted = Object.entries(policy.labels ?? {});
    return labels === undefined ||
      wanted.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
      ? policy.rules
      : [];
  });
}
