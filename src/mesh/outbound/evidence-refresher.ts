/**
 * Keeps the destinations convinced: knows which principals have open streams to which agents, and pushes a fresh token for
 * each, on a session made with the agent's newest certificate, so that open streams outlive tokens and certificates. On
 * this very node the same is done by authenticating anew.
 */
import { describeError } from '../../core/index.js';
import type { Logger } from '../../core/index.js';
import { workloadTokenHeader } from '../../spiffe/index.js';
import type { SpiffeId, WorkloadTokenSource } from '../../spiffe/index.js';
import type { TunnelClient } from '../../tunnel/index.js';
import type { LocalAuthenticator } from './local-authenticator.js';

export interface OpenStream {
  readonly principal: SpiffeId;
  readonly peer: SpiffeId;
}

interface Tracked {
  readonly renew: () => Promise<void>;
  streams: number;
}

export class EvidenceRefresher {
  readonly #client: TunnelClient;
  readonly #tokens: WorkloadTokenSource;
  readonly #local: LocalAuthenticator;
  readonly #logger: Logger;
  readonly #tracked = new Map<string, Tracked>();
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: {
    readonly client: TunnelClient;
    readonly tokens: WorkloadTokenSource;
    readonly local: LocalAuthenticator;
    readonly logger: Logger;
  }) {
    this.#client = options.client;
    this.#tokens = options.tokens;
    this.#local = options.local;
    this.#logger = options.logger;
  }

  /** A stream through a tunnel was opened; call the result when it ended. */
  track(stream: OpenStream): () => void {
    return this.#count(`${stream.principal.toString()} ${stream.peer.toString()}`, () => this.#push(stream));
  }

  /** A stream to this very node was opened; call the result when it ended. */
  trackLocal(principal: SpiffeId): () => void {
    return this.#count(principal.toString(), () => this.#renewLocal(principal));
  }

  /**
   * Renews the evidence of everything open. A failure is logged: the stream then ends when its old evidence does. Calls
   * that come during a run cause one more.
   */
  refresh(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      await Promise.all([...this.#tracked.values()].map(({ renew }) => renew()));
    }
  }

  #count(key: string, renew: () => Promise<void>): () => void {
    const entry = this.#tracked.get(key) ?? { renew, streams: 0 };
    entry.streams += 1;
    this.#tracked.set(key, entry);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      entry.streams -= 1;
      if (entry.streams === 0) this.#tracked.delete(key);
    };
  }

  async #renewLocal(principal: SpiffeId): Promise<void> {
    const outcome = await this.#local.authenticate(principal);
    if ('refused' in outcome) this.#failed(principal, 'this node', outcome.detail);
  }

  async #push({ peer, principal }: OpenStream): Promise<void> {
    try {
      const results = await this.#client.announce({
        peer,
        headers: async ({ keyThumbprint }) => ({
          [workloadTokenHeader]: await this.#tokens.token(principal, { keyThumbprint }),
        }),
      });
      // One session that took it is enough: evidence is kept per principal and node, not per session.
      if (results.some(({ status }) => status === 204)) return;
      const why = results.map(({ status, error }) => (error === undefined ? String(status) : describeError(error)));
      this.#failed(principal, peer.toString(), why.join('; ') || 'no session');
    } catch (error) {
      this.#failed(principal, peer.toString(), describeError(error));
    }
  }

  #failed(principal: SpiffeId, peer: string, error: string): void {
    this.#logger.warn('workload evidence not renewed', { peer, principal: principal.toString(), error });
  }
}
