/** One request as rules see it: parsed once, normalised at most once, reused from request to request. */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { parseIpWords } from './ip-match.js';
import type { IpWords } from './ip-match.js';
import { normalizePath } from './path-normalization.js';
import type { PathNormalization } from './path-normalization.js';
import type { Principal, PrincipalCache } from './principal.js';
import type { AuthzRequest } from './request.js';
import { needsHttp, no, yes } from './tri.js';
import type { Tri } from './tri.js';

type Http = NonNullable<AuthzRequest['http']>;
type IpRole = 'source' | 'remote' | 'destination';

const upperCaseToken = /^[A-Z0-9!#$%&'*+.^_`|~-]+$/;
/** Claims that hold several values separated by spaces (RFC 6749 section 3.3 for `scope`). */
const spaceDelimited = new Set(['scope', 'permission']);

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
  #pathHead: string | undefined;
  #host: string | undefined;
  #hostRead = false;
  /** Header values by lower-case name, once a second name is asked for. */
  #headers: Map<string, string> | undefined;
  #headerName: string | undefined;
  #headerValue: string | undefined;
  readonly #ipTexts: Record<IpRole, string | undefined> = {
    source: undefined,
    remote: undefined,
    destination: undefined,
  };
  readonly #ips: Record<IpRole, IpWords | undefined> = { source: undefined, remote: undefined, destination: undefined };

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
      this.#pathHead = undefined;
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
    this.#pathHead ??= pathHead(path);
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
      this.#host = (this.http?.host ?? this.header('host'))?.toLowerCase();
    }
    return this.#host;
  }

  /** All values of a header (name in lower case) joined with commas; undefined when it is absent. */
  header(name: string): string | undefined {
    const headers = this.http?.headers;
    if (headers === undefined) return undefined;
    if (this.#headers !== undefined) return this.#headers.get(name);
    if (this.#headerName === name) return this.#headerValue;
    if (this.#headerName !== undefined) {
      // Many rules may ask for many names: the headers are gone through once, not once for each.
      this.#headers = indexHeaders(headers);
      return this.#headers.get(name);
    }
    this.#headerName = name;
    this.#headerValue = findHeader(headers, name);
    return this.#headerValue;
  }

  /** An address, `null` when there is none, undefined when it does not parse. */
  ip(role: IpRole): IpWords | null | undefined {
    const { source, destination } = this.request;
    const text = role === 'source' ? source.ip : role === 'remote' ? (source.remoteIp ?? source.ip) : destination.ip;
    if (text === undefined) return null;
    if (this.#ipTexts[role] !== text) {
      this.#ips[role] = typeof text === 'string' ? parseIpWords(text) : undefined;
      this.#ipTexts[role] = text;
    }
    return this.#ips[role];
  }

  /** The values of a claim of the validated token; none when it is absent or neither text nor a list. */
  claim(path: readonly string[]): readonly string[] {
    const { jwt } = this.request;
    let value: unknown = jwt?.claims;
    for (const name of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return none;
      value = (value as Record<string, unknown>)[name];
    }
    const last = path.at(-1) ?? '';
    const splits = spaceDelimited.has(last) || jwt?.spaceDelimitedClaims?.includes(last) === true;
    if (typeof value === 'string') return splits ? value.split(' ').filter((part) => part !== '') : [value];
    if (Array.isArray(value)) return value.filter((item) => typeof item === 'string');
    return none;
  }

  /** `iss/sub` of the validated token; undefined unless both are there. */
  requestPrincipal(): readonly [issuer: string, subject: string] | undefined {
    const [issuer] = this.claim(issuerClaim);
    const [subject] = this.claim(subjectClaim);
    return issuer === undefined || subject === undefined || issuer === '' || subject === ''
      ? undefined
      : [issuer, subject];
  }
}

type Headers = NonNullable<Http['headers']>;

/** Undefined for a header without any value, which is as good as absent. */
function headerText(value: string | readonly string[] | undefined): string | undefined {
  if (!Array.isArray(value)) return value === undefined ? undefined : String(value);
  return value.length === 0 ? undefined : value.join(',');
}

/** Names are compared without regard to case, so all of them have to be looked at. */
function findHeader(headers: Headers, name: string): string | undefined {
  let found: string | undefined;
  for (const key of Object.keys(headers)) {
    if (key.length !== name.length || (key !== name && key.toLowerCase() !== name)) continue;
    const text = headerText(headers[key]);
    if (text === undefined) continue;
    found = found === undefined ? text : `${found},${text}`;
  }
  return found;
}

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

/** The first segment of a path that starts with a slash. */
export function pathHead(path: string): string {
  const slash = path.indexOf('/', 1);
  return slash < 0 ? path.slice(1) : path.slice(1, slash);
}
