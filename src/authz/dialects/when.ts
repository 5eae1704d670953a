/** Conditions: `when: [{ key, values, notValues }]`, the same in both dialects. */
import { checkKeys, isFields, readArray, readStrings } from '../manifest.js';
import type { ManifestReport } from '../manifest.js';
import { show } from '../problem.js';
import type { Term } from '../terms/term.js';
import { HeaderTerm } from '../terms/http.js';
import { NamespacePatternsTerm, PrincipalsTerm, ServiceAccountsTerm, TrustDomainsTerm } from '../terms/identity.js';
import { ClaimTerm, RequestPrincipalsTerm, UntoldTerm } from '../terms/jwt.js';
import { IpBlocksTerm, PortsTerm, SniTerm } from '../terms/network.js';
import { maxInterned, termKey } from './fields.js';
import type { ValueDefect } from './fields.js';
import {
  ipBlockCheck,
  istioServiceAccountCheck,
  namespacePatternCheck,
  portCheck,
  principalCheck,
  trustDomainCheck,
} from './values.js';

/** What conditions need to know about their policy. */
export interface WhenContext {
  readonly namespace: string;
  readonly expand: (pattern: string) => readonly string[];
  /** Terms read before without a problem, for reuse: terms have no state. */
  readonly terms: Map<string, Term>;
}

interface KeySpec {
  readonly check: (value: string) => ValueDefect | undefined;
  readonly term: (field: string, values: readonly string[], negated: boolean) => Term;
}

const anything = (): undefined => undefined;

/** Every key without brackets; docs/authz.md and the JSON Schemas list the same. */
export const plainWhenKeys = [
  'source.ip',
  'remote.ip',
  'source.namespace',
  'source.principal',
  'source.serviceAccount',
  'source.trustDomain',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'destination.ip',
  'destination.port',
  'connection.sni',
] as const;

function keySpec(key: string, { namespace, expand }: WhenContext): KeySpec | undefined {
  switch (key) {
    case 'source.ip':
      return {
        check: ipBlockCheck,
        term: (field, values, negated) => new IpBlocksTerm(field, values, negated, 'source'),
      };
    case 'remote.ip':
      return {
        check: ipBlockCheck,
        term: (field, values, negated) => new IpBlocksTerm(field, values, negated, 'remote'),
      };
    case 'destination.ip':
      return {
        check: ipBlockCheck,
        term: (field, values, negated) => new IpBlocksTerm(field, values, negated, 'destination'),
      };
    case 'destination.port':
      return { check: portCheck, term: (field, values, negated) => new PortsTerm(field, values, negated) };
    case 'source.namespace':
      return {
        check: namespacePatternCheck,
        term: (field, values, negated) => new NamespacePatternsTerm(field, values, negated),
      };
    case 'source.principal':
      return {
        check: principalCheck,
        term: (field, values, negated) => new PrincipalsTerm(field, values, negated, expand),
      };
    case 'source.serviceAccount':
      return {
        check: istioServiceAccountCheck,
        term: (field, values, negated) => new ServiceAccountsTerm(field, values, negated, istioTrust, namespace),
      };
    case 'source.trustDomain':
      return {
        check: trustDomainCheck,
        term: (field, values, negated) => new TrustDomainsTerm(field, values, negated),
      };
    case 'connection.sni':
      return { check: anything, term: (field, values, negated) => new SniTerm(field, values, negated) };
    case 'request.auth.principal':
      return { check: anything, term: (field, values, negated) => new RequestPrincipalsTerm(field, values, negated) };
    case 'request.auth.audiences':
      return { check: anything, term: (field, values, negated) => new ClaimTerm(field, values, negated, ['aud']) };
    case 'request.auth.presenter':
      return { check: anything, term: (field, values, negated) => new ClaimTerm(field, values, negated, ['azp']) };
  }
  const header = /^request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]$/.exec(key)?.[1];
  if (header !== undefined)
    return { check: anything, term: (field, values, negated) => new HeaderTerm(field, values, negated, header) };
  const claims = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/.exec(key)?.[1];
  if (claims !== undefined) {
    const path = claims.slice(1, -1).split('][');
    return { check: anything, term: (field, values, negated) => new ClaimTerm(field, values, negated, path) };
  }
  if (/^experimental\.envoy\.filters\.[^[\]]+(?:\[[^[\]]+\])+$/.test(key)) {
    return { check: anything, term: (field, values, negated) => new UntoldTerm(field, values, negated) };
  }
  return undefined;
}

/** Names of any trust domain are believed, and not-forms hold without a principal: Istio's reading. */
export const istioTrust = Object.freeze({ domains: undefined, absentPassesNot: true });

export function readWhen(value: unknown, path: string, report: ManifestReport, context: WhenContext): readonly Term[] {
  const terms: Term[] = [];
  (readArray(value, path, report, 'conditions') ?? []).forEach((item, index) => {
    const at = `${path}[${String(index)}]`;
    if (!isFields(item)) {
      report.error(
        'wrong-type',
        at,
        'a condition with key and values',
        show(item),
        'write key, and values or notValues',
      );
      return;
    }
    const before = report.problems.length;
    checkKeys(item, ['key', 'values', 'notValues'], at, report);
    const { key } = item;
    const spec = typeof key === 'string' ? keySpec(key, context) : undefined;
    if (typeof key !== 'string' || spec === undefined) {
      report.error(
        'unknown-key',
        `${at}.key`,
        'a known attribute',
        show(key),
        'see docs/authz.md for the keys; a header is request.headers[name]',
      );
      return;
    }
    if (item.values === undefined && item.notValues === undefined) {
      report.error('empty-match', at, 'values or notValues', 'neither', 'say which values the attribute must have');
      return;
    }
    for (const part of ['values', 'notValues'] as const) {
      if (item[part] === undefined) continue;
      const cacheKey = termKey(`${part} ${key}`, item[part]);
      const known = cacheKey === undefined ? undefined : context.terms.get(cacheKey);
      const term = known ?? readTerm(key, item[part], spec, part === 'notValues', `${at}.${part}`, report);
      if (term === undefined) continue;
      terms.push(term);
      if (cacheKey !== undefined && report.problems.length === before && context.terms.size < maxInterned)
        context.terms.set(cacheKey, term);
    }
  });
  return terms;
}

function readTerm(
  key: string,
  value: unknown,
  spec: KeySpec,
  negated: boolean,
  path: string,
  report: ManifestReport,
): Term | undefined {
  const values = readStrings(value, path, report, spec.check);
  return values === undefined || values.length === 0 ? undefined : spec.term(key, Object.freeze([...values]), negated);
}
