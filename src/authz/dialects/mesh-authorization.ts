/** The native dialect: `ProxyPolicy` of type MeshAuthorization (`novaedge.io/v1alpha1`), read and compiled. */
import { CompiledPolicy, ruleBodies } from '../compiled-policy.js';
import type { PolicyAction, RuleParts } from '../compiled-policy.js';
import { checkKeys, isFields, readArray, readStrings } from '../manifest.js';
import type { Fields, ManifestIdentity, ManifestReport } from '../manifest.js';
import type { ResolvedOptions } from '../options.js';
import { show } from '../problem.js';
import { GrantTerm } from '../terms/grant.js';
import { HeaderTerm, HostsTerm, MethodsTerm, PathGlobsTerm } from '../terms/http.js';
import { NamespacesTerm, ServiceAccountsTerm, SpiffeIdsTerm } from '../terms/identity.js';
import type { NameTrust } from '../terms/identity.js';
import { IpBlocksTerm, PortsTerm } from '../terms/network.js';
import type { Term } from '../terms/term.js';
import { FieldList, readAlternatives } from './fields.js';
import type { FieldSpec } from './fields.js';
import { readMeshTarget } from './mesh-target.js';
import { meshwrightFields, readMeshwrightFields } from './meshwright-fields.js';
import { trustDomainAliases } from './trust-domain-aliases.js';
import {
  hostCheck,
  ipBlockCheck,
  methodCheck,
  namespaceCheck,
  pathCheck,
  portCheck,
  serviceAccountCheck,
  spiffeIdCheck,
  stringCheck,
} from './values.js';
import { readWhen } from './when.js';

export const meshAuthorizationApi = 'novaedge.io/v1alpha1';

interface Context {
  readonly identity: ManifestIdentity;
  readonly options: ResolvedOptions;
  readonly report: ManifestReport;
  readonly sources: FieldList;
  readonly operations: FieldList;
  readonly terms: Map<string, Term>;
}

/** Compiles one policy; reports problems and returns undefined when there are any. */
export function compileMeshAuthorization(
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): CompiledPolicy | undefined {
  const before = report.errors;
  const { spec } = identity;
  if (spec.type !== 'MeshAuthorization') {
    report.error(
      'unknown-type',
      'spec.type',
      '"MeshAuthorization"',
      show(spec.type),
      'the engine takes authorization policies only; leave other ProxyPolicy types out',
    );
    return undefined;
  }
  const { sources, operations, terms } = fieldLists(identity.namespace, options);
  const context: Context = { identity, options, report, sources, operations, terms };
  const scope = readMeshTarget(identity, options, report);
  const body = readBody(context);
  if (body === undefined) return undefined;
  const action = readAction(body.fields, body.path, report);
  const { tier, audit, grant } = readMeshwrightFields(body.fields, body.path, action, identity, options, report);
  const rules = readRules(body.fields, body.path, action, context);
  if (report.errors > before || scope === undefined || action === undefined) return undefined;
  const end = grant === undefined ? undefined : new GrantTerm(grant, `${body.path}.notAfter`);
  const key = `${identity.namespace}/${identity.name}`;
  return new CompiledPolicy(
    {
      id: `ProxyPolicy ${key}`,
      key,
      action,
      dryRun: audit,
      ...(tier === undefined ? {} : { tier }),
      ...(grant === undefined ? {} : { grant }),
      scopes: [scope],
      rulesPath: `${body.path}.rules`,
    },
    end === undefined ? rules : rules.map((rule) => ({ ...rule, when: [...rule.when, end] })),
    ruleBodies(options),
  );
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

function fieldLists(namespace: string, options: ResolvedOptions): NamespaceLists & { readonly operations: FieldList } {
  let known = lists.get(options);
  if (known === undefined) {
    known = { sources: new Map(), operations: new FieldList(operationFields(options), ['headers']) };
    lists.set(options, known);
  }
  let own = known.sources.get(namespace);
  if (own === undefined) {
    own = { sources: new FieldList(sourceFields(namespace, options)), terms: new Map() };
    known.sources.set(namespace, own);
  }
  return { ...own, operations: known.operations };
}

function sourceFields(namespace: string, options: ResolvedOptions): readonly FieldSpec[] {
  const trust: NameTrust = {
    domains:
      options.trustDomain === undefined ? undefined : new Set([options.trustDomain, ...options.trustDomainAliases]),
    absentPassesNot: false,
  };
  return [
    {
      name: 'namespaces',
      check: namespaceCheck,
      term: (field, values, negated) => new NamespacesTerm(field, values, negated, trust),
    },
    {
      name: 'serviceAccounts',
      check: serviceAccountCheck,
      term: (field, values, negated) => new ServiceAccountsTerm(field, values, negated, trust, namespace),
    },
    {
      name: 'spiffeIds',
      check: spiffeIdCheck,
      term: (field, values, negated) => new SpiffeIdsTerm(field, values, negated),
    },
    {
      name: 'ipBlocks',
      check: ipBlockCheck,
      term: (field, values, negated) => new IpBlocksTerm(field, values, negated, 'source'),
    },
  ];
}

function operationFields({ pathNormalization = 'REFUSE_AMBIGUOUS' }: ResolvedOptions): readonly FieldSpec[] {
  return [
    { name: 'methods', check: methodCheck, term: (field, values, negated) => new MethodsTerm(field, values, negated) },
    {
      name: 'paths',
      check: pathCheck,
      term: (field, values, negated) => new PathGlobsTerm(field, values, negated, pathNormalization),
    },
    { name: 'hosts', check: hostCheck, term: (field, values, negated) => new HostsTerm(field, values, negated) },
    {
      name: 'ports',
      check: portCheck,
      numeric: true,
      term: (field, values, negated) => new PortsTerm(field, values, negated),
    },
  ];
}

const bodyFields: readonly string[] = ['action', 'rules', ...meshwrightFields];

/** Action and rules stand under `spec.meshAuthorization`, or right under `spec`; both at once would leave open which counts. */
function readBody({ identity, report }: Context): { readonly fields: Fields; readonly path: string } | undefined {
  const { spec } = identity;
  checkKeys(spec, ['type', 'targetRef', 'meshAuthorization', ...bodyFields], 'spec', report);
  const nested = spec.meshAuthorization;
  const flat = bodyFields.filter((key) => spec[key] !== undefined);
  if (nested === undefined) return { fields: spec, path: 'spec' };
  if (flat.length > 0) {
    report.error(
      'two-forms',
      `spec.${flat[0] ?? 'action'}`,
      'action and rules in one place',
      'both spec.meshAuthorization and the same fields of spec',
      'keep those under spec.meshAuthorization',
    );
    return undefined;
  }
  if (!isFields(nested)) {
    report.error(
      'wrong-type',
      'spec.meshAuthorization',
      'an object with action and rules',
      show(nested),
      'add action and rules',
    );
    return undefined;
  }
  checkKeys(nested, bodyFields, 'spec.meshAuthorization', report);
  return { fields: nested, path: 'spec.meshAuthorization' };
}

function readAction(body: Fields, path: string, report: ManifestReport): PolicyAction | undefined {
  if (body.action === 'ALLOW' || body.action === 'DENY') return body.action;
  report.error(
    'unknown-action',
    `${path}.action`,
    '"ALLOW" or "DENY"',
    show(body.action),
    'write the action in capitals',
  );
  return undefined;
}

function readRules(
  body: Fields,
  bodyPath: string,
  action: PolicyAction | undefined,
  context: Context,
): readonly RuleParts[] {
  const { report, identity, options, sources, operations, terms } = context;
  const path = `${bodyPath}.rules`;
  const list = readArray(body.rules, path, report, 'rules') ?? [];
  if (list.length === 0 && action === 'DENY') {
    report.error(
      'deny-without-effect',
      path,
      'at least one rule',
      show(body.rules),
      'a DENY without rules stops nothing; write rules: [{}] to deny everything',
    );
  }
  const expand = trustDomainAliases(options);
  return list.map((rule, index) => {
    const at = `${path}[${String(index)}]`;
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
    return {
      from: readAlternatives(rule.from, `${at}.from`, report, undefined, (entry, entryPath) =>
        sources.read(entry, entryPath, report),
      ),
      to: readAlternatives(rule.to, `${at}.to`, report, undefined, (entry, entryPath) => {
        return [
          ...operations.read(entry, entryPath, report),
          ...readHeaders(entry.headers, `${entryPath}.headers`, report),
        ];
      }),
      when: readWhen(rule.when, `${at}.when`, report, { namespace: identity.namespace, expand, terms }),
    };
  });
}

/** `headers: [{ name, values, notValues }]`, all of which must hold. */
function readHeaders(value: unknown, path: string, report: ManifestReport): readonly Term[] {
  const terms: Term[] = [];
  (readArray(value, path, report, 'headers') ?? []).forEach((item, index) => {
    const at = `${path}[${String(index)}]`;
    if (!isFields(item)) {
      report.error(
        'wrong-type',
        at,
        'a header with name and values',
        show(item),
        'write name, and values or notValues',
      );
      return;
    }
    checkKeys(item, ['name', 'values', 'notValues'], at, report);
    const { name } = item;
    if (typeof name !== 'string' || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      report.error('malformed-value', `${at}.name`, 'a header name', show(name), 'write the name without a colon');
      return;
    }
    if (item.values === undefined && item.notValues === undefined) {
      report.error(
        'empty-match',
        at,
        'values or notValues',
        'neither',
        'write values: ["*"] for a header that must be there',
      );
      return;
    }
    const values = readStrings(item.values, `${at}.values`, report, stringCheck);
    if (values !== undefined && values.length > 0) terms.push(new HeaderTerm(`headers[${name}]`, values, false, name));
    const notValues = readStrings(item.notValues, `${at}.notValues`, report, stringCheck);
    if (notValues !== undefined && notValues.length > 0)
      terms.push(new HeaderTerm(`headers[${name}]`, notValues, true, name));
  });
  return terms;
}
