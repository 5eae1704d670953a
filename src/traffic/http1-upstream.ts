import { Agent } from 'node:http';
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ByteStream } from './byte-stream.js';
import type { ByteStreamOptions } from './byte-stream.js';

/** An agent of exactly one connection: the request it is given goes onto that one, and its end is our business. */
export class OneConnectionAgent extends Agent {
  readonly #stream: ByteStream;

  constructor(stream: ByteStream) {
    super({ keepAlive: true });
    this.#stream = stream;
  }

  /** Node calls this with each new request. */
  addRequest(request: ClientRequest): void {
    // HTTP on a stream that is no socket is supported (`createConnection` may return any Duplex); only the type says Socket.
    request.onSocket(this.#stream as Duplex as Socket);
  }
}

export interface UpstreamLease {
  readonly stream: ByteStream;
  readonly agent: OneConnectionAgent;
  /** The connection has served a request before, so it may have been closed at the same moment. */
  readonly reused: boolean;
}

/** The application's side of one proxied connection: made when first needed, kept between requests, made anew once closed. */
export class Http1Upstream {
  readonly #connect: () => Promise<Duplex>;
  readonly #options: ByteStreamOptions;
  #idle: UpstreamLease | undefined;
  #busy: UpstreamLease | undefined;
  #destroyed = false;

  constructor(connect: () => Promise<Duplex>, options: ByteStreamOptions) {
    this.#connect = connect;
    this.#options = options;
  }

  /** The kept connection if it is still good (and `fresh` is not asked for), else a new one. Rejects with the connect error. */
  async acquire(fresh = false): Promise<UpstreamLease> {
    const kept = this.#idle;
    this.#idle = undefined;
    if (kept !== undefined) {
      this.#unguard(kept.stream);
      if (!fresh && !kept.stream.destroyed && !kept.stream.readableEnded) {
        this.#busy = { ...kept, reused: true };
        return this.#busy;
      }
      this.#drop(kept);
    }
    const inner = await this.#connect();
    const stream = new ByteStream(inner, this.#options);
    // Errors belong to the request in flight, if there is one.
    stream.on('error', () => undefined);
    const lease = { stream, agent: new OneConnectionAgent(stream), reused: false };
    this.#busy = lease;
    if (this.#destroyed) this.#drop(lease);
    return lease;
  }

  /** The request on `lease` is over and left it reusable. */
  release(lease: UpstreamLease): void {
    this.#busy = undefined;
    if (this.#destroyed || lease.stream.destroyed || lease.stream.readableEnded) {
      this.#drop(lease);
      return;
    }
    this.#idle = lease;
    // An application that speaks without being asked would have its bytes taken for the next response.
    lease.stream.on('data', this.#onUnasked);
    lease.stream.on('end', this.#onUnasked);
  }

  /** The request on `lease` is over and its connection with it. */
  discard(lease: UpstreamLease, error?: Error): void {
    this.#busy = undefined;
    this.#drop(lease, error);
  }

  /** The connection on `lease` has a new owner, who ends it. */
  handOver(lease: UpstreamLease): void {
    if (this.#busy === lease) this.#busy = undefined;
  }

  /** Ends whatever is open: an idle connection politely, a busy one with a reset. */
  destroy(error: Error): void {
    this.#destroyed = true;
    if (this.#idle !== undefined) {
      this.#unguard(this.#idle.stream);
      this.#drop(this.#idle);
    }
    if (this.#busy !== undefined) this.#drop(this.#busy, error);
    this.#idle = undefined;
    this.#busy = undefined;
  }

  readonly #onUnasked = (): void => {
    const lease = this.#idle;
    this.#idle = undefined;
    if (lease === undefined) return;
    this.#unguard(lease.stream);
    this.#drop(lease);
  };

  #unguard(stream: ByteStream): void {
    stream.off('data', this.#onUnasked);
    stream.off('end', this.#onUnasked);
  }

  #drop(lease: UpstreamLease, error?: Error): void {
    lease.agent.destroy();
    if (error === undefined) lease.stream.destroy();
    else lease.stream.reset(error);
  }
}
