/** One request as rules see it: parsed once, normalised at most once, reused from request to request. */
import type { PathNormalization } from './path-normalization.js';
import { normalizePath } from './path-normalization.js';
import type { Principal, PrincipalCache } from './principal.js';
import type { AuthzRequest } from './request.js';
import { needsHttp, no, yes } from './tri.js';
import type { Tri } from './tri.js';

type Http = NonNullable<AuthzRequest['http']>;

const upperCaseToken = /^[A-Z0-9!#$%&'*+.^_`|~-]+$/;

export class Facts {
  request!: AuthzRequest;
  principal: Principal | undefined;
  node: Principal | undefined;
  http: Http | undefined;
  /** What a term is worth when the request leaves it open for good: `yes` while a DENY is judged, `no` for an ALLOW. */
  undecided: typeof no | typeof yes = no;
  /** What an HTTP term is worth without a request: `needsHttp` when one may still come, else as `undecided`. */
  withoutHttp: Tri = no;
  #pathMode: PathNormalization | undefined;
  #path: string | undefined;
  #pathDefect: string | undefined;
  #pathSegments: readonly string[] | undefined;

  /** Takes in `request`; returns why it can't be judged, or undefined. */
  load(request: AuthzRequest, principals: PrincipalCache, ignoreHttp: boolean): string | undefined {
    const { source, destination } = request;
    this.request = request;
    this.http = ignoreHttp ? undefined : request.http;
    this.#pathMode = undefined;
    this.#pathDefect = undefined;
    this.principal = undefined;
    this.node = undefined;
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
    const { http } = this;
    if (http !== undefined && (typeof http.method !== 'string' || typeof http.path !== 'string')) {
      return 'the HTTP request has no method or path';
    }
    return undefined;
  }

  /** Judges DENY rules from here on. `mayBecomeHttp`: nothing was read from the connection yet. */
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
      this.#pathSegments = undefined;
      this.#path = typeof result === 'string' ? result : 'path' in result ? result.path : undefined;
      this.#pathDefect = typeof result === 'string' || 'path' in result ? undefined : result.ambiguous;
    }
    return this.#path;
  }

  /** Why `path` gave nothing; undefined when it was not asked. */
  get pathDefect(): string | undefined {
    return this.#pathDefect;
  }

  /** `path(mode)` split at `/`; starts with an empty segment. */
  pathSegments(mode: PathNormalization): readonly string[] | undefined {
    const path = this.path(mode);
    if (path === undefined) return undefined;
    this.#pathSegments ??= path.split('/');
    return this.#pathSegments;
  }

  /** The method, or undefined when it is not an upper-case token: applications differ on what `get` means. */
  method(): string | undefined {
    const method = this.http?.method;
    return method !== undefined && upperCaseToken.test(method) ? method : undefined;
  }
}
