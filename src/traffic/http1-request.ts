import type { ResolvedHttp1Limits } from './http1-limits.js';

/** A request as authorization sees it: exactly what will be forwarded if it is allowed. */
export interface HttpRequestFacts {
  /** As sent; methods are case-sensitive, and only those Node's parser knows get here. */
  readonly method: string;
  /** The target's path, as sent (not decoded, not normalised), without the query. `*` for `OPTIONS *`. */
  readonly path: string;
  /** The one `Host` field, as sent. */
  readonly host?: string | undefined;
  /** Fields that will be forwarded, names in lower case, without connection options. A repeated field is an array. No prototype. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** The request target as sent: path and query. */
  readonly rawTarget: string;
}

/** A request that passed every check, with what is to be sent on. */
export interface CheckedRequest {
  readonly facts: HttpRequestFacts;
  /** Name, value, name, value …, order and case as received, without what concerns only the client's own connection. */
  readonly forwardHeaders: readonly string[];
  readonly hasBody: boolean;
  readonly chunked: boolean;
  /** The protocol of an accepted `Upgrade`, lower case. */
  readonly upgrade?: string | undefined;
}

/** Why a request is not passed on, whatever policy says. */
export interface RequestProblem {
  readonly status: number;
  readonly problem: string;
}

export interface RawRequest {
  readonly method: string;
  readonly target: string;
  /** `1.1` or `1.0`; anything else is a problem. */
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

/** Fields that concern one connection only (RFC 9110 section 7.6.1); `connection` and `te` are treated apart. */
const connectionFields = new Set(['keep-alive', 'proxy-connection', 'upgrade', 'http2-settings']);
/** Naming one of these as a connection option asks a proxy to drop what decides meaning or framing. */
const essentialFields = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'content-type',
  'content-encoding',
  'authorization',
  'cookie',
  'expect',
  'trailer',
]);

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const origin = /^\/[\x21-\x22\x24-\x5b\x5d-\x7e]*$/;

/**
 * Checks a parsed request from its raw fields and works out what to forward. What two parsers might read differently is
 * a problem, never repaired (RFC 9112 sections 3.2, 6.1, 6.3, 11.2).
 */
export function checkRequest(request: RawRequest, limits: ResolvedHttp1Limits): CheckedRequest | RequestProblem {
  const { method, target, httpVersion, rawHeaders } = request;
  const bad = (problem: string, status = 400): RequestProblem => ({ status, problem });

  if (httpVersion !== '1.1' && httpVersion !== '1.0') return bad('the version is neither HTTP/1.1 nor HTTP/1.0', 505);
  if (rawHeaders.length / 2 > limits.maxHeaders) return bad('too many header fields', 431);
  const targetProblem = checkTarget(method, target);
  if (targetProblem !== undefined) return bad(targetProblem);

  const fields = groupFields(rawHeaders);
  const hosts = fields.get('host') ?? [];
  const [host] = hosts;
  if (hosts.length !== 1 || host === undefined) return bad(hosts.length === 0 ? 'Host is missing' : 'Host is repeated');
  if (!/^(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?$/.test(host)) return bad('Host is malformed');

  const framing = checkFraming(fields, httpVersion);
  if ('problem' in framing) return bad(framing.problem, framing.status);

  const options = listOf(fields.get('connection'));
  if (!options.every((option) => token.test(option))) return bad('Connection is malformed');
  const essential = options.find((option) => essentialFields.has(option));
  if (essential !== undefined) return bad(`Connection names ${essential}`);

  const upgrade = checkUpgrade(fields, options, { method, httpVersion, hasBody: framing.hasBody }, limits);
  if (typeof upgrade === 'object') return upgrade;

  const forwardHeaders = forwardable(rawHeaders, options, { upgrade, chunked: framing.chunked });
  // A POST without any framing has no body; our own client would take it for chunked.
  if (!framing.hasBody && !fields.has('content-length') && mayMeanBody(method))
    forwardHeaders.push('Content-Length', '0');

  const question = target.indexOf('?');
  const facts: HttpRequestFacts = Object.freeze({
    method,
    path: question < 0 ? target : target.slice(0, question),
    host,
    headers: factHeaders(forwardHeaders),
    rawTarget: target,
  });
  return { facts, forwardHeaders, hasBody: framing.hasBody, chunked: framing.chunked, upgrade };
}

/** Only origin form, and `*` for OPTIONS: any other form carries a second authority, or is one. */
function checkTarget(method: string, target: string): string | undefined {
  if (target === '*') return method === 'OPTIONS' ? undefined : 'the target * is for OPTIONS only';
  if (method === 'CONNECT') return 'CONNECT is not served here';
  if (!target.startsWith('/')) return 'the target is not in origin form (a path)';
  if (target.includes('#')) return 'the target has a fragment';
  const [path = ''] = target.split('?', 1);
  if (!origin.test(target.replaceAll('\\', '/'))) return 'the target has control or non-ASCII bytes';
  if (path.includes('\\')) return 'the path has a backslash';
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return 'the path has a malformed percent-encoding';
  if (/%00/.test(path)) return 'the path has an encoded NUL';
  return undefined;
}

function checkFraming(
  fields: ReadonlyMap<string, readonly string[]>,
  httpVersion: string,
): { hasBody: boolean; chunked: boolean } | RequestProblem {
  const encodings = fields.get('transfer-encoding');
  const lengths = fields.get('content-length');
  if (encodings !== undefined) {
    if (httpVersion === '1.0') return { status: 400, problem: 'Transfer-Encoding in HTTP/1.0' };
    if (lengths !== undefined) return { status: 400, problem: 'both Transfer-Encoding and Content-Length' };
    if (encodings.length !== 1 || encodings[0]?.toLowerCase() !== 'chunked') {
      return { status: 501, problem: 'Transfer-Encoding is not exactly chunked' };
    }
    return { hasBody: true, chunked: true };
  }
  if (lengths === undefined) return { hasBody: false, chunked: false };
  const [length = ''] = lengths;
  if (lengths.length !== 1 || !/^[0-9]{1,15}$/.test(length)) {
    return { status: 400, problem: 'Content-Length is not one number' };
  }
  return { hasBody: Number(length) > 0, chunked: false };
}

/** The accepted protocol; undefined where there is none, or where it is h2c, which a server may ignore (RFC 9110 section 7.8). */
function checkUpgrade(
  fields: ReadonlyMap<string, readonly string[]>,
  options: readonly string[],
  request: { method: string; httpVersion: string; hasBody: boolean },
  limits: ResolvedHttp1Limits,
): string | undefined | RequestProblem {
  const protocols = listOf(fields.get('upgrade'));
  if (protocols.length === 0 || !options.includes('upgrade') || request.httpVersion === '1.0') return undefined;
  const [protocol = ''] = protocols;
  if (protocols.every((name) => name === 'h2c')) return undefined;
  if (protocols.length > 1 || !limits.upgrades.includes(protocol)) {
    return { status: 501, problem: 'Upgrade to a protocol that is not allowed' };
  }
  if (request.method !== 'GET' || request.hasBody) return { status: 400, problem: 'Upgrade of a request with a body' };
  return protocol;
}

function forwardable(
  rawHeaders: readonly string[],
  options: readonly string[],
  { upgrade, chunked }: { upgrade: string | undefined; chunked: boolean },
): string[] {
  const dropped = new Set(options.filter((option) => option !== 'te'));
  const result: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    const key = name.toLowerCase();
    if (key === 'connection') {
      const kept = listOf([value]).filter(
        (option) =>
          option === 'close' || option === 'keep-alive' || option === 'te' || (option === 'upgrade' && upgrade),
      );
      // Kept byte for byte where nothing had to go.
      if (kept.length === listOf([value]).length) result.push(name, value);
      else if (kept.length > 0) result.push(name, kept.join(', '));
      continue;
    }
    if (key === 'upgrade' && upgrade !== undefined) result.push(name, value);
    else if (connectionFields.has(key) || dropped.has(key)) continue;
    else if (key === 'te' && value.trim().toLowerCase() !== 'trailers') continue;
    else if (key === 'trailer' && !chunked) continue;
    else result.push(name, value);
  }
  return result;
}

function factHeaders(forwardHeaders: readonly string[]): Readonly<Record<string, string | string[]>> {
  const headers = Object.create(null) as Record<string, string | string[]>;
  for (const [name, values] of groupFields(forwardHeaders)) {
    if (name === 'connection') continue;
    const [first = ''] = values;
    headers[name] = values.length === 1 ? first : [...values];
  }
  return Object.freeze(headers);
}

/** Values by lower-case name, in order. */
export function groupFields(rawHeaders: readonly string[]): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const key = (rawHeaders[index] ?? '').toLowerCase();
    const values = fields.get(key);
    const value = rawHeaders[index + 1] ?? '';
    if (values === undefined) fields.set(key, [value]);
    else values.push(value);
  }
  return fields;
}

/** Elements of a comma list over all of its field lines, lower case, empty ones dropped (RFC 9110 section 5.6.1). */
export function listOf(values: readonly string[] = []): string[] {
  return values
    .flatMap((value) => value.split(','))
    .map((element) => element.trim().toLowerCase())
    .filter((element) => element !== '');
}

function mayMeanBody(method: string): boolean {
  return !['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT'].includes(method);
}
