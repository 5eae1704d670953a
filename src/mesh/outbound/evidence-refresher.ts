/**
 * Keeps the destinations convinced: knows which principals have open streams to which agents, and pushes a fresh token for
 * each, on a session made with the agent's newest certificate, so that open streams outlive tokens and certificates. On
 * this very node the same is done by authenticating anew.
 */
import { describeError } from '../../core/index.js';
import type { Clock, Logger, Timer } from '../../core/index.js';
import { workloadTokenHeader } from '../../spiffe/index.js';
import type { SpiffeId, WorkloadTokenSource } from '../../spiffe/index.js';
import type { TunnelClient } from '../../tunnel/index.js';
import type { LocalAuthenticator } from './local-authenticator.js';

export interface OpenStream {
  readonly principal: SpiffeId;
  readonly peer: SpiffeId;
}

interface Tracked {
  /** Resolves whether it succeeded; never rejects. */
  readonly renew: () => Promise<boolean>;
  streams: number;
}

/** Well below half the lifetime of any token in use, so that one lost push does not cost a stream. */
const retryMs = 5_000;

export class EvidenceRefresher {
  readonly #client: TunnelClient;
  readonly #tokens: WorkloadTokenSource;
  readonly #local: LocalAuthenticator;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Those whose last renewal failed. */
  readonly #overdue = new Set<Tracked>();
  #retry: Timer | undefined;
  #destroyed = false;
  readonly #tracked = new Map<string, Tracked>();
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: {
    readonly client: TunnelClient;
    readonly tokens: WorkloadTokenSource;
    readonly local: LocalAuthenticator;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#client = options.client;
    this.#tokens = options.tokens;
    this.#local = options.local;
    this.#clock = options.clock;
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
   * Renews the evidence of everything open. What fails is logged and tried again every 5 s; if it never succeeds, the
   * stream ends when its old evidence does. Calls that come during a run cause one more.
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
      await this.#renew([...this.#tracked.values()]);
    }
  }

  /** Stops trying again. */
  destroy(): void {
    this.#destroyed = true;
    this.#retry?.cancel();
    this.#overdue.clear();
  }

  async #renew(entries: readonly Tracked[]): Promise<void> {
    await Promise.all(
      entries.map(async (entry) => {
        this.#overdue.delete(entry);
        if (!(await entry.renew()) && entry.streams > 0) this.#overdue.add(entry);
      }),
    );
    this.#retry?.cancel();
    if (this.#overdue.size === 0 || this.#destroyed) return;
    this.#retry = this.#clock.timer(retryMs, () => void this.#renew([...this.#overdue]));
  }

  #count(key: string, renew: () => Promise<boolean>): () => void {
    const entry = this.#tracked.get(key) ?? { renew, streams: 0 };
    entry.streams += 1;
    this.#tracked.set(key, entry);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      entry.streams -= 1;
      if (entry.streams > 0) return;
      this.#tracked.delete(key);
      this.#overdue.delete(entry);
    };
  }

  async #renewLocal(principal: SpiffeId): Promise<boolean> {
    const outcome = await this.#local.authenticate(principal);
    return 'refused' in outcome ? this.#failed(principal, 'this node', outcome.detail) : true;
  }

  async #push({ peer, principal }: OpenStream): Promise<boolean> {
    try {
      const results = await this.#client.announce({
        peer,
        headers: async ({ keyThumbprint }) => ({
          [workloadTokenHeader]: await this.#tokens.token(principal, { keyThumbprint }),
        }),
      });
      // One session that took it is enough: evidence is kept per principal and node, not per session.
      if (results.some(({ status }) => status === 204)) return true;
      const why = results.map(({ status, error }) => (error === undefined ? String(status) : describeError(error)));
      return this.#failed(principal, peer.toString(), why.join('; ') || 'no session');
    } catch (error) {
      return this.#failed(principal, peer.toString(), describeError(error));
    }
  }

  #failed(principal: SpiffeId, peer: string, error: string): false {
    this.#logger.warn('workload evidence not renewed', { peer, principal: principal.toString(), error });
    return false;
  }
}
