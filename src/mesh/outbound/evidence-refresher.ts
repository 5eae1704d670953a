/**
 * Keeps the far end convinced: knows which principals have open streams to which agents, and pushes a fresh token for
 * each, on a session made with the agent's newest certificate, so that open streams outlive tokens and certificates.
 */
import { describeError } from '../../core/index.js';
import type { Logger, SocketAddress } from '../../core/index.js';
import { workloadTokenHeader } from '../../spiffe/index.js';
import type { SpiffeId, WorkloadTokenSource } from '../../spiffe/index.js';
import type { TunnelClient } from '../../tunnel/index.js';

export interface OpenStream {
  readonly principal: SpiffeId;
  readonly peer: SpiffeId;
  readonly address: SocketAddress;
}

interface Tracked extends OpenStream {
  streams: number;
}

export class EvidenceRefresher {
  readonly #client: TunnelClient;
  readonly #tokens: WorkloadTokenSource;
  readonly #logger: Logger;
  readonly #tracked = new Map<string, Tracked>();

  constructor(options: {
    readonly client: TunnelClient;
    readonly tokens: WorkloadTokenSource;
    readonly logger: Logger;
  }) {
    this.#client = options.client;
    this.#tokens = options.tokens;
    this.#logger = options.logger;
  }

  /** A stream was opened; call the result when it ended. */
  track(stream: OpenStream): () => void {
    const key = `${stream.principal.toString()} ${stream.peer.toString()}`;
    const entry = this.#tracked.get(key) ?? { ...stream, streams: 0 };
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

  /** Pushes evidence for everything open. A failure is logged: the stream then ends when its old evidence does. */
  async refresh(): Promise<void> {
    await Promise.all([...this.#tracked.values()].map((entry) => this.#push(entry)));
  }

  async #push(entry: OpenStream): Promise<void> {
    try {
      await this.#client.announce({
        peer: entry.peer,
        headers: async ({ keyThumbprint }) => ({
          [workloadTokenHeader]: await this.#tokens.token(entry.principal, { keyThumbprint }),
        }),
      });
    } catch (error) {
      this.#logger.warn('workload evidence not renewed', {
        peer: entry.peer.toString(),
        principal: entry.principal.toString(),
        error: describeError(error),
      });
    }
  }
}
