/**
 * Validates the JSON Web Tokens of requests by the rules of RequestAuthentication. Kept apart from the engine, which is
 * synchronous and never fetches: run this first, refuse what is invalid with 401, and give the engine what is valid.
 */
import { createLocalJWKSet, decodeJwt, errors, jwtVerify } from 'jose';
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { describeError, systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import type { JwtRule } from './dialects/request-authentication.js';
import { AuthzError } from './errors.js';
import { isFields } from './manifest.js';
import { show } from './problem.js';
import type { AuthzRequest } from './request.js';

/** Fetches a JSON Web Key Set; reject when it can't be had. */
export type FetchJwks = (uri: string, options: { readonly signal: AbortSignal }) => Promise<unknown>;

export interface JwtAuthenticatorOptions {
  /** Default: HTTP GET, 5 s, no redirects, at most 1 MiB. */
  readonly fetchJwks?: FetchJwks | undefined;
  readonly clock?: Clock | undefined;
  /** How far clocks may differ, in ms. Default 60,000. */
  readonly clockSkewMs?: number | undefined;
  /** How long fetched keys are used before they are fetched again. Default 20 minutes; unknown keys ask again after 30 s. */
  readonly cacheMs?: number | undefined;
}

export type JwtOutcome =
  /** No token where one could be: not an error by itself. */
  | { readonly kind: 'none' }
  | { readonly kind: 'valid'; readonly jwt: NonNullable<AuthzRequest['jwt']> }
  /** Refuse with 401 before authorization; the reason is for the log. */
  | { readonly kind: 'invalid'; readonly status: 401; readonly reason: string };

/** Asymmetric ones only: with a public key as the secret of an HMAC anyone could sign. */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const refetchAfterMs = 30_000;

interface CachedKeys {
  readonly keys: JWTVerifyGetKey;
  readonly fetchedAtMs: number;
}

export class JwtAuthenticator {
  readonly #fetch: FetchJwks;
  readonly #clock: Clock;
  readonly #clockSkewMs: number;
  readonly #cacheMs: number;
  readonly #remote = new Map<string, CachedKeys>();
  readonly #fetching = new Map<string, Promise<CachedKeys>>();
  readonly #inline = new Map<string, JWTVerifyGetKey>();

  constructor(options: JwtAuthenticatorOptions = {}) {
    this.#fetch = options.fetchJwks ?? httpJwks;
    this.#clock = options.clock ?? systemClock;
    this.#clockSkewMs = options.clockSkewMs ?? 60_000;
    this.#cacheMs = options.cacheMs ?? 20 * 60_000;
    for (const [name, value] of [
      ['clockSkewMs', this.#clockSkewMs],
      ['cacheMs', this.#cacheMs],
    ] as const) {
      if (!Number.isFinite(value) || value < 0)
        throw new AuthzError('AUTHZ_OPTION_INVALID', `expected ${name} to be 0 or more, got ${show(value)}`);
    }
  }

  /** Finds and validates the token of a request by `rules` (`engine.jwtRules(destination)`). Never rejects. */
  async authenticate(http: NonNullable<AuthzRequest['http']>, rules: readonly JwtRule[]): Promise<JwtOutcome> {
    try {
      const found = new Map<string, JwtRule[]>();
      for (const rule of rules) {
        for (const token of tokensOf(http, rule)) found.set(token, [...(found.get(token) ?? []), rule]);
      }
      const [first, ...others] = found;
      if (first === undefined) return { kind: 'none' };
      if (others.length > 0) return invalid('the request has more than one token');
      return await this.#verify(...first);
    } catch (error) {
      return invalid(describeError(error));
    }
  }

  async #verify(token: string, rules: readonly JwtRule[]): Promise<JwtOutcome> {
    const { iss } = decodeJwt(token);
    const rule = rules.find((each) => each.issuer === iss);
    if (rule === undefined) return invalid('the issuer of the token is not one that is accepted here');
    const options = {
      algorithms,
      issuer: rule.issuer,
      clockTolerance: this.#clockSkewMs / 1000,
      currentDate: new Date(this.#clock.now()),
      ...(rule.audiences.length === 0 ? {} : { audience: [...rule.audiences] }),
    };
    const payload = await this.#verifyWith(token, rule, options);
    return { kind: 'valid', jwt: { claims: payload, spaceDelimitedClaims: rule.spaceDelimitedClaims } };
  }

  async #verifyWith(
    token: string,
    rule: JwtRule,
    options: Parameters<typeof jwtVerify>[2],
  ): Promise<Record<string, unknown>> {
    if (rule.jwks !== undefined) {
      const keys = this.#inline.get(rule.jwks) ?? createLocalJWKSet(JSON.parse(rule.jwks) as JSONWebKeySet);
      this.#inline.set(rule.jwks, keys);
      return (await jwtVerify(token, keys, options)).payload;
    }
    const uri = rule.jwksUri ?? '';
    const cached = await this.#keys(uri, this.#cacheMs);
    try {
      return (await jwtVerify(token, cached.keys, options)).payload;
    } catch (error) {
      // The issuer may have rotated its keys; ask again, but no more often than every half minute.
      if (
        !(error instanceof errors.JWKSNoMatchingKey) ||
        this.#clock.monotonicMs() - cached.fetchedAtMs < refetchAfterMs
      )
        throw error;
      return (await jwtVerify(token, (await this.#keys(uri, 0)).keys, options)).payload;
    }
  }

  /** Keys no older than `maxAgeMs`; one fetch serves all who wait. Old keys serve on while their issuer can't be reached. */
  async #keys(uri: string, maxAgeMs: number): Promise<CachedKeys> {
    const cached = this.#remote.get(uri);
    if (cached !== undefined && this.#clock.monotonicMs() - cached.fetchedAtMs < maxAgeMs) return cached;
    let fetching = this.#fetching.get(uri);
    if (fetching === undefined) {
      fetching = this.#fetchKeys(uri).finally(() => this.#fetching.delete(uri));
      this.#fetching.set(uri, fetching);
    }
    try {
      return await fetching;
    } catch (error) {
      if (cached !== undefined && this.#clock.monotonicMs() - cached.fetchedAtMs < 2 * this.#cacheMs) return cached;
      throw error;
    }
  }

  async #fetchKeys(uri: string): Promise<CachedKeys> {
    const abort = new AbortController();
    const timer = this.#clock.timer(fetchTimeoutMs, () => abort.abort(new Error(`no answer from ${uri} in time`)));
    try {
      const document = await this.#fetch(uri, { signal: abort.signal });
      if (!isFields(document) || !Array.isArray(document.keys))
        throw new Error(`expected a JSON Web Key Set from ${uri}`);
      const cached = {
        keys: createLocalJWKSet(document as unknown as JSONWebKeySet),
        fetchedAtMs: this.#clock.monotonicMs(),
      };
      this.#remote.set(uri, cached);
      return cached;
    } finally {
      timer.cancel();
    }
  }
}

const fetchTimeoutMs = 5_000;
const maxJwksBytes = 1024 * 1024;

const httpJwks: FetchJwks = async (uri, { signal }) => {
  const response = await fetch(uri, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(`expected status 200 from ${uri}, got ${String(response.status)}`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    const part = chunk as Uint8Array;
    bytes += part.length;
    if (bytes > maxJwksBytes) throw new Error(`expected at most ${String(maxJwksBytes)} bytes from ${uri}`);
    chunks.push(part);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
};

function invalid(reason: string): JwtOutcome {
  return { kind: 'invalid', status: 401, reason };
}

function tokensOf(http: NonNullable<AuthzRequest['http']>, rule: JwtRule): string[] {
  const headers = Object.entries(http.headers ?? {}).map(
    ([name, value]) => [name.toLowerCase(), [value].flat()] as const,
  );
  const header = (name: string): string[] => headers.filter(([key]) => key === name).flatMap(([, values]) => values);
  const tokens = rule.fromHeaders.flatMap(({ name, prefix }) =>
    header(name)
      .filter((value) => value.startsWith(prefix))
      .map((value) => value.slice(prefix.length).trim()),
  );
  const query = http.path.indexOf('?');
  const params = new URLSearchParams(query < 0 ? '' : http.path.slice(query + 1));
  for (const name of rule.fromParams) tokens.push(...params.getAll(name));
  const cookies = header('cookie')
    .flatMap((value) => value.split(';'))
    .map((pair) => pair.trim());
  for (const name of rule.fromCookies)
    tokens.push(...cookies.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1)));
  return tokens;
}
