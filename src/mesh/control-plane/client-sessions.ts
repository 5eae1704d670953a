import { constants } from 'node:http2';
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  OutgoingHttpHeaders,
} from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';
import { describeError } from '../../core/index.js';
import type { Clock, Timer } from '../../core/index.js';
import { ControlPlaneError } from './errors.js';

/** A dialled and verified connection. */
export interface VerifiedSession {
  readonly session: ClientHttp2Session;
  /** Whether new requests may go out on it; false once our SVID was rotated. */
  usable(): boolean;
  /** Throws when the server's certificate no longer stands: the connection is then ended. */
  verifyAgain(): void;
}

export interface ClientSessionsOptions {
  /** The origin of the requests that connect makes; a name for them, nothing is resolved. */
  readonly authority: string;
  readonly dial: (signal: AbortSignal) => Promise<VerifiedSession>;
  readonly clock: Clock;
  /** How often a connection is pinged, and how long an answer may take. */
  readonly pingIntervalMs: number;
}

/**
 * The HTTP/2 connections of one transport, in the form connect wants them (`NodeHttp2ClientSessionManager`). One
 * connection at a time takes new requests; it is dialled when the first one comes and again whenever it is gone or no
 * longer fit. An older one goes on until the requests on it have ended.
 */
export class ClientSessions {
  readonly authority: string;
  readonly #options: ClientSessionsOptions;
  readonly #abort = new AbortController();
  readonly #live = new Set<VerifiedSession>();
  #current: VerifiedSession | undefined;
  #dialling: Promise<VerifiedSession> | undefined;
  #idle: (() => void) | undefined;

  constructor(options: ClientSessionsOptions) {
    this.authority = options.authority;
    this.#options = options;
  }

  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, 'signal'>,
  ): Promise<ClientHttp2Stream> {
    try {
      const { session } = await this.#ready();
      return session.request({ ...headers, ':method': method, ':path': path }, options);
    } catch (cause) {
      // connect shows callers the code and the message, and keeps the cause.
      throw new ConnectError(describeError(cause), Code.Unavailable, undefined, undefined, cause);
    }
  }

  notifyResponseByteRead(): void {
    // Pings go by the clock; that bytes arrive changes nothing.
  }

  /** Checks every connection against what is trusted now. */
  verifyAgain(): void {
    for (const each of this.#live) {
      try {
        each.verifyAgain();
      } catch (error) {
        drop(each, error as Error);
      }
    }
  }

  /** Lets requests under way finish for `drainMs`; later ones fail. Resolves when all connections are gone. */
  async close(drainMs = 2000): Promise<void> {
    this.#abort.abort(closed());
    for (const { session } of this.#live) session.close();
    if (this.#live.size === 0) return;
    const timer = this.#options.clock.timer(drainMs, () => this.destroy(), { keepAlive: true });
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    timer.cancel();
  }

  destroy(): void {
    this.#abort.abort(closed());
    for (const each of this.#live) drop(each, closed());
  }

  async #ready(): Promise<VerifiedSession> {
    if (this.#abort.signal.aborted) throw closed();
    const current = this.#current;
    if (current !== undefined) {
      if (!current.session.closed && !current.session.destroyed && current.usable()) return current;
      current.session.close();
      this.#current = undefined;
    }
    this.#dialling ??= this.#dial().finally(() => {
      this.#dialling = undefined;
    });
    return this.#dialling;
  }

  async #dial(): Promise<VerifiedSession> {
    const made = await this.#options.dial(this.#abort.signal);
    if (this.#abort.signal.aborted) {
      made.session.destroy();
      throw closed();
    }
    this.#live.add(made);
    this.#current = made;
    const stopPings = this.#keepAlive(made);
    made.session.once('goaway', () => made.session.close());
    made.session.once('close', () => {
      stopPings();
      this.#live.delete(made);
      if (this.#current === made) this.#current = undefined;
      if (this.#live.size === 0) this.#idle?.();
    });
    return made;
  }

  #keepAlive(made: VerifiedSession): () => void {
    const { session } = made;
    const { clock, pingIntervalMs } = this.#options;
    let timer: Timer;
    const later = (): void => {
      timer = clock.timer(pingIntervalMs, () => {
        if (session.destroyed) return;
        timer = clock.timer(pingIntervalMs, () => drop(made, unanswered()));
        session.ping((error) => {
          timer.cancel();
          if (error === null && !session.destroyed) later();
        });
      });
    };
    later();
    return () => timer.cancel();
  }
}

/** With an error: without one, connect goes on waiting for the answer to a request that has had none. */
function drop({ session }: VerifiedSession, reason: Error): void {
  session.destroy(reason, constants.NGHTTP2_CANCEL);
}

const unanswered = (): ControlPlaneError =>
  new ControlPlaneError('MESH_CONTROL_PLANE_TIMEOUT', 'the controller stopped answering pings');

const closed = (): ControlPlaneError =>
  new ControlPlaneError('MESH_CONTROL_PLANE_CLOSED', 'this control-plane transport is closed');
