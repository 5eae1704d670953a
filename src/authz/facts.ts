/** One request as rules see it: parsed once, normalised at most once, reused from request to request. */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { IpWords, parseIpWords } from './ip-match.js';
import { normalizePath } from './path-normalization.js';
import type { PathNormalization } from './path-normalization.js';
import type { Principal, PrincipalCache } from './principal.js';
import type { AuthzRequest } from './request.js';
import type { StringMatcher } from './string-match.js';
import { needsHttp, no, yes } from './tri.js';
import type { Tri } from './tri.js';

type Http = NonNullable<AuthzRequest['http']>;
type IpRole = 'source' | 'remote' | 'destination';

const upperCaseToken = /^[A-Z0-9!#$%&'*+.^_`|~-]+$/;
/** Claims that hold several values separated by spaces (RFC 6749 section 3.3 for `scope`). */
const spaceDelimited = new Set(['scope', 'permission']);

/** An address of the request at hand or of an earlier one, parsed once. */
class KnownIp {
  text: string | undefined;
  isIp = false;
  readonly words = new IpWords();
}

export class Facts {
  request!: AuthzRequest;
  principal: Principal | undefined;
  node: Principal | undefined;
  http: Http | undefined;
  port: number | undefined;
  /** What a term is worth when the request leaves it open for good: `yes` while a DENY is judged, `no` for an ALLOW. */
  undecided: typeof no | typeof yes = no;
  /** What an HTTP term is worth without a request: `needsHttp` when one may still come, else as `undecided`. */
  withoutHttp: Tri = no;
  #pathMode: PathNormalization | undefined;
  #path: string | undefined;
  #pathDefect: string | undefined;
  #pathHead = '';
  #pathHeadIsCurrent = false;
  #host: string | undefined;
  #hostRead = false;
  /** Header values by lower-case name, once a second name is asked for. */
  #headers: Map<string, string> | undefined;
  #headerName: string | undefined;
  #headerValue: string | undefined;
  #headerCount = 0;
  readonly #ips: Readonly<Record<IpRole, KnownIp>> = {
    source: new KnownIp(),
    remote: new KnownIp(),
    destination: new KnownIp(),
  };
  readonly #clock: Clock;
  #latestMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Wall time in ms since the Unix epoch, for grants that end. Never goes back, so that none that ended begins again. */
  nowMs(): number {
    const now = this.#clock.now();
    if (now > this.#latestMs) this.#latestMs = now;
    return Number.isNaN(now) ? Number.POSITIVE_INFINITY : this.#latestMs;
  }

  /** Takes in `request`; returns why it can't be judged, or undefined. */
  load(request: AuthzRequest, principals: PrincipalCache, ignoreHttp: boolean): string | undefined {
    const { source, destination } = request;
    this.request = request;
    this.http = ignoreHttp ? undefined : request.http;
    this.#pathMode = undefined;
    this.#pathDefect = undefined;
    this.#hostRead = false;
    this.#headers = undefined;
    this.#headerName = undefined;
    this.principal = undefined;
    this.node = undefined;
    this.port = destination.port;
    if (source.principal !== undefined) {
      this.principal = principals.get(source.principal);
      if (this.principal === undefined) return 'the source principal is not a SPIFFE ID';
    }
    if (source.node !== undefined) {
      this.node = principals.get(source.node);
      if (this.node === undefined) return 'the source node is not a SPIFFE ID';
    } else if (this.principal?.isAgent === true) {
      this.node = this.principal;
    }
    if (typeof destination.namespace !== 'string' || destination.namespace === '')
      return 'the destination has no namespace';
    const { port } = this;
    if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65535))
      return 'the destination port is not a port number';
    const { http } = this;
    if (http !== undefined && (typeof http.method !== 'string' || typeof http.path !== 'string')) {
      return 'the HTTP request has no method or path';
    }
    return undefined;
  }

  /** Judges DENY (and CUSTOM) rules from here on. `mayBecomeHttp`: nothing was read from the connection yet. */
  judgeDeny(mayBecomeHttp: boolean): void {
    this.undecided = yes;
    this.withoutHttp = mayBecomeHttp ? needsHttp : yes;
  }

  /** Judges ALLOW rules from here on. */
  judgeAllow(mayBecomeHttp: boolean): void {
    this.undecided = no;
    this.withoutHttp = mayBecomeHttp ? needsHttp : no;
  }

  /** The normalised path, or undefined when it is ambiguous; call only with `http` present. */
  path(mode: PathNormalization): string | undefined {
    if (this.#pathMode !== mode) {
      const result = normalizePath(this.http?.path ?? '', mode);
      this.#pathMode = mode;
      this.#pathHeadIsCurrent = false;
      this.#path = typeof result === 'string' ? result : undefined;
      this.#pathDefect = typeof result === 'string' ? undefined : result.ambiguous;
    }
    return this.#path;
  }

  /** Why `path` gave nothing; undefined when it was not asked. */
  get pathDefect(): string | undefined {
    return this.#pathDefect;
  }

  /** The first segment of `path(mode)`. */
  pathHead(mode: PathNormalization): string | undefined {
    const path = this.path(mode);
    if (path === undefined) return undefined;
    if (!this.#pathHeadIsCurrent) {
      this.#pathHeadIsCurrent = true;
      // Often that of the request before.
      if (!startsWithSegment(path, this.#pathHead)) this.#pathHead = pathHead(path);
    }
    return this.#pathHead;
  }

  /** The method, or undefined when it is not an upper-case token: applications differ on what `get` means. */
  method(): string | undefined {
    const method = this.http?.method;
    return method !== undefined && (isCommonMethod(method) || upperCaseToken.test(method)) ? method : undefined;
  }

  /** Host or `:authority` in lower case, port included if sent; falls back to the `host` header. */
  host(): string | undefined {
    if (!this.#hostRead) {
      this.#hostRead = true;
      const host = this.http?.host ?? this.header('host');
      this.#host = host === undefined ? undefined : lowerCase(host);
    }
    return this.#host;
  }

  /** All values of a header (name in lower case) joined with commas; undefined when it is absent. */
  header(name: string): string | undefined {
    const headers = this.http?.headers;
    if (headers === undefined) return undefined;
    if (this.#headers !== undefined) return this.#headers.get(name);
    if (this.#headerName === name) return this.#headerValue;
    if (this.#headerName !== undefined && this.#headerCount > fewHeaders) {
      // Many rules may ask for many names: the headers are gone through once, not once for each.
      this.#headers = indexHeaders(headers);
      return this.#headers.get(name);
    }
    let count = 0;
    let found: string | undefined;
    // Names are compared without regard to case, so all of them have to be looked at.
    for (const key in headers) {
      count += 1;
      if (key.length !== name.length || (key !== name && key.toLowerCase() !== name)) continue;
      const text = Object.hasOwn(headers, key) ? headerText(headers[key]) : undefined;
      if (text !== undefined) found = found === undefined ? text : `${found},${text}`;
    }
    this.#headerName = name;
    this.#headerValue = found;
    this.#headerCount = count;
    return found;
  }

  /** An address, `null` when there is none, undefined when it does not parse. */
  ip(role: IpRole): Readonly<IpWords> | null | undefined {
    const { source, destination } = this.request;
    const text = role === 'source' ? source.ip : role === 'remote' ? (source.remoteIp ?? source.ip) : destination.ip;
    if (text === undefined) return null;
    const known = this.#ips[role];
    if (known.text !== text) {
      known.text = text;
      known.isIp = typeof text === 'string' && parseIpWords(text, known.words);
    }
    return known.isIp ? known.words : undefined;
  }

  /** The values of a claim of the validated token; none when it is absent or neither text nor a list. */
  claim(path: readonly string[]): readonly string[] {
    const value = this.#claimAt(path);
    if (typeof value === 'string')
      return this.#isSplit(path) ? value.split(' ').filter((part) => part !== '') : [value];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : none;
  }

  /** Whether any value of a claim matches; allocates nothing unless the claim is split. */
  claimMatches(path: readonly string[], matcher: StringMatcher): boolean {
    const value = this.#claimAt(path);
    if (typeof value === 'string') {
      if (!value.includes(' ') || !this.#isSplit(path))
        return (value !== '' || !this.#isSplit(path)) && matcher.test(value);
      return value.split(' ').some((part) => part !== '' && matcher.test(part));
    }
    if (!Array.isArray(value)) return false;
    for (const item of value as readonly unknown[]) if (typeof item === 'string' && matcher.test(item)) return true;
    return false;
  }

  /** The issuer or the subject of the validated token; undefined when it is absent or empty. */
  tokenPart(name: 'iss' | 'sub'): string | undefined {
    const value = this.#claimAt(name === 'iss' ? issuerClaim : subjectClaim);
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  #claimAt(path: readonly string[]): unknown {
    let value: unknown = this.request.jwt?.claims;
    for (const name of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
      value = (value as Record<string, unknown>)[name];
    }
    return value;
  }

  #isSplit(path: readonly string[]): boolean {
    const last = path.at(-1) ?? '';
    return spaceDelimited.has(last) || this.request.jwt?.spaceDelimitedClaims?.includes(last) === true;
  }
}

type Headers = NonNullable<Http['headers']>;

/** Undefined for a header without any value, which is as good as absent. */
function headerText(value: string | readonly string[] | undefined): string | undefined {
  if (!Array.isArray(value)) return value === undefined ? undefined : String(value);
  return value.length === 0 ? undefined : value.join(',');
}

/** So many headers are gone through for each name that is asked for. */
const fewHeaders = 16;

function indexHeaders(headers: Headers): Map<string, string> {
  const index = new Map<string, string>();
  for (const key of Object.keys(headers)) {
    const text = headerText(headers[key]);
    if (text === undefined) continue;
    const name = key.toLowerCase();
    const known = index.get(name);
    index.set(name, known === undefined ? text : `${known},${text}`);
  }
  return index;
}

const none: readonly string[] = Object.freeze([]);
const issuerClaim: readonly string[] = Object.freeze(['iss']);
const subjectClaim: readonly string[] = Object.freeze(['sub']);

function isCommonMethod(method: string): boolean {
  return method === 'GET' || method === 'POST' || method === 'PUT' || method === 'DELETE' || method === 'HEAD';
}

function startsWithSegment(path: string, segment: string): boolean {
  const end = segment.length + 1;
  return (end === path.length || path.charCodeAt(end) === 47) && path.startsWith(segment, 1);
}

/** As `toLowerCase`, which makes a new text even of one that is in lower case. */
function lowerCase(text: string): string {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 127 || (code >= 65 && code <= 90)) return text.toLowerCase();
  }
  return text;
}

/** The first segment of a path that starts with a slash. */
export function pathHead(path: string): string {
  const slash = path.indexOf('/', 1);
  return slash < 0 ? path.slice(1) : path.slice(1, slash);
}
