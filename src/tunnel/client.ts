import { describeError, noObserver, notify, silentLogger, systemClock } from '../core/index.js';
import { toBundleSource, toSvidSource } from '../spiffe/index.js';
import { announceAuthority, announceMethod, announcePath } from './announce.js';
import { parseAuthority } from './authority.js';
import type {
  TunnelAnnounceOptions,
  TunnelAnnounceResult,
  TunnelClient,
  TunnelClientOptions,
  TunnelConnectOptions,
  TunnelConnection,
  TunnelHeadersInput,
} from './client-options.js';
import { request } from './client-request.js';
import { defaultDialer } from './client-session.js';
import type { ClientSession } from './client-session.js';
import { TunnelError, TunnelRefused } from './errors.js';
import { checkedHeaders } from './headers.js';
import { resolveLimits } from './limits.js';
import type { Pool } from './pool.js';
import { Pools, asSpiffeId } from './pools.js';
import type { SessionContext, TunnelSessionInfo } from './session-info.js';
import { cancelStream } from './tunnel-stream.js';

/** See `Http2MtlsTunnel.client`. */
export function client(options: TunnelClientOptions): TunnelClient {
  return new Client(options);
}

/**
 * A session may end between checkout and answer (GOAWAY, a lost connection): nothing was answered, so try another. More than
 * a few, since the next one may be caught by the same renewal at the other end.
 */
const attempts = 8;

class Client implements TunnelClient {
  readonly #context: SessionContext;
  readonly #pools: Pools;
  readonly #subscriptions: readonly Disposable[];
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(options: TunnelClientOptions) {
    const svid = toSvidSource(options.svid);
    const bundle = toBundleSource(options.bundle);
    this.#context = Object.freeze({
      side: 'client' as const,
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
      observer: options.observer ?? noObserver,
      limits: resolveLimits(options.limits),
    });
    const dial = options.dial ?? defaultDialer;
    this.#pools = new Pools({ context: this.#context, svid, bundle, dial, signal: this.#ended.signal });
    this.#subscriptions = [
      svid.subscribe((current) => {
        for (const pool of this.#pools.all()) pool.retireOld(current);
      }),
      bundle.subscribe((current) => {
        for (const session of this.#pools.sessions()) session.reverify(current);
      }),
    ];
  }

  get sessions(): readonly TunnelSessionInfo[] {
    return this.#pools.sessions().map((session) => session.info());
  }

  async connect(options: TunnelConnectOptions): Promise<TunnelConnection> {
    const { authority } = parseAuthority(options.authority);
    for (let attempt = 1; ; attempt += 1) {
      this.#assertOpen();
      const lease = await this.#pools.for(options).checkout(options.signal);
      try {
        return await this.#connectOn(lease.session, authority, options);
      } catch (error) {
        const lost = error instanceof TunnelError && error.code === 'TUNNEL_SESSION_FAILED';
        if (!lost || attempt >= attempts) throw error;
      } finally {
        lease.release();
      }
    }
  }

  async announce(options: TunnelAnnounceOptions): Promise<readonly TunnelAnnounceResult[]> {
    this.#assertOpen();
    const peer = asSpiffeId(options.peer);
    const results: Promise<TunnelAnnounceResult>[] = [];
    for (const pool of this.#pools.all()) {
      const known = [...pool.sessions].filter((session) => session.peer.spiffeId.equals(peer));
      const usable = known.filter((session) => pool.usable(session));
      if (usable.length > 0) results.push(...usable.map((session) => this.#announceOn(session, options)));
      else if (known.some((session) => session.streams > 0)) results.push(this.#announceAnew(pool, options));
    }
    return Promise.all(results);
  }

  async close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  destroy(reason?: Error): void {
    const closed = new TunnelError('TUNNEL_CLOSED', 'the tunnel client was destroyed', { cause: reason });
    this.#end(closed);
    for (const session of this.#pools.sessions()) session.destroy(closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #drain(): Promise<void> {
    const closed = new TunnelError('TUNNEL_CLOSED', 'the tunnel client is closing');
    this.#end(closed);
    await Promise.all(
      this.#pools.sessions().map((session) => session.drain(closed, this.#context.limits.drainTimeoutMs)),
    );
  }

  #end(reason: TunnelError): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    this.#ended.abort(reason);
  }

  #assertOpen(): void {
    this.#ended.signal.throwIfAborted();
  }

  async #connectOn(
    session: ClientSession,
    authority: string,
    options: TunnelConnectOptions,
  ): Promise<TunnelConnection> {
    const headers = await headersFor(session, options.headers);
    const block = { ...headers, ':method': 'CONNECT', ':authority': authority };
    const answer = await request(this.#context, session, block, { endStream: false, signal: options.signal });
    if (answer.status === 200) {
      return Object.freeze({
        stream: session.track(answer.stream, authority),
        peer: session.peer,
        headers: answer.headers,
      });
    }
    cancelStream(answer.stream);
    const peer = session.peer.spiffeId.toString();
    notify(this.#context.observer, {
      type: 'stream-refused',
      side: 'client',
      session: session.id,
      peer,
      authority,
      status: answer.status,
      reason: 'TUNNEL_REFUSED',
    });
    throw new TunnelRefused(answer.status, `the CONNECT to ${authority} through ${peer}`);
  }

  async #announceAnew(pool: Pool, options: TunnelAnnounceOptions): Promise<TunnelAnnounceResult> {
    try {
      const lease = await pool.checkout(options.signal);
      lease.release();
      return await this.#announceOn(lease.session, options);
    } catch (error) {
      return Object.freeze({ remoteAddress: pool.address, error: evidenceError(error) });
    }
  }

  async #announceOn(session: ClientSession, options: TunnelAnnounceOptions): Promise<TunnelAnnounceResult> {
    const base = { session: session.id, remoteAddress: session.peer.remoteAddress };
    const release = session.reserve();
    try {
      const headers = await headersFor(session, options.headers);
      const pseudo = {
        ':method': announceMethod,
        ':scheme': 'https',
        ':authority': announceAuthority,
        ':path': announcePath,
      };
      const exchange = { endStream: true, signal: options.signal };
      const { stream, status } = await request(this.#context, session, { ...headers, ...pseudo }, exchange);
      stream.resume();
      const peer = session.peer.spiffeId.toString();
      notify(this.#context.observer, { type: 'evidence', side: 'client', session: session.id, peer, status });
      return Object.freeze({ ...base, status });
    } catch (error) {
      return Object.freeze({ ...base, error: evidenceError(error) });
    } finally {
      release();
    }
  }
}

function evidenceError(error: unknown): TunnelError {
  if (error instanceof TunnelError) return error;
  return new TunnelError('TUNNEL_SESSION_FAILED', `the evidence was not sent: ${describeError(error)}`, {
    cause: error,
  });
}

async function headersFor(
  session: ClientSession,
  headers: TunnelHeadersInput | undefined,
): Promise<Record<string, string>> {
  const given = typeof headers === 'function' ? await headers({ keyThumbprint: session.svid.keyThumbprint }) : headers;
  return checkedHeaders(given);
}
