/** Istio's `AuthorizationPolicy` (`security.istio.io/v1`, `v1beta1`), read and compiled. */
import { CompiledPolicy, ruleBodies } from '../compiled-policy.js';
import type { PolicyAction, RuleParts } from '../compiled-policy.js';
import { checkKeys, isFields, readArray } from '../manifest.js';
import type { Fields, ManifestIdentity, ManifestReport } from '../manifest.js';
import type { ResolvedOptions } from '../options.js';
import { show } from '../problem.js';
import { HostsTerm, MethodsTerm, PathStringsTerm } from '../terms/http.js';
import { NamespacePatternsTerm, PrincipalsTerm, ServiceAccountsTerm, TrustDomainsTerm } from '../terms/identity.js';
import { RequestPrincipalsTerm } from '../terms/jwt.js';
import { IpBlocksTerm, PortsTerm } from '../terms/network.js';
import type { Term } from '../terms/term.js';
import { FieldList, readAlternatives } from './fields.js';
import type { FieldSpec } from './fields.js';
import { readScopes } from './istio-scopes.js';
import { trustDomainAliases } from './trust-domain-aliases.js';
import {
  anyValueCheck,
  ipBlockCheck,
  istioPathCheck,
  istioServiceAccountCheck,
  namespacePatternCheck,
  portCheck,
  principalCheck,
  stringCheck,
  trustDomainCheck,
} from './values.js';
import { istioTrust, readWhen } from './when.js';

export const istioApis: readonly string[] = ['security.istio.io/v1', 'security.istio.io/v1beta1'];

const actions: readonly string[] = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'];
const maxServiceAccounts = 16;
const dryRunAnnotation = 'istio.io/dry-run';

/** Compiles one policy; reports problems and returns undefined when there are any. */
export function compileIstioAuthorization(
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): CompiledPolicy | undefined {
  const before = report.errors;
  const { spec, namespace, name } = identity;
  checkKeys(spec, ['selector', 'targetRef', 'targetRefs', 'action', 'rules', 'provider'], 'spec', report);
  const action = readAction(spec, report);
  const provider = readProvider(spec, action, report);
  const scopes = readScopes(identity, options, report);
  const rules = readRules(identity, action, options, report);
  const dryRun = readDryRun(identity, action, report);
  if (report.errors > before || action === undefined) return undefined;
  const key = `${namespace}/${name}`;
  return new CompiledPolicy(
    { id: `AuthorizationPolicy ${key}`, key, action, provider, dryRun, scopes, rulesPath: 'spec.rules' },
    rules,
    ruleBodies(options),
  );
}

function readAction(spec: Fields, report: ManifestReport): PolicyAction | undefined {
  const { action = 'ALLOW' } = spec;
  if (typeof action === 'string' && actions.includes(action)) return action as PolicyAction;
  report.error(
    'unknown-action',
    'spec.action',
    actions.join(', '),
    show(action),
    'write the action in capitals, or leave it out for ALLOW',
  );
  return undefined;
}

function readProvider(spec: Fields, action: PolicyAction | undefined, report: ManifestReport): string | undefined {
  const { provider } = spec;
  if (action !== 'CUSTOM') {
    if (provider !== undefined)
      report.error(
        'provider-unexpected',
        'spec.provider',
        'a provider only with action CUSTOM',
        show(provider),
        'remove provider, or set the action to CUSTOM',
      );
    return undefined;
  }
  if (isFields(provider) && typeof provider.name === 'string' && provider.name !== '') {
    checkKeys(provider, ['name'], 'spec.provider', report);
    return provider.name;
  }
  report.error(
    'provider-missing',
    'spec.provider',
    'the name of the provider to ask',
    show(provider),
    'add provider: { name: … }',
  );
  return undefined;
}

function readDryRun(
  { annotations }: ManifestIdentity,
  action: PolicyAction | undefined,
  report: ManifestReport,
): boolean {
  const value = annotations[dryRunAnnotation];
  if (value === undefined || value === 'false') return false;
  const path = `metadata.annotations[${dryRunAnnotation}]`;
  if (value !== 'true') {
    report.error('malformed-value', path, '"true" or "false"', show(value), 'quote the value: annotations are text');
    return false;
  }
  if (action === 'ALLOW' || action === 'DENY') return true;
  report.warning(
    'dry-run-ignored',
    path,
    'action ALLOW or DENY',
    show(action),
    'there is no dry run for this action: the policy is enforced',
  );
  return false;
}

function readRules(
  identity: ManifestIdentity,
  action: PolicyAction | undefined,
  options: ResolvedOptions,
  report: ManifestReport,
): readonly RuleParts[] {
  const { spec, namespace } = identity;
  const list = readArray(spec.rules, 'spec.rules', report, 'rules') ?? [];
  if (list.length === 0 && action !== undefined && action !== 'ALLOW') {
    report.error(
      'deny-without-effect',
      'spec.rules',
      'at least one rule',
      show(spec.rules),
      `a ${action} without rules has no effect; write rules: [{}] to match everything`,
    );
  }
  const expand = trustDomainAliases(options);
  const { sources, operations, terms } = fieldLists(namespace, options, expand);
  return list.map((rule, index) => {
    const at = `spec.rules[${String(index)}]`;
    if (!isFields(rule)) {
      report.error(
        'wrong-type',
        at,
        'a rule with from, to and when',
        show(rule),
        'write {} for a rule that matches everything',
      );
      return { from: [], to: [], when: [] };
    }
    checkKeys(rule, ['from', 'to', 'when'], at, report);
    if (action === 'CUSTOM') checkCustom(rule, at, report);
    return {
      from: readAlternatives(rule.from, `${at}.from`, report, 'source', (entry, path) => {
        checkAccountsAlone(entry, path, report);
        return sources.read(entry, path, report);
      }),
      to: readAlternatives(rule.to, `${at}.to`, report, 'operation', (entry, path) => {
        return operations.read(entry, path, report);
      }),
      when: readWhen(rule.when, `${at}.when`, report, { namespace, expand, terms }),
    };
  });
}

function checkAccountsAlone(entry: Fields, path: string, report: ManifestReport): void {
  if (entry.serviceAccounts === undefined && entry.notServiceAccounts === undefined) return;
  for (const other of ['principals', 'notPrincipals', 'namespaces', 'notNamespaces']) {
    if (entry[other] === undefined) continue;
    report.error(
      'fields-conflict',
      `${path}.${other}`,
      'serviceAccounts without principals and namespaces',
      other,
      'a service account already says its namespace; remove one of the two',
    );
  }
}

/** What a provider is asked about cannot depend on identities that the check itself runs beside. */
function checkCustom(rule: Fields, path: string, report: ManifestReport): void {
  const fix = 'use other fields, or an ALLOW or DENY policy';
  const expected = 'a CUSTOM rule without principals, namespaces and token attributes';
  if (Array.isArray(rule.from)) {
    rule.from.forEach((item: unknown, index) => {
      const source = isFields(item) ? item.source : undefined;
      if (!isFields(source)) return;
      for (const field of Object.keys(source)) {
        if (!/^(not)?(principals|namespaces|requestPrincipals)$/i.test(field)) continue;
        report.error('custom-unsupported', `${path}.from[${String(index)}].source.${field}`, expected, field, fix);
      }
    });
  }
  if (Array.isArray(rule.when)) {
    rule.when.forEach((item: unknown, index) => {
      const key = isFields(item) ? item.key : undefined;
      if (typeof key !== 'string' || !/^(source\.(principal|namespace)|request\.auth\.)/.test(key)) return;
      report.error('custom-unsupported', `${path}.when[${String(index)}].key`, expected, key, fix);
    });
  }
}

interface NamespaceLists {
  readonly sources: FieldList;
  readonly terms: Map<string, Term>;
}

/** Prepared once for each namespace and set of options. */
const lists = new WeakMap<
  ResolvedOptions,
  { readonly sources: Map<string, NamespaceLists>; readonly operations: FieldList }
>();

function fieldLists(
  namespace: string,
  options: ResolvedOptions,
  expand: (pattern: string) => readonly string[],
): NamespaceLists & { readonly operations: FieldList } {
  let known = lists.get(options);
  if (known === undefined) {
    known = { sources: new Map(), operations: new FieldList(operationFields(options)) };
    lists.set(options, known);
  }
  let own = known.sources.get(namespace);
  if (own === undefined) {
    own = { sources: new FieldList(sourceFields(namespace, expand)), terms: new Map() };
    known.sources.set(namespace, own);
  }
  return { ...own, operations: known.operations };
}

function sourceFields(namespace: string, expand: (pattern: string) => readonly string[]): readonly FieldSpec[] {
  return [
    {
      name: 'principals',
      check: principalCheck,
      term: (field, values, negated) => new PrincipalsTerm(field, values, negated, expand),
    },
    {
      name: 'namespaces',
      check: namespacePatternCheck,
      term: (field, values, negated) => new NamespacePatternsTerm(field, values, negated),
    },
    {
      name: 'serviceAccounts',
      check: istioServiceAccountCheck,
      maxValues: maxServiceAccounts,
      term: (field, values, negated) => new ServiceAccountsTerm(field, values, negated, istioTrust, namespace),
    },
    {
      name: 'trustDomains',
      check: trustDomainCheck,
      term: (field, values, negated) => new TrustDomainsTerm(field, values, negated),
    },
    {
      name: 'requestPrincipals',
      check: anyValueCheck,
      term: (field, values, negated) => new RequestPrincipalsTerm(field, values, negated),
    },
    {
      name: 'ipBlocks',
      check: ipBlockCheck,
      term: (field, values, negated) => new IpBlocksTerm(field, values, negated, 'source'),
    },
    {
      name: 'remoteIpBlocks',
      check: ipBlockCheck,
      term: (field, values, negated) => new IpBlocksTerm(field, values, negated, 'remote'),
    },
  ];
}

function operationFields({ pathNormalization = 'BASE' }: ResolvedOptions): readonly FieldSpec[] {
  return [
    { name: 'hosts', check: stringCheck, term: (field, values, negated) => new HostsTerm(field, values, negated) },
    { name: 'ports', check: portCheck, term: (field, values, negated) => new PortsTerm(field, values, negated) },
    { name: 'methods', check: stringCheck, term: (field, values, negated) => new MethodsTerm(field, values, negated) },
    {
      name: 'paths',
      check: istioPathCheck,
      term: (field, values, negated) => new PathStringsTerm(field, values, negated, pathNormalization),
    },
  ];
}
