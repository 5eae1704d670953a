import * as http from 'node:http';
import * as https from 'node:https';
import { systemClock } from '../../core/index.js';
import type { Clock } from '../../core/index.js';
import { CaError } from '../errors.js';

/** The part of `fetch` that is needed; the global one fits. */
export type FetchLike = (
  url: string,
  request: {
    readonly method: string;
    readonly headers: Record<string, string>;
    readonly body?: string;
    readonly signal: AbortSignal;
    readonly redirect: 'error';
  },
) => Promise<{ readonly status: number; readonly body: AsyncIterable<Uint8Array> | null }>;

/** How to reach a Kubernetes API server. */
export interface KubernetesServerOptions {
  /** `https://host:port`, or `http` to a loopback address, as `kubectl proxy` has it. */
  readonly url: string;
  /** PEM: the server's certificate must lead to one of these authorities, and to no other. Default: Node's own. */
  readonly ca?: string | undefined;
  /** Who we are. A function is called for each request, as for a token that is replaced in its file. */
  readonly bearerToken?: string | (() => string | Promise<string>) | undefined;
  /** Makes the requests instead of Node's `https`; `ca` is then its own business, and giving both is refused. */
  readonly fetch?: FetchLike | undefined;
  /** Of one request; 100 to 60 000 ms. Default 5 000. */
  readonly timeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

const maxBytes = 1024 * 1024;

/**
 * The two requests that attestation makes of an API server. Failures are plain errors that hold no token of ours; they may
 * quote what the server says.
 */
export class KubernetesServer {
  readonly #options: KubernetesServerOptions;
  readonly #base: URL;
  readonly #fetch: FetchLike;

  /** Throws `CA_REQUEST_INVALID`. */
  constructor(options: KubernetesServerOptions) {
    const { ca, fetch, timeoutMs = 5000 } = options;
    this.#options = options;
    this.#base = baseUrl(options.url);
    if (fetch !== undefined && ca !== undefined) {
      throw new CaError('CA_REQUEST_INVALID', 'expected either ca or fetch: a fetch has authorities of its own');
    }
    if (!(timeoutMs >= 100 && timeoutMs <= 60_000)) {
      throw new CaError('CA_REQUEST_INVALID', `expected timeoutMs of 100 to 60000 ms, got ${String(timeoutMs)}`);
    }
    this.#fetch = fetch ?? nodeFetch(ca);
  }

  /** The issuer's key set (JWKS). API servers have it as one media type, and refuse (406) who takes no other than JSON. */
  keys(signal: AbortSignal): Promise<unknown> {
    const accept = 'application/jwk-set+json, application/json';
    return this.#request('openid/v1/jwks', { method: 'GET', headers: { accept } }, signal);
  }

  /** The answer to a TokenReview (authentication.k8s.io/v1). */
  review(
    spec: { readonly token: string; readonly audiences: readonly string[] },
    signal: AbortSignal,
  ): Promise<unknown> {
    const headers = { accept: 'application/json', 'content-type': 'application/json' };
    const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec });
    const path = 'apis/authentication.k8s.io/v1/tokenreviews';
    return this.#request(path, { method: 'POST', headers, body }, signal, [spec.token]);
  }

  async #request(
    path: string,
    request: ServerRequest,
    outer: AbortSignal,
    secrets: readonly string[] = [],
  ): Promise<unknown> {
    const { bearerToken, timeoutMs = 5000, clock = systemClock } = this.#options;
    const timeout = new AbortController();
    const timer = clock.timer(timeoutMs, () => timeout.abort(new Error(`no answer within ${String(timeoutMs)} ms`)));
    const signal = AbortSignal.any([outer, timeout.signal]);
    const url = new URL(path, this.#base).href;
    try {
      const token = (typeof bearerToken === 'function' ? await bearerToken() : bearerToken)?.trim();
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const headers = { ...request.headers, ...authorization };
      const response = await this.#fetch(url, { ...request, headers, signal, redirect: 'error' });
      const text = await readBounded(response.body ?? [], url);
      if (response.status === 200 || response.status === 201) return parseJson(text, url);
      const quotes = [...secrets, token ?? ''].some((secret) => quotesToken(text, secret));
      const why = quotes ? '' : statusMessage(text);
      throw new Error(`expected status 200 or 201 from ${url}, got ${String(response.status)}${why}`);
    } catch (error) {
      throw timeout.signal.aborted ? timeout.signal.reason : error;
    } finally {
      timer.cancel();
    }
  }
}

interface ServerRequest {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
}

/** A server may quote what it was sent. */
export function quotesToken(text: string, token: string): boolean {
  return token.split('.').some((part) => part !== '' && text.includes(part));
}

/** What the error says that API servers send, such as whom they took us for and what that one may not do. */
function statusMessage(text: string): string {
  try {
    const { kind, message } = JSON.parse(text) as { readonly kind?: unknown; readonly message?: unknown };
    return kind === 'Status' && typeof message === 'string'
      ? `: ${message.slice(0, 300).replace(/[^ -~]+/g, ' ')}`
      : '';
  } catch {
    return '';
  }
}

function baseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url?.protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url !== undefined && (url.protocol === 'https:' || plain) && url.username === '' && url.password === '') {
    return new URL(url.pathname.endsWith('/') ? url : `${url.href}/`);
  }
  const message = 'expected the URL of an API server: https, or http to a loopback address, and without a password';
  throw new CaError('CA_REQUEST_INVALID', message);
}

/** One request per connection: they are rare, and a pooled one would hold a server's old certificate. */
function nodeFetch(ca: string | undefined): FetchLike {
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const common = { method, headers: { ...headers, connection: 'close' }, agent: false as const, signal };
      const tls = { minVersion: 'TLSv1.2' as const, ...(ca === undefined ? {} : { ca }) };
      const request = url.startsWith('https:') ? https.request(url, { ...common, ...tls }) : http.request(url, common);
      request.once('error', reject);
      request.once('response', (response) => resolve({ status: response.statusCode ?? 0, body: response }));
      request.end(body);
    });
}

async function readBounded(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`expected at most ${String(maxBytes)} bytes from ${url}`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string, url: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Without its cause, which quotes the text.
    throw new Error(`expected JSON from ${url}`);
  }
}
