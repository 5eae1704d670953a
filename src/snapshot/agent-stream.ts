import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { describeError } from '../core/index.js';
import type { Clock, Logger, Timer } from '../core/index.js';
import { chunksOf } from './encoded-content.js';
import { WatchResponseSchema } from './gen/snapshot_pb.js';
import type { WatchRequest, WatchResponse } from './gen/snapshot_pb.js';
import type { AttachedNode, OutgoingSnapshot } from './snapshot-publisher.js';

/** Reasons of a refusal are kept up to this length. */
const maxReasonLength = 64 * 1024;

export interface AgentStreamOptions {
  readonly attached: AttachedNode;
  readonly heartbeatMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peer: { readonly notAfter?: Date | undefined };
}

/** The controller's end of one stream. One snapshot is under way at a time: the next goes out after the answer to it. */
export class AgentStream {
  readonly #options: AgentStreamOptions;
  #wake: () => void = () => undefined;
  #dirty = false;
  #greeted = false;
  /** Offered and not answered yet. */
  #awaiting: OutgoingSnapshot | undefined;
  /** Hash of what was answered last, either way: not offered again on this stream. */
  #settledHash = '';
  #heardAtMs: number;
  #ended = false;
  #failure: ConnectError | undefined;

  constructor(options: AgentStreamOptions) {
    this.#options = options;
    this.#heardAtMs = options.clock.monotonicMs();
  }

  /** Ends the stream; `failure` is what the agent is told. */
  end(failure?: ConnectError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#notice();
  }

  async *run(requests: AsyncIterable<WatchRequest>, signal: AbortSignal): AsyncGenerator<WatchResponse> {
    const { attached, clock, heartbeatMs, peer } = this.#options;
    const subscription = attached.outgoing.subscribe(() => this.#notice());
    const onAbort = (): void => this.end();
    signal.addEventListener('abort', onAbort, { once: true });
    const untilExpiryMs = peer.notAfter === undefined ? undefined : peer.notAfter.getTime() - clock.now();
    const expiry =
      untilExpiryMs === undefined
        ? undefined
        : clock.timer(untilExpiryMs, () =>
            this.end(new ConnectError('the certificate has expired', Code.Unauthenticated)),
          );
    void this.#read(requests);
    let heartbeatAtMs = clock.monotonicMs() + heartbeatMs;
    try {
      while (!this.#ended) {
        const next = this.#nextOffer();
        if (next !== undefined) {
          yield* this.#offer(next);
          continue;
        }
        const nowMs = clock.monotonicMs();
        // An agent that is busy applying a snapshot does not answer heartbeats.
        if (nowMs - this.#heardAtMs > (this.#awaiting === undefined ? 3 : 24) * heartbeatMs) {
          this.end(new ConnectError('nothing was heard from the agent', Code.DeadlineExceeded));
        } else if (nowMs >= heartbeatAtMs) {
          heartbeatAtMs = nowMs + heartbeatMs;
          yield create(WatchResponseSchema, { message: { case: 'heartbeat', value: {} } });
        } else {
          await this.#sleep(heartbeatAtMs - nowMs);
        }
      }
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      this.#ended = true;
      expiry?.cancel();
      subscription[Symbol.dispose]();
      signal.removeEventListener('abort', onAbort);
      attached.detach();
    }
  }

  #nextOffer(): OutgoingSnapshot | undefined {
    if (!this.#greeted || this.#awaiting !== undefined) return undefined;
    const newest = this.#options.attached.outgoing.current;
    return newest === undefined || newest.hash === this.#settledHash ? undefined : newest;
  }

  async *#offer(snapshot: OutgoingSnapshot): AsyncGenerator<WatchResponse> {
    this.#awaiting = snapshot;
    const encoded = await snapshot.encoded();
    const { sequence, hash, contentBytes } = snapshot;
    const value = {
      sequence: BigInt(sequence),
      hash,
      encodedBytes: BigInt(encoded.length),
      contentBytes: BigInt(contentBytes),
    };
    yield create(WatchResponseSchema, { message: { case: 'offer', value } });
    for (const chunk of chunksOf(encoded)) {
      if (this.#ended) return;
      yield create(WatchResponseSchema, { message: { case: 'chunk', value: chunk } });
    }
    // Sending took what it took; the agent's silence counts from here.
    this.#heardAtMs = this.#options.clock.monotonicMs();
  }

  async #read(requests: AsyncIterable<WatchRequest>): Promise<void> {
    try {
      for await (const { message } of requests) {
        if (this.#ended) return;
        this.#heardAtMs = this.#options.clock.monotonicMs();
        this.#take(message);
        this.#notice();
      }
      this.end();
    } catch (error) {
      if (!this.#ended) this.#options.logger.debug('agent stream broke', { reason: describeError(error) });
      this.end(error instanceof ConnectError ? error : new ConnectError(describeError(error), Code.InvalidArgument));
    }
  }

  #take(message: WatchRequest['message']): void {
    switch (message.case) {
      case 'hello':
        if (this.#greeted) throw new ConnectError('expected one hello, got two', Code.InvalidArgument);
        this.#greet(message.value.appliedHash);
        return;
      case 'ack': {
        const snapshot = this.#answerTo(message.value.hash);
        this.#options.logger.info('snapshot applied', { sequence: snapshot.sequence, hash: snapshot.hash });
        this.#options.attached.applied(snapshot);
        return;
      }
      case 'nack': {
        const snapshot = this.#answerTo(message.value.hash);
        const code = message.value.code.slice(0, 100);
        const reason = message.value.reason.slice(0, maxReasonLength);
        this.#options.logger.error('snapshot refused by agent', {
          sequence: snapshot.sequence,
          hash: snapshot.hash,
          code,
          reason,
        });
        this.#options.attached.rejected(snapshot, code, reason);
        return;
      }
      case 'heartbeat':
        return;
      case undefined:
        throw new ConnectError('expected hello, ack, nack or heartbeat, got an empty message', Code.InvalidArgument);
    }
  }

  #greet(appliedHash: string): void {
    this.#greeted = true;
    const newest = this.#options.attached.outgoing.current;
    if (newest === undefined || newest.hash !== appliedHash) return;
    this.#settledHash = newest.hash;
    this.#options.attached.serves(newest);
  }

  #answerTo(hash: string): OutgoingSnapshot {
    const snapshot = this.#awaiting;
    if (snapshot === undefined || snapshot.hash !== hash) {
      throw new ConnectError('expected an answer to the snapshot that was offered', Code.InvalidArgument);
    }
    this.#awaiting = undefined;
    this.#settledHash = hash;
    return snapshot;
  }

  #notice(): void {
    this.#dirty = true;
    this.#wake();
  }

  /** Waits for something to happen, at most `delayMs`. What happened before the call counts too. */
  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      this.#wake = () => {
        this.#dirty = false;
        this.#wake = () => undefined;
        timer?.cancel();
        resolve();
      };
      if (this.#dirty) this.#wake();
      else timer = this.#options.clock.timer(delayMs, () => this.#wake());
    });
  }
}
