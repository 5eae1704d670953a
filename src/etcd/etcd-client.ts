import { setMaxListeners } from 'node:events';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import type { CallOptions, Client } from '@connectrpc/connect';
import { Http2SessionManager, createGrpcTransport } from '@connectrpc/connect-node';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { describeError } from '../core/index.js';
import { EtcdError } from './errors.js';
import { Auth, KV, Watch } from './gen/etcd_pb.js';
import type {
  RangeResponse,
  TxnRequestSchema,
  TxnResponse,
  WatchCreateRequestSchema,
  WatchResponse,
} from './gen/etcd_pb.js';
import type { ResolvedEtcdOptions } from './options.js';

interface Endpoint {
  readonly url: string;
  readonly sessions: Http2SessionManager;
  readonly kv: Client<typeof KV>;
  readonly watch: Client<typeof Watch>;
  readonly auth: Client<typeof Auth>;
}

/** Messages of etcd for a token that has to be fetched anew; their codes differ. */
const staleToken = /invalid auth token|user name is empty|revision of auth store is old/;

/** etcd closes connections that ping more often than every 5 s. */
const pingIntervalMs = 6_000;
const pingTimeoutMs = 3_000;

/**
 * Requests to an etcd cluster by gRPC: each with a time-out, tried at every endpoint once, beginning with the one that
 * answered last. A connection that did not answer is given up, so that the next request dials anew.
 *
 * A request may have taken effect although it failed, and may take effect twice: send only what bears that.
 */
export class EtcdClient {
  readonly #options: ResolvedEtcdOptions;
  readonly #endpoints: readonly Endpoint[];
  readonly #closed = new AbortController();
  #current = 0;
  #token: Promise<string> | undefined;

  constructor(options: ResolvedEtcdOptions) {
    this.#options = options;
    // One per request under way.
    setMaxListeners(0, this.#closed.signal);
    this.#endpoints = options.endpoints.map((url) => connect(url, options));
  }

  range(key: Uint8Array, rangeEnd: Uint8Array, signal: AbortSignal | undefined): Promise<RangeResponse> {
    return this.#call(signal, ({ kv }, call) => kv.range({ key, rangeEnd }, call));
  }

  txn(request: MessageInitShape<typeof TxnRequestSchema>, signal: AbortSignal | undefined): Promise<TxnResponse> {
    return this.#call(signal, ({ kv }, call) => kv.txn(request, call));
  }

  /** One watch at the present endpoint; fails when the connection does, or the member loses its leader. */
  async *watch(
    create: MessageInitShape<typeof WatchCreateRequestSchema>,
    signal: AbortSignal,
  ): AsyncGenerator<WatchResponse> {
    const endpoint = this.#endpoint();
    const headers = await this.#headers(endpoint, { signal });
    headers.set('hasleader', 'true');
    const ended = new AbortController();
    const requests = async function* (): AsyncGenerator<{
      requestUnion: { case: 'createRequest'; value: MessageInitShape<typeof WatchCreateRequestSchema> };
    }> {
      yield { requestUnion: { case: 'createRequest', value: create } };
      // The stream stays open in this direction for as long as it is read.
      await new Promise<void>((resolve) => {
        ended.signal.addEventListener('abort', () => resolve(), { once: true });
      });
    };
    try {
      const all = AbortSignal.any([signal, this.#closed.signal]);
      yield* endpoint.watch.watch(requests(), { headers, signal: all });
    } catch (error) {
      this.#failed(endpoint, error);
      throw error;
    } finally {
      ended.abort();
    }
  }

  close(): void {
    this.#closed.abort(new EtcdError('ETCD_CLOSED', 'the etcd store is closed'));
    for (const { sessions } of this.#endpoints) sessions.abort();
  }

  #endpoint(): Endpoint {
    const endpoint = this.#endpoints[this.#current % this.#endpoints.length];
    if (endpoint === undefined) throw new EtcdError('ETCD_CONFIGURATION_INVALID', 'there is no endpoint');
    return endpoint;
  }

  async #call<T>(
    signal: AbortSignal | undefined,
    run: (endpoint: Endpoint, call: CallOptions) => Promise<T>,
  ): Promise<T> {
    const failures: string[] = [];
    for (let tried = 0; tried < this.#endpoints.length; tried += 1) {
      signal?.throwIfAborted();
      this.#closed.signal.throwIfAborted();
      const endpoint = this.#endpoint();
      try {
        return await this.#attempt(endpoint, signal, run);
      } catch (error) {
        signal?.throwIfAborted();
        this.#closed.signal.throwIfAborted();
        if (!this.#failed(endpoint, error)) throw refused(error);
        failures.push(`${endpoint.url}: ${describeError(error)}`);
      }
    }
    throw new EtcdError('ETCD_UNAVAILABLE', `no etcd endpoint answered (${failures.join('; ')})`, {
      fields: { endpoints: this.#options.endpoints },
    });
  }

  /** One request at one endpoint, with a new token where the old one does not hold any more. */
  async #attempt<T>(
    endpoint: Endpoint,
    signal: AbortSignal | undefined,
    run: (endpoint: Endpoint, call: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { clock, requestTimeoutMs, auth } = this.#options;
    // One controller and listeners taken off again: signals made by AbortSignal.any stay with a long-lived source.
    const stop = new AbortController();
    const timer = clock.timer(requestTimeoutMs, () => {
      stop.abort(new ConnectError(`no answer within ${String(requestTimeoutMs)} ms`, Code.DeadlineExceeded));
    });
    const sources = signal === undefined ? [this.#closed.signal] : [this.#closed.signal, signal];
    const onAbort = (): void => stop.abort();
    for (const source of sources) source.addEventListener('abort', onAbort, { once: true });
    const call = { signal: stop.signal };
    try {
      try {
        return await run(endpoint, { ...call, headers: await this.#headers(endpoint, call) });
      } catch (error) {
        if (auth === undefined || !staleToken.test(describeError(error))) throw error;
        this.#token = undefined;
        return await run(endpoint, { ...call, headers: await this.#headers(endpoint, call) });
      }
    } catch (error) {
      throw stop.signal.aborted ? (stop.signal.reason as Error) : error;
    } finally {
      timer.cancel();
      for (const source of sources) source.removeEventListener('abort', onAbort);
    }
  }

  async #headers(endpoint: Endpoint, call: CallOptions): Promise<Headers> {
    const { auth } = this.#options;
    if (auth === undefined) return new Headers();
    this.#token ??= endpoint.auth
      .authenticate({ name: auth.username, password: auth.password }, call)
      .then(({ token }) => token);
    try {
      return new Headers({ token: await this.#token });
    } catch (error) {
      this.#token = undefined;
      throw error;
    }
  }

  /** Whether another endpoint may do better; then it is the next one's turn, and a fresh connection's. */
  #failed(endpoint: Endpoint, error: unknown): boolean {
    const { code } = ConnectError.from(error);
    if (!passing.has(code)) return false;
    if (endpoint === this.#endpoint()) this.#current = (this.#current + 1) % this.#endpoints.length;
    endpoint.sessions.abort();
    return true;
  }
}

const passing: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Aborted,
  Code.Internal,
  Code.Unknown,
  Code.DataLoss,
]);

function refused(error: unknown): EtcdError {
  const { rawMessage } = ConnectError.from(error);
  return new EtcdError('ETCD_REFUSED', `etcd refused the request: ${rawMessage}`, { cause: error });
}

function connect(url: string, { tls }: ResolvedEtcdOptions): Endpoint {
  const secure = url.startsWith('https:');
  const sessions = new Http2SessionManager(
    url,
    { pingIntervalMs, pingTimeoutMs },
    secure ? { ...withoutUndefined(tls), minVersion: 'TLSv1.2' } : {},
  );
  const transport = createGrpcTransport({ baseUrl: url, sessionManager: sessions, acceptCompression: [] });
  return {
    url,
    sessions,
    kv: createClient(KV, transport),
    watch: createClient(Watch, transport),
    auth: createClient(Auth, transport),
  };
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
