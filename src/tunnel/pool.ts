import { formatSocketAddress } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import type { BundleSource, PeerAuthorizer, SvidSource, X509Svid } from '../spiffe/index.js';
import { openSession } from './client-session.js';
import type { TunnelDialer } from './client-session.js';
import { TunnelError } from './errors.js';
import type { ClientSession } from './client-session.js';
import type { SessionContext } from './session-info.js';

export interface PoolOptions {
  readonly context: SessionContext;
  readonly address: SocketAddress;
  readonly authorize: PeerAuthorizer;
  readonly svid: SvidSource;
  readonly bundle: BundleSource;
  readonly dial: TunnelDialer;
  /** Aborts when the client is closed or destroyed. */
  readonly signal: AbortSignal;
}

/** A session with a place for one stream kept on it. */
export interface Lease {
  readonly session: ClientSession;
  readonly release: () => void;
}

/**
 * The sessions to one address under one expectation of who answers there. A session takes streams while our SVID is the
 * one it was opened with, neither certificate has expired and it has room; connects are single-flight.
 */
export class Pool {
  readonly #options: PoolOptions;
  readonly #sessions = new Set<ClientSession>();
  #connecting: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get address(): SocketAddress {
    return this.#options.address;
  }

  get sessions(): Iterable<ClientSession> {
    return this.#sessions;
  }

  /** Nothing is open and nothing is being opened. */
  get empty(): boolean {
    return this.#sessions.size === 0 && this.#connecting === undefined;
  }

  /** A place on a usable session, opening one if need be. Rejects with `TunnelError` or the signal's reason. */
  async checkout(signal: AbortSignal | undefined): Promise<Lease> {
    for (;;) {
      signal?.throwIfAborted();
      const session = this.#pick();
      if (session !== undefined) return { session, release: session.reserve() };
      this.#connecting ??= this.#open();
      await unlessAborted(this.#connecting, signal);
    }
  }

  /** Whether new streams may go on `session`. */
  usable(session: ClientSession): boolean {
    const { svid, context } = this.#options;
    if (session.svid !== svid.current || context.clock.now() >= session.svid.notAfter.getTime()) return false;
    return !session.draining && !session.closed.aborted && !session.peerExpired;
  }

  /** After our SVID changed: older sessions take no more streams and end when they are idle. */
  retireOld(current: X509Svid): void {
    const rotated = new TunnelError('TUNNEL_ROTATED', 'our SVID was renewed; new streams go on a new session');
    for (const session of [...this.#sessions]) if (session.svid !== current) session.retire(rotated);
  }

  #pick(): ClientSession | undefined {
    for (const session of this.#sessions) {
      if (session.peerExpired && !session.draining) {
        session.retire(
          new TunnelError('TUNNEL_PEER_EXPIRED', `the certificate of ${session.peer.spiffeId.toString()} has expired`),
        );
      }
      if (this.usable(session) && session.streams < this.#capacity(session)) return session;
    }
    return undefined;
  }

  #capacity(session: ClientSession): number {
    const theirs = session.http2.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY;
    return Math.min(this.#options.context.limits.maxStreamsPerSession, theirs);
  }

  async #open(): Promise<void> {
    const { context, address, authorize, svid, bundle, dial, signal } = this.#options;
    try {
      signal.throwIfAborted();
      if (this.#sessions.size >= context.limits.maxSessionsPerPeer) {
        const count = String(this.#sessions.size);
        throw new TunnelError(
          'TUNNEL_LIMIT',
          `${count} sessions to ${formatSocketAddress(address)} are open (maxSessionsPerPeer)`,
        );
      }
      const trusted = bundle.current;
      const session = await openSession(context, {
        address,
        authorize,
        svid: svid.current,
        bundle: trusted,
        dial,
        signal,
      });
      this.#sessions.add(session);
      void session.ended.then(() => this.#sessions.delete(session));
      // Either may have changed while this session was being opened.
      if (bundle.current !== trusted) session.reverify(bundle.current);
      this.retireOld(svid.current);
      if (signal.aborted) session.destroy(signal.reason as Error);
    } finally {
      this.#connecting = undefined;
    }
  }
}

function unlessAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
