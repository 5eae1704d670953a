/**
 * A second evaluator, written straight from the documented semantics: slow, obvious, and without a line of the engine.
 * It takes manifests that are known to be well formed and says whether a request is allowed.
 *
 * Every comparison gives 'yes', 'no' or 'open'; 'open' counts as matched in DENY and CUSTOM and as not matched in ALLOW.
 */
import { BlockList, isIP } from 'node:net';
import type { AuthzOptions, AuthzRequest } from '../../../src/authz/index.js';

export type Verdict = 'yes' | 'no' | 'open';

export interface NaiveOptions {
  readonly defaultAction: 'allow' | 'deny';
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly rootNamespace: string;
  readonly pathNormalization?: AuthzOptions['pathNormalization'];
  /** Namespaces whose native policies are observed unless they say otherwise. Default none. */
  readonly audit?: 'all' | readonly string[];
  /** For grants that end. */
  readonly nowMs?: number;
  /** Whether observed and dry-run policies count as well. Default false. */
  readonly shadow?: boolean;
}

/* eslint-disable @typescript-eslint/no-explicit-any */
type Json = any;

export function naiveAllowed(manifests: readonly Json[], request: AuthzRequest, options: NaiveOptions): boolean {
  if (request.source.principal === undefined && peerMode(manifests, request, options) === 'STRICT') return false;
  const applying = manifests
    .filter((manifest) => manifest.kind !== 'PeerAuthentication')
    .filter((manifest) => options.shadow === true || !observed(manifest, options))
    .flatMap((manifest) => {
      const how = applies(manifest, request, options);
      return how === 'no' ? [] : [{ manifest, certain: how === 'yes' }];
    });
  const action = (manifest: Json): string => body(manifest).action ?? 'ALLOW';
  for (const { manifest } of applying) {
    if (action(manifest) !== 'CUSTOM') continue;
    if (
      rules(manifest).some((rule) => ruleMatches(rule, manifest, request, options) !== 'no') &&
      request.custom?.[manifest.spec.provider.name] !== 'allow'
    ) {
      return false;
    }
  }
  const tierOf = (manifest: Json): number | undefined => body(manifest).tier;
  const denied = (tier: number | undefined): boolean =>
    applying.some(
      ({ manifest }) =>
        action(manifest) === 'DENY' &&
        tierOf(manifest) === tier &&
        rules(manifest).some((rule) => ruleMatches(rule, manifest, request, options) !== 'no'),
    );
  const allowed = (tier: number | undefined): boolean =>
    applying.some(
      ({ manifest, certain }) =>
        certain &&
        action(manifest) === 'ALLOW' &&
        tierOf(manifest) === tier &&
        !ended(manifest, options) &&
        rules(manifest).some(
          (rule) =>
            !(request.http === undefined && needsHttp(rule)) && ruleMatches(rule, manifest, request, options) === 'yes',
        ),
    );
  if (denied(undefined)) return false;
  const tiers = applying.flatMap(({ manifest }) => tierOf(manifest) ?? []).sort((one, other) => one - other);
  for (const tier of tiers) {
    if (denied(tier)) return false;
    if (allowed(tier)) return true;
  }
  if (allowed(undefined)) return true;
  return options.defaultAction === 'allow' && !applying.some(({ manifest }) => action(manifest) === 'ALLOW');
}

/** The mode of the nearest PeerAuthentication: port, workload, namespace, mesh; of several the strictest. */
function peerMode(
  manifests: readonly Json[],
  { destination }: AuthzRequest,
  options: NaiveOptions,
): string | undefined {
  const { namespace, labels, port } = destination;
  const peers = manifests.filter((manifest) => manifest.kind === 'PeerAuthentication');
  const selects = (peer: Json): boolean =>
    peer.metadata.namespace === namespace &&
    peer.spec.selector !== undefined &&
    (labels === undefined ||
      Object.entries(peer.spec.selector.matchLabels).every(([name, value]) => labels[name] === value));
  const wide = peers.filter((peer) => peer.spec.selector === undefined);
  const isRoot = (peer: Json): boolean => peer.metadata.namespace === options.rootNamespace;
  const levels: Json[][] = [
    peers
      .filter(selects)
      .flatMap((peer) => Object.entries<Json>(peer.spec.portLevelMtls ?? {}))
      .filter(([number]) => port === undefined || Number(number) === port)
      .map(([, mtls]) => mtls),
    peers.filter(selects).map((peer) => peer.spec.mtls),
    wide.filter((peer) => !isRoot(peer) && peer.metadata.namespace === namespace).map((peer) => peer.spec.mtls),
    wide.filter(isRoot).map((peer) => peer.spec.mtls),
  ];
  for (const level of levels) {
    const found = level.map((mtls) => mtls?.mode);
    for (const mode of ['STRICT', 'PERMISSIVE', 'DISABLE']) if (found.includes(mode)) return mode;
  }
  return undefined;
}

/** Judged beside the others, never enforced. */
function observed(manifest: Json, { audit = [] }: NaiveOptions): boolean {
  if (!isNative(manifest)) return manifest.metadata.annotations?.['istio.io/dry-run'] === 'true';
  const { mode } = body(manifest);
  return mode === undefined ? audit === 'all' || audit.includes(manifest.metadata.namespace) : mode === 'AUDIT';
}

const ended = (manifest: Json, { nowMs = 0 }: NaiveOptions): boolean =>
  isNative(manifest) && body(manifest).notAfter !== undefined && nowMs >= Date.parse(body(manifest).notAfter);

const isNative = (manifest: Json): boolean => manifest.kind === 'ProxyPolicy';
const body = (manifest: Json): Json =>
  isNative(manifest) ? (manifest.spec.meshAuthorization ?? manifest.spec) : manifest.spec;
const rules = (manifest: Json): Json[] => body(manifest).rules ?? [];

function applies(manifest: Json, request: AuthzRequest, options: NaiveOptions): Verdict {
  const { destination } = request;
  const { namespace } = manifest.metadata;
  const services = (destination.services ?? []).map((name) =>
    name.includes('/') ? name : `${destination.namespace}/${name}`,
  );
  const toService = (name: string): Verdict => (services.includes(`${namespace}/${name}`) ? 'yes' : 'no');
  if (isNative(manifest)) {
    const { kind, name } = manifest.spec.targetRef;
    if (kind === 'Mesh') return 'yes';
    return kind === 'Namespace' ? (name === destination.namespace ? 'yes' : 'no') : toService(name);
  }
  const root = namespace === options.rootNamespace;
  const refs =
    manifest.spec.targetRefs ?? (manifest.spec.targetRef === undefined ? undefined : [manifest.spec.targetRef]);
  if (refs !== undefined) {
    return any(
      refs.map((ref: Json) =>
        ref.kind === 'ServiceEntry'
          ? services.includes(`serviceentry:${namespace}/${ref.name}`)
            ? 'yes'
            : 'no'
          : ref.kind === 'Service'
            ? toService(ref.name)
            : ref.kind === 'GatewayClass'
              ? 'yes'
              : labelled({ 'gateway.networking.k8s.io/gateway-name': ref.name }, namespace),
      ),
    );
  }
  return labelled(manifest.spec.selector?.matchLabels ?? {}, root ? undefined : namespace);

  function labelled(labels: Record<string, string>, wanted: string | undefined): Verdict {
    if (wanted !== undefined && wanted !== destination.namespace) return 'no';
    if (Object.keys(labels).length === 0) return 'yes';
    if (destination.labels === undefined) return 'open';
    return Object.entries(labels).every(([name, value]) => destination.labels?.[name] === value) ? 'yes' : 'no';
  }
}

const httpFields = [
  'methods',
  'notMethods',
  'paths',
  'notPaths',
  'hosts',
  'notHosts',
  'headers',
  'requestPrincipals',
  'notRequestPrincipals',
];

function needsHttp(rule: Json): boolean {
  const entries = [
    ...(rule.from ?? []).map((entry: Json) => entry.source ?? entry),
    ...(rule.to ?? []).map((entry: Json) => entry.operation ?? entry),
  ];
  return (
    entries.some((entry) => Object.keys(entry).some((field) => httpFields.includes(field))) ||
    (rule.when ?? []).some((condition: Json) => /^(request|experimental)\./.test(condition.key))
  );
}

function ruleMatches(rule: Json, manifest: Json, request: AuthzRequest, options: NaiveOptions): Verdict {
  const group = (entries: Json[] | undefined, inner: string): Verdict =>
    entries === undefined || entries.length === 0
      ? 'yes'
      : any(entries.map((entry) => all(fields(isNative(manifest) ? entry : entry[inner], manifest, request, options))));
  return all([
    group(rule.from, 'source'),
    group(rule.to, 'operation'),
    ...(rule.when ?? []).flatMap((condition: Json) => [
      ...(condition.values === undefined
        ? []
        : [attribute(condition.key, condition.values, manifest, request, options)]),
      ...(condition.notValues === undefined
        ? []
        : [not(attribute(condition.key, condition.notValues, manifest, request, options))]),
    ]),
  ]);
}

const any = (verdicts: Verdict[]): Verdict =>
  verdicts.includes('yes') ? 'yes' : verdicts.includes('open') ? 'open' : 'no';
const all = (verdicts: Verdict[]): Verdict =>
  verdicts.includes('no') ? 'no' : verdicts.includes('open') ? 'open' : 'yes';
const not = (verdict: Verdict): Verdict => (verdict === 'yes' ? 'no' : verdict === 'no' ? 'yes' : 'open');

function fields(entry: Json, manifest: Json, request: AuthzRequest, options: NaiveOptions): Verdict[] {
  return Object.entries<Json>(entry).flatMap(([field, values]): Verdict[] => {
    if (field === 'headers') {
      return values.flatMap((header: Json) => [
        ...(header.values === undefined ? [] : [headerMatches(header.name, header.values, request)]),
        ...(header.notValues === undefined ? [] : [not(headerMatches(header.name, header.notValues, request))]),
      ]);
    }
    const negated = /^not[A-Z]/.test(field);
    const plain = negated ? field.slice(3, 4).toLowerCase() + field.slice(4) : field;
    if (isNative(manifest)) {
      const missing = request.source.principal === undefined;
      if (negated && missing && ['namespaces', 'serviceAccounts', 'spiffeIds'].includes(plain)) {
        if (plain !== 'spiffeIds') return ['open'];
        const verdict = attribute(`native.${plain}`, values, manifest, request, options);
        return [verdict === 'no' ? 'open' : not(verdict)];
      }
      const verdict = attribute(`native.${plain}`, values, manifest, request, options);
      return [negated ? not(verdict) : verdict];
    }
    const keys: Record<string, string> = {
      principals: 'source.principal',
      namespaces: 'source.namespace',
      serviceAccounts: 'source.serviceAccount',
      trustDomains: 'source.trustDomain',
      requestPrincipals: 'request.auth.principal',
      ipBlocks: 'source.ip',
      remoteIpBlocks: 'remote.ip',
      ports: 'destination.port',
    };
    const verdict = attribute(keys[plain] ?? `istio.${plain}`, values, manifest, request, options);
    return [negated ? not(verdict) : verdict];
  });
}

/** Istio's strings, as regular expressions. */
function stringMatches(pattern: string, text: string): boolean {
  const literal = (part: string): string => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  if (pattern === '*') return text !== '';
  if (pattern.startsWith('*')) return new RegExp(`${literal(pattern.slice(1))}$`, 's').test(text);
  if (pattern.endsWith('*')) return new RegExp(`^${literal(pattern.slice(0, -1))}`, 's').test(text);
  return pattern === text;
}

const some = (patterns: string[], text: string | undefined): Verdict =>
  text !== undefined && patterns.some((pattern) => stringMatches(pattern, text)) ? 'yes' : 'no';

function parts(
  principal: string | undefined,
): { name: string; td: string; ns?: string; sa?: string; exact: boolean } | undefined {
  if (principal === undefined) return undefined;
  const name = principal.replace('spiffe://', '');
  const [td = '', ns, namespace, sa, account, ...rest] = name.split('/');
  if (ns !== 'ns' || namespace === undefined) return { name, td, exact: false };
  if (sa !== 'sa' || account === undefined) return { name, td, ns: namespace, exact: false };
  return { name, td, ns: namespace, sa: account, exact: rest.length === 0 };
}

function attribute(
  key: string,
  values: string[],
  manifest: Json,
  request: AuthzRequest,
  options: NaiveOptions,
): Verdict {
  const who = parts(request.source.principal);
  const own = manifest.metadata.namespace as string;
  const ourDomains = [options.trustDomain, ...options.trustDomainAliases];
  switch (key) {
    case 'native.namespaces':
      if (who?.ns === undefined || !values.includes(who.ns)) return 'no';
      return who.exact && ourDomains.includes(who.td) ? 'yes' : 'open';
    case 'native.serviceAccounts': {
      if (who?.sa === undefined) return 'no';
      const hit = values.some((value) => {
        const [ns, sa] = value.includes('/') ? value.split('/') : [own, value];
        return (ns === '*' || ns === who.ns) && sa === who.sa;
      });
      if (!hit) return 'no';
      return who.exact && ourDomains.includes(who.td) ? 'yes' : 'open';
    }
    case 'native.spiffeIds': {
      const principal = request.source.principal;
      const node =
        request.source.node ??
        (principal !== undefined && /^spiffe:\/\/[^/]+\/agent\/[^/]+$/.test(principal) ? principal : undefined);
      if ([principal, node].some((id) => id !== undefined && values.some((value) => globMatches(value, id))))
        return 'yes';
      const couldNameNode = values.some((value) => {
        const [td = '', ...rest] = value.replace('spiffe://', '').split('/');
        return couldBe([td, ...rest], ['any', 'agent', 'any']);
      });
      return node === undefined && couldNameNode ? 'open' : 'no';
    }
    case 'native.ipBlocks':
    case 'source.ip':
      return ipIn(values, request.source.ip);
    case 'remote.ip':
      return ipIn(values, request.source.remoteIp ?? request.source.ip);
    case 'destination.ip':
      return ipIn(values, request.destination.ip);
    case 'native.ports':
    case 'destination.port':
      return request.destination.port === undefined
        ? 'open'
        : values.map(Number).includes(request.destination.port)
          ? 'yes'
          : 'no';
    case 'connection.sni':
      return some(values, request.destination.sni);
    case 'source.principal':
      return some(
        values.flatMap((value) => {
          const [td = '', ...rest] = value.split('/');
          if (rest.length === 0 || ![...ourDomains, 'cluster.local'].includes(td)) return [value];
          return ourDomains.map((domain) => [domain, ...rest].join('/'));
        }),
        who?.name,
      );
    case 'source.namespace':
      return who?.ns !== undefined &&
        values.some((value) => new RegExp(`^${value.replaceAll('*', '.*')}$`).test(who.ns ?? ''))
        ? 'yes'
        : 'no';
    case 'source.serviceAccount': {
      const hit =
        who?.sa !== undefined &&
        values.some((value) => (value.includes('/') ? value : `${own}/${value}`) === `${who.ns ?? ''}/${who.sa ?? ''}`);
      return !hit ? 'no' : who.exact ? 'yes' : 'open';
    }
    case 'source.trustDomain':
      return some(values, who?.td);
  }
  // Everything below needs HTTP.
  const { http } = request;
  if (http === undefined) return 'open';
  switch (key) {
    case 'native.methods':
    case 'istio.methods':
      return /^[A-Z0-9!#$%&'*+.^_`|~-]+$/.test(http.method) ? some(values, http.method) : 'open';
    case 'native.hosts':
    case 'istio.hosts':
      return some(
        values.map((value) => value.toLowerCase()),
        (http.host ?? header('host', request))?.toLowerCase(),
      );
    case 'native.paths': {
      const path = pathIn(options.pathNormalization ?? 'REFUSE_AMBIGUOUS', http.path);
      return path === undefined ? 'open' : values.some((value) => globMatches(value, path)) ? 'yes' : 'no';
    }
    case 'istio.paths': {
      const path = pathIn(options.pathNormalization ?? 'BASE', http.path);
      if (path === undefined) return 'open';
      return values.some((value) => (value.includes('{') ? templateMatches(value, path) : stringMatches(value, path)))
        ? 'yes'
        : 'no';
    }
    case 'request.auth.principal': {
      const { iss, sub } = (request.jwt?.claims ?? {}) as Record<string, string | undefined>;
      if (iss === undefined || sub === undefined || iss === '' || sub === '') return 'no';
      return values.some((value) => {
        if (value === '*') return true;
        const cut = value.lastIndexOf('/');
        return stringMatches(value.slice(0, cut), iss) && stringMatches(value.slice(cut + 1), sub);
      })
        ? 'yes'
        : 'no';
    }
    case 'request.auth.audiences':
      return claimMatches(['aud'], values, request);
    case 'request.auth.presenter':
      return claimMatches(['azp'], values, request);
  }
  const name = /^request\.headers\[(.+)\]$/.exec(key)?.[1];
  if (name !== undefined) return headerMatches(name, values, request);
  const claims = /^request\.auth\.claims\[(.+)\]$/.exec(key)?.[1];
  if (claims !== undefined) return claimMatches(claims.split(']['), values, request);
  return 'open';
}

function claimMatches(path: string[], values: string[], request: AuthzRequest): Verdict {
  let claim: Json = request.jwt?.claims ?? {};
  for (const name of path)
    claim = typeof claim === 'object' && claim !== null && Object.keys(claim).includes(name) ? claim[name] : undefined;
  const last = path.at(-1) ?? '';
  const split = ['scope', 'permission', ...(request.jwt?.spaceDelimitedClaims ?? [])].includes(last);
  const texts: string[] = Array.isArray(claim)
    ? claim.filter((item: unknown) => typeof item === 'string')
    : typeof claim === 'string'
      ? split
        ? claim.split(' ').filter(Boolean)
        : [claim]
      : [];
  return any(texts.map((text) => some(values, text)));
}

function header(name: string, request: AuthzRequest): string | undefined {
  const found = Object.entries(request.http?.headers ?? {}).filter(([key]) => key.toLowerCase() === name.toLowerCase());
  const values = found.flatMap(([, value]) => value);
  return values.length === 0 ? undefined : values.join(',');
}

function headerMatches(name: string, values: string[], request: AuthzRequest): Verdict {
  return request.http === undefined ? 'open' : some(values, header(name, request));
}

function ipIn(blocks: string[], written: string | undefined): Verdict {
  if (written === undefined) return 'no';
  const ip = written.replace(/^::ffff:(?=\d+\.)/, '');
  if (isIP(ip) === 0) return 'open';
  const family = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 4 ? 'ipv4' : 'ipv6');
  const list = new BlockList();
  for (const block of blocks) {
    const [address = '', length] = block.split('/');
    // An IPv4 address is in no IPv6 block, although BlockList would look for its mapped form.
    if (family(address) !== family(ip)) continue;
    if (length === undefined) list.addAddress(address, family(address));
    else list.addSubnet(address, Number(length), family(address));
  }
  return list.check(ip, family(ip)) ? 'yes' : 'no';
}

/** Globs by segment, by plain recursion. */
function globMatches(pattern: string, text: string): boolean {
  return segments(pattern.split('/'), text.split('/'));
  function segments(wanted: string[], given: string[]): boolean {
    const [first, ...rest] = wanted;
    if (first === undefined) return given.length === 0;
    if (first === '**')
      return Array.from({ length: given.length + 1 }, (_, count) => count).some((count) =>
        segments(rest, given.slice(count)),
      );
    const [segment, ...others] = given;
    if (segment === undefined) return false;
    if (first === '*' && segment === '') return false;
    const form = first
      .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    return new RegExp(`^${form}$`).test(segment) && segments(rest, others);
  }
}

function couldBe(wanted: string[], template: string[]): boolean {
  const [first, ...rest] = wanted;
  if (first === undefined) return template.length === 0;
  if (first === '**') return template.some((_, count) => couldBe(rest, template.slice(count))) || couldBe(rest, []);
  const [head, ...others] = template;
  if (head === undefined) return false;
  return (head === 'any' || globMatches(first, head)) && couldBe(rest, others);
}

function templateMatches(template: string, path: string): boolean {
  const form = template
    .split('/')
    .map((segment) =>
      segment === '{*}' ? '[^/]+' : segment === '{**}' ? '.*' : segment.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'),
    )
    .join('/');
  return new RegExp(`^${form}$`, 's').test(path);
}

const unreserved = /^[A-Za-z0-9._~-]$/;
const decodeSafe = (path: string): string =>
  path.replace(/%[0-9a-fA-F]{2}/g, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return unreserved.test(character) ? character : escape.toUpperCase();
  });

/** The default of the native dialect: undefined for every path with two readings. */
function strictPath(target: string): string | undefined {
  const raw = target.split('?')[0] ?? '';
  if (!/^\/[\x21-\x7e]*$/.test(raw) || /[\\;#]/.test(raw)) return undefined;
  for (const escape of raw.match(/%.{0,2}/g) ?? []) {
    if (!/^%[0-9a-fA-F]{2}$/.test(escape)) return undefined;
    const code = Number.parseInt(escape.slice(1), 16);
    if (code < 0x20 || code === 0x7f || ['/', '\\', ';', '%'].includes(String.fromCharCode(code))) return undefined;
  }
  try {
    decodeURIComponent(raw);
  } catch {
    return undefined;
  }
  const path = decodeSafe(raw);
  const inner = path.split('/').slice(1);
  if (inner.slice(0, -1).includes('') || inner.includes('.') || inner.includes('..')) return undefined;
  return path;
}

function pathIn(mode: string, target: string): string | undefined {
  if (mode === 'REFUSE_AMBIGUOUS') return strictPath(target);
  if (mode === 'NONE') return target.split(/[?#]/)[0] ?? '';
  const [path = ''] = target.split(/[?#]/);
  if (!path.startsWith('/')) return undefined;
  const base = basePath(mode === 'DECODE_AND_MERGE_SLASHES' ? path.replace(/%2f|%5c/gi, '/') : path);
  return mode === 'BASE' ? base : base?.replace(/\/+/g, '/');
}

/** Istio's BASE. */
function basePath(target: string): string | undefined {
  const raw = target.split(/[?#]/)[0] ?? '';
  if (!raw.startsWith('/') || raw.includes('\0') || raw.includes('%00')) return undefined;
  const decoded = decodeSafe(raw).replaceAll('\\', '/');
  const out: string[] = [];
  const list = decoded.split('/').slice(1);
  list.forEach((segment, index) => {
    if (segment === '..') out.pop();
    else if (segment !== '.') out.push(segment);
    if ((segment === '.' || segment === '..') && index === list.length - 1) out.push('');
  });
  return `/${out.join('/')}`;
}
