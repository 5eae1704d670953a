/** The native dialect: `ProxyPolicy` of type MeshAuthorization (`novaedge.io/v1alpha1`), read and compiled. */
import type { CompiledPolicy, CompiledRule, Conjunction, PolicyAction } from './compiled-policy.js';
import { prepareDecision } from './decision.js';
import { checkKeys, isFields, isObjectName, readArray, readStrings } from './manifest.js';
import type { Fields, ManifestIdentity, ManifestReport } from './manifest.js';
import { methodsTerm, namespacesTerm, pathsTerm, serviceAccountsTerm, spiffeIdsTerm } from './native-terms.js';
import type { TrustedDomains } from './native-terms.js';
import type { ResolvedOptions } from './options.js';
import { show } from './problem.js';
import { globDefect, parseSegmentGlob } from './segment-glob.js';
import type { Term } from './term.js';

export const meshAuthorizationApi = 'novaedge.io/v1alpha1';

interface Context {
  readonly identity: ManifestIdentity;
  readonly options: ResolvedOptions;
  readonly report: ManifestReport;
  readonly domains: TrustedDomains;
}

/** Compiles one policy; reports problems and returns undefined when there are any. */
export function compileMeshAuthorization(
  identity: ManifestIdentity,
  options: ResolvedOptions,
  report: ManifestReport,
): CompiledPolicy | undefined {
  const before = report.errors;
  const domains =
    options.trustDomain === undefined ? undefined : new Set([options.trustDomain, ...options.trustDomainAliases]);
  const context: Context = { identity, options, report, domains };
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
  const service = readTarget(context);
  const body = readBody(context);
  if (body === undefined) return undefined;
  const action = readAction(body.fields, body.path, report);
  const rules = readRules(body.fields, body.path, action, context);
  if (report.errors > before || service === undefined || action === undefined) return undefined;
  return { key: `${identity.namespace}/${identity.name}`, action, scope: { kind: 'service', service }, rules };
}

function readTarget({ identity, report }: Context): string | undefined {
  const target = identity.spec.targetRef;
  if (!isFields(target)) {
    report.error(
      'target-missing',
      'spec.targetRef',
      'the Service that the policy is for',
      show(target),
      'add targetRef: { kind: Service, name: … }',
    );
    return undefined;
  }
  const before = report.errors;
  checkKeys(target, ['group', 'kind', 'name', 'namespace'], 'spec.targetRef', report);
  if (target.kind !== 'Service') {
    report.error(
      'target-malformed',
      'spec.targetRef.kind',
      '"Service"',
      show(target.kind),
      'MeshAuthorization targets a Service',
    );
  }
  if (target.group !== undefined && target.group !== '' && target.group !== 'core') {
    report.error(
      'target-malformed',
      'spec.targetRef.group',
      'no group, as Service is of the core group',
      show(target.group),
      'remove group',
    );
  }
  if (!isObjectName(target.name)) {
    report.error(
      'target-malformed',
      'spec.targetRef.name',
      'the name of a Service',
      show(target.name),
      'add the name of the Service',
    );
  }
  if (target.namespace !== undefined && target.namespace !== identity.namespace) {
    report.error(
      'target-foreign',
      'spec.targetRef.namespace',
      `the policy's own namespace, ${identity.namespace}`,
      show(target.namespace),
      'put the policy into the namespace of the Service: a policy cannot govern another namespace',
    );
  }
  return report.errors > before ? undefined : `${identity.namespace}/${String(target.name)}`;
}

/** Action and rules stand under `spec.meshAuthorization`, or right under `spec`; both at once would leave open which counts. */
function readBody({ identity, report }: Context): { readonly fields: Fields; readonly path: string } | undefined {
  const { spec } = identity;
  checkKeys(spec, ['type', 'targetRef', 'meshAuthorization', 'action', 'rules'], 'spec', report);
  const nested = spec.meshAuthorization;
  const flat = ['action', 'rules'].filter((key) => spec[key] !== undefined);
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
  checkKeys(nested, ['action', 'rules'], 'spec.meshAuthorization', report);
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
): readonly CompiledRule[] {
  const { report, identity } = context;
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
  const policy = `${identity.namespace}/${identity.name}`;
  const rules: CompiledRule[] = [];
  list.forEach((rule, index) => {
    const at = `${path}[${String(index)}]`;
    if (!isFields(rule)) {
      report.error(
        'wrong-type',
        at,
        'a rule with from and to',
        show(rule),
        'write {} for a rule that matches everything',
      );
      return;
    }
    checkKeys(rule, ['from', 'to'], at, report);
    const from = readAlternatives(rule.from, `${at}.from`, context, readSource);
    const to = readAlternatives(rule.to, `${at}.to`, context, readOperation);
    const verb = action === 'DENY' ? 'denied' : 'allowed';
    rules.push({
      policy,
      index,
      from,
      to,
      usesHttp: [...from, ...to].some((terms) => terms.some((term) => term.http)),
      decision: prepareDecision(action === 'DENY' ? 'deny' : 'allow', `${verb} by ${policy} rule ${String(index)}`, {
        policy,
        rule: index,
      }),
    });
  });
  return rules;
}

function readAlternatives(
  value: unknown,
  path: string,
  context: Context,
  read: (entry: Fields, path: string, context: Context) => Conjunction,
): readonly Conjunction[] {
  const list = readArray(value, path, context.report, 'entries') ?? [];
  return list.map((entry, index) => {
    const at = `${path}[${String(index)}]`;
    if (!isFields(entry)) {
      context.report.error(
        'wrong-type',
        at,
        'an object',
        show(entry),
        `see docs/authz.md for the fields of ${path.endsWith('from') ? 'from' : 'to'}`,
      );
      return [];
    }
    const before = context.report.errors;
    const terms = read(entry, at, context);
    if (terms.length === 0 && context.report.errors === before) {
      context.report.error(
        'empty-match',
        at,
        'at least one field',
        '{}',
        'remove the empty entry; to match anything, leave the whole list out',
      );
    }
    return terms;
  });
}

function readSource(entry: Fields, path: string, { report, identity, domains }: Context): Conjunction {
  checkKeys(entry, ['namespaces', 'serviceAccounts', 'spiffeIds'], path, report);
  const terms: Term[] = [];
  const namespaces = readStrings(entry.namespaces, `${path}.namespaces`, report, (text) =>
    isObjectName(text) && !text.includes('.')
      ? undefined
      : { expected: 'a namespace name', fix: 'namespaces are compared exactly; leave the field out to match any' },
  );
  if (namespaces !== undefined) terms.push(namespacesTerm({ path: `${path}.namespaces`, values: namespaces }, domains));
  const accounts = readStrings(entry.serviceAccounts, `${path}.serviceAccounts`, report, serviceAccountDefect);
  if (accounts !== undefined) {
    const qualified = accounts.map((account) => (account.includes('/') ? account : `${identity.namespace}/${account}`));
    terms.push(serviceAccountsTerm({ path: `${path}.serviceAccounts`, values: accounts }, qualified, domains));
  }
  const ids = readStrings(entry.spiffeIds, `${path}.spiffeIds`, report, spiffeIdDefect);
  if (ids !== undefined) {
    const globs = ids.map((id) => parseSegmentGlob(id.slice('spiffe://'.length)));
    terms.push(spiffeIdsTerm({ path: `${path}.spiffeIds`, values: ids }, globs));
  }
  return terms;
}

function readOperation(entry: Fields, path: string, { report, options }: Context): Conjunction {
  checkKeys(entry, ['methods', 'paths'], path, report);
  const terms: Term[] = [];
  const methods = readStrings(entry.methods, `${path}.methods`, report, (text) =>
    /^[A-Z0-9!#$%&'+.^_`|~-]+$/.test(text)
      ? undefined
      : {
          expected: 'an HTTP method in capitals',
          fix: `methods are compared exactly; write ${JSON.stringify(text.toUpperCase())} or leave methods out to match any`,
        },
  );
  if (methods !== undefined) terms.push(methodsTerm({ path: `${path}.methods`, values: methods }));
  const paths = readStrings(entry.paths, `${path}.paths`, report, pathDefect);
  if (paths !== undefined)
    terms.push(
      pathsTerm({ path: `${path}.paths`, values: paths }, paths.map(parseSegmentGlob), options.pathNormalization),
    );
  return terms;
}

function serviceAccountDefect(text: string): { expected: string; fix: string } | undefined {
  const parts = text.split('/');
  const account = parts.at(-1);
  const namespace = parts.length === 2 ? parts[0] : undefined;
  const sound =
    parts.length <= 2 &&
    isObjectName(account) &&
    (namespace === undefined || namespace === '*' || isObjectName(namespace));
  return sound
    ? undefined
    : {
        expected: 'a service account: name, namespace/name or */name',
        fix: 'names are compared exactly; for patterns use spiffeIds',
      };
}

function spiffeIdDefect(text: string): { expected: string; fix: string; code?: string } | undefined {
  const expected = 'a SPIFFE ID or a glob over one, such as spiffe://cluster.local/ns/shop/sa/web-*';
  if (!text.startsWith('spiffe://')) return { expected, fix: 'start it with spiffe://', code: 'scheme-missing' };
  const rest = text.slice('spiffe://'.length);
  const defect = globDefect(rest, 'spiffe');
  if (defect !== undefined) return { expected, fix: defect, code: 'glob-malformed' };
  const segments = rest.split('/');
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
    return {
      expected,
      fix: 'a SPIFFE ID has no empty segment, no trailing slash, no . and no ..',
      code: 'never-matches',
    };
  }
  if (segments.length === 1 && segments[0] !== '**') {
    return {
      expected,
      fix: 'this is a trust domain without a path, which no peer presents; write /** after it to match all of it',
      code: 'never-matches',
    };
  }
  if (segments[0] !== '**' && !/^[a-z0-9._*?-]+$/.test(segments[0] ?? '')) {
    return { expected, fix: 'a trust domain is lower case', code: 'never-matches' };
  }
  return undefined;
}

function pathDefect(text: string): { expected: string; fix: string; code?: string } | undefined {
  const expected = 'a path or a glob over one, such as /api/v1/*';
  if (!text.startsWith('/')) return { expected, fix: 'start it with a slash', code: 'path-malformed' };
  const defect = globDefect(text, 'path');
  if (defect !== undefined) return { expected, fix: defect, code: 'glob-malformed' };
  if (/%(?![0-9A-F]{2})/.test(text))
    return { expected, fix: 'write escapes as % and two capital hexadecimal digits', code: 'path-malformed' };
  if (text.includes('//') || /\/\.\.?(?=\/|$)/.test(text)) {
    return { expected, fix: 'no path that reaches a rule has an empty or a dot segment', code: 'never-matches' };
  }
  return undefined;
}
