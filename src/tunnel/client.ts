import type { Duplex } from 'node:stream';
import {
  formatSocketAddress,
  noObserver,
  notify,
  parseSocketAddress,
  silentLogger,
  socketAddress,
  systemClock,
} from '../core/index.js';
import type { Clock, Closable, Logger, Observer, SocketAddress } from '../core/index.js';
import { SpiffeId, toBundleSource, toSvidSource } from '../spiffe/index.js';
import type { BundleSource, PeerAuthorizer, SvidSource, TrustBundle, X509Svid } from '../spiffe/index.js';
import { announceAuthority, announceMethod, announcePath } from './announce.js';
import { parseAuthority } from './authority.js';
import { request } from './client-request.js';
import { defaultDialer } from './client-session.js';
import type { TunnelDialer } from './client-session.js';
import { TunnelError, TunnelRefused } from './errors.js';
import type { TunnelEvent } from './events.js';
import { checkedHeaders } from './headers.js';
import type { TunnelHeaders } from './headers.js';
import { resolveLimits } from './limits.js';
import type { TunnelLimits } from './limits.js';
import type { TunnelPeer } from './peer.js';
import { Pool } from './pool.js';
import type { SessionContext, SessionCore, TunnelSessionInfo } from './session.js';
import { cancelStream } from './tunnel-stream.js';

export interface TunnelClientOptions {
  readonly svid: X509Svid | SvidSource;
  readonly bundle: TrustBundle | BundleSource;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<TunnelEvent> | undefined;
  readonly limits?: Partial<TunnelLimits> | undefined;
  /** How TCP connections are made, e.g. with a socket mark. Default `net.connect`. */
  readonly dial?: TunnelDialer | undefined;
}

/** Headers to send, or how to make them for the session that carries them: a token is bound to that session's key. */
export type TunnelHeadersInput =
  | Readonly<Record<string, string>>
  | ((session: {
      readonly keyThumbprint: string;
    }) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>);

export interface TunnelConnectOptions {
  /** Where the peer listens: `10.0.0.1:15002`, `[fd00::1]:15002`. */
  readonly address: SocketAddress | string;
  /** Where the peer is asked to connect: `IP:port` or `name:port`. */
  readonly authority: string;
  /** Who must answer: exactly this SPIFFE ID, or whoever the authorizer accepts. Pass the same function to share sessions. */
  readonly peer: SpiffeId | string | PeerAuthorizer;
  readonly headers?: TunnelHeadersInput | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TunnelConnection {
  /** Handle its `error`: a cut-off stream is destroyed with `TUNNEL_STREAM_RESET`. */
  readonly stream: Duplex;
  readonly peer: TunnelPeer;
  /** Of the answer. */
  readonly headers: TunnelHeaders;
}

export interface TunnelAnnounceOptions {
  /** SPIFFE ID of the peer. */
  readonly peer: SpiffeId | string;
  readonly headers: TunnelHeadersInput;
  readonly signal?: AbortSignal | undefined;
}

/** How one session answered fresh evidence: its status, or why there was none. */
export interface TunnelAnnounceResult {
  readonly session: string;
  readonly remoteAddress: SocketAddress;
  readonly status?: number | undefined;
  readonly error?: TunnelError | undefined;
}

/** The dialling end: a pool of sessions. `close()` lets open streams finish for `drainTimeoutMs`, then resets them. */
export interface TunnelClient extends Closable {
  readonly sessions: readonly TunnelSessionInfo[];
  /**
   * Asks the peer at `address` for a stream to `authority`. Throws `TunnelRefused` for a status other than 200, else
   * `TunnelError`, or the reason of `signal`.
   */
  connect(options: TunnelConnectOptions): Promise<TunnelConnection>;
  /** Sends fresh evidence on every open session with `peer`. Never rejects for what a peer does; see the results. */
  announce(options: TunnelAnnounceOptions): Promise<readonly TunnelAnnounceResult[]>;
}

/** See `Http2MtlsTunnel.client`. */
export function client(options: TunnelClientOptions): TunnelClient {
  return new Client(options);
}

/** A session may end between checkout and request (GOAWAY, a lost connection): nothing was answered, so try another. */
const attempts = 3;

class Client implements TunnelClient {
  readonly #context: SessionContext;
  readonly #svid: SvidSource;
  readonly #bundle: BundleSource;
  readonly #dial: TunnelDialer;
  readonly #pools = new Map<string, Pool>();
  readonly #authorizerKeys = new WeakMap<PeerAuthorizer, string>();
  readonly #subscriptions: readonly Disposable[];
  readonly #ended = new AbortController();
  #authorizerCount = 0;
  #closing: Promise<void> | undefined;

  constructor(options: TunnelClientOptions) {
    this.#svid = toSvidSource(options.svid);
    this.#bundle = toBundleSource(options.bundle);
    this.#dial = options.dial ?? defaultDialer;
    this.#context = Object.freeze({
      side: 'client' as const,
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
      observer: options.observer ?? noObserver,
      limits: resolveLimits(options.limits),
    });
    this.#subscriptions = [
      this.#svid.subscribe((svid) => {
        for (const pool of this.#pools.values()) pool.retireOld(svid);
      }),
      this.#bundle.subscribe((bundle) => {
        for (const session of this.#allSessions()) session.reverify(bundle);
      }),
    ];
  }

  get sessions(): readonly TunnelSessionInfo[] {
    return this.#allSessions().map((session) => session.info());
  }

  async connect(options: TunnelConnectOptions): Promise<TunnelConnection> {
    const { authority } = parseAuthority(options.authority);
    for (let attempt = 1; ; attempt += 1) {
      this.#assertOpen();
      const lease = await this.#pool(options).checkout(options.signal);
      try {
        return await this.#connectOn(lease.session, authority, options);
      } catch (error) {
        const lost = error instanceof TunnelError && error.code === 'TUNNEL_SESSION_FAILED' && lease.session.draining;
        if (!lost || attempt >= attempts) throw error;
      } finally {
        lease.release();
      }
    }
  }

  async announce(options: TunnelAnnounceOptions): Promise<readonly TunnelAnnounceResult[]> {
    this.#assertOpen();
    const peer = asSpiffeId(options.peer);
    const open = this.#allSessions().filter(
      (session) => session.peer.spiffeId.equals(peer) && !session.http2.closed && !session.peerExpired,
    );
    return Promise.all(open.map((session) => this.#announceOn(session, options)));
  }

  async close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  destroy(reason?: Error): void {
    const closed = new TunnelError('TUNNEL_CLOSED', 'the tunnel client was destroyed', { cause: reason });
    this.#end(closed);
    for (const session of this.#allSessions()) session.destroy(closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #drain(): Promise<void> {
    const closed = new TunnelError('TUNNEL_CLOSED', 'the tunnel client is closing');
    this.#end(closed);
    await Promise.all(this.#allSessions().map((session) => session.drain(closed, this.#context.limits.drainTimeoutMs)));
  }

  #end(reason: TunnelError): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    this.#ended.abort(reason);
  }

  #assertOpen(): void {
    this.#ended.signal.throwIfAborted();
  }

  #allSessions(): SessionCore[] {
    return [...this.#pools.values()].flatMap((pool) => [...pool.sessions]);
  }

  async #connectOn(session: SessionCore, authority: string, options: TunnelConnectOptions): Promise<TunnelConnection> {
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

  async #announceOn(session: SessionCore, options: TunnelAnnounceOptions): Promise<TunnelAnnounceResult> {
    const base = { session: session.id, remoteAddress: session.peer.remoteAddress };
    const release = session.reserve();
    try {
      const headers = await headersFor(session, options.headers);
      const block = {
        ...headers,
        ':method': announceMethod,
        ':scheme': 'https',
        ':authority': announceAuthority,
        ':path': announcePath,
      };
      const { stream, status } = await request(this.#context, session, block, {
        endStream: true,
        signal: options.signal,
      });
      stream.resume();
      notify(this.#context.observer, {
        type: 'evidence',
        side: 'client',
        session: session.id,
        peer: session.peer.spiffeId.toString(),
        status,
      });
      return Object.freeze({ ...base, status });
    } catch (error) {
      const failure =
        error instanceof TunnelError
          ? error
          : new TunnelError('TUNNEL_SESSION_FAILED', 'the evidence was not sent', { cause: error });
      return Object.freeze({ ...base, error: failure });
    } finally {
      release();
    }
  }

  #pool(options: TunnelConnectOptions): Pool {
    const address =
      typeof options.address === 'string'
        ? parseSocketAddress(options.address)
        : socketAddress(options.address.ip, options.address.port);
    const { key, authorize } = this.#expectation(options.peer);
    const poolKey = `${formatSocketAddress(address)} ${key}`;
    let pool = this.#pools.get(poolKey);
    if (pool === undefined) {
      for (const [other, { empty }] of this.#pools) if (empty) this.#pools.delete(other);
      const { signal } = this.#ended;
      pool = new Pool({
        context: this.#context,
        address,
        authorize,
        svid: this.#svid,
        bundle: this.#bundle,
        dial: this.#dial,
        signal,
      });
      this.#pools.set(poolKey, pool);
    }
    return pool;
  }

  #expectation(peer: TunnelConnectOptions['peer']): { readonly key: string; readonly authorize: PeerAuthorizer } {
    if (typeof peer !== 'function') {
      const expected = asSpiffeId(peer);
      const authorize: PeerAuthorizer = (id) => id.equals(expected) || `expected ${expected.toString()}`;
      return { key: expected.toString(), authorize };
    }
    let key = this.#authorizerKeys.get(peer);
    if (key === undefined) {
      this.#authorizerCount += 1;
      key = `authorizer-${String(this.#authorizerCount)}`;
      this.#authorizerKeys.set(peer, key);
    }
    return { key, authorize: peer };
  }
}

function asSpiffeId(peer: SpiffeId | string): SpiffeId {
  return typeof peer === 'string' ? SpiffeId.parse(peer) : peer;
}

async function headersFor(
  session: SessionCore,
  headers: TunnelHeadersInput | undefined,
): Promise<Record<string, string>> {
  const given = typeof headers === 'function' ? await headers({ keyThumbprint: session.svid.keyThumbprint }) : headers;
  return checkedHeaders(given);
}
