import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import type { Transport } from '@connectrpc/connect';
import type { Clock, Timer } from '../core/index.js';
import { SnapshotError } from './errors.js';
import { SnapshotService, WatchRequestSchema } from './gen/snapshot_pb.js';
import type { Offer, WatchRequest, WatchResponse } from './gen/snapshot_pb.js';
import { IncomingSnapshot } from './incoming-snapshot.js';
import { RequestQueue } from './request-queue.js';
import type { ApplyOutcome } from './snapshot-subscriber.js';

export interface ControllerStreamOptions {
  readonly transport: Transport;
  readonly maxBytes: number;
  readonly silenceTimeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly appliedHash: () => string;
  /** Called for every message that came. */
  readonly onAlive: () => void;
  readonly apply: (value: () => Promise<unknown>, hash: string) => Promise<ApplyOutcome>;
}

/** The agent's end of one stream. */
export class ControllerStream {
  readonly #options: ControllerStreamOptions;
  readonly #requests = new RequestQueue<WatchRequest>();
  readonly #abort = new AbortController();
  #silence: Timer | undefined;
  #incoming: IncomingSnapshot | undefined;

  constructor(options: ControllerStreamOptions) {
    this.#options = options;
  }

  /** Resolves when the controller ends the stream; rejects with the reason when it breaks. */
  async run(): Promise<void> {
    const { signal, transport } = this.#options;
    const onAbort = (): void => this.#abort.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      this.#awaitNext();
      this.#send({ case: 'hello', value: { appliedHash: this.#options.appliedHash() } });
      const client = createClient(SnapshotService, transport);
      for await (const { message } of client.watch(this.#requests, { signal: this.#abort.signal })) {
        this.#silence?.cancel();
        this.#options.onAlive();
        await this.#take(message);
        if (signal.aborted) return;
        this.#awaitNext();
      }
    } catch (error) {
      // The reason of our own abort says more than "aborted".
      throw this.#abort.signal.aborted ? this.#abort.signal.reason : error;
    } finally {
      this.#silence?.cancel();
      this.#requests.close();
      signal.removeEventListener('abort', onAbort);
      this.#abort.abort(new Error('the stream has ended'));
    }
  }

  async #take(message: WatchResponse['message']): Promise<void> {
    if (this.#incoming !== undefined && message.case !== 'chunk')
      throw outOfStep(`${String(message.case)} between chunks`);
    switch (message.case) {
      case 'offer':
        this.#incoming = new IncomingSnapshot(readOffer(message.value), this.#options.maxBytes);
        return;
      case 'chunk': {
        if (this.#incoming === undefined) throw outOfStep('a chunk of nothing');
        this.#incoming.add(message.value);
        if (this.#incoming.complete) await this.#applyIncoming(this.#incoming);
        return;
      }
      case 'heartbeat':
        this.#send({ case: 'heartbeat', value: {} });
        return;
      case undefined:
        // A message of a newer controller; what matters to us comes in messages we know.
        return;
    }
  }

  async #applyIncoming(incoming: IncomingSnapshot): Promise<void> {
    this.#incoming = undefined;
    const { sequence, hash } = incoming.offer;
    const outcome = await this.#options.apply(() => incoming.value(), hash);
    if (outcome.accepted) {
      this.#send({ case: 'ack', value: { sequence, hash } });
      await outcome.afterwards();
    } else {
      this.#send({ case: 'nack', value: { sequence, hash, code: outcome.code, reason: outcome.reason } });
    }
  }

  #send(message: RequestMessage): void {
    this.#requests.push(create(WatchRequestSchema, { message }));
  }

  #awaitNext(): void {
    const { clock, silenceTimeoutMs } = this.#options;
    this.#silence = clock.timer(silenceTimeoutMs, () => {
      const message = `expected at least a heartbeat within ${String(silenceTimeoutMs)} ms, got nothing`;
      this.#abort.abort(new SnapshotError('SNAPSHOT_STREAM_SILENT', message));
    });
  }
}

type RequestMessage =
  | { readonly case: 'hello'; readonly value: { readonly appliedHash: string } }
  | { readonly case: 'ack'; readonly value: { readonly sequence: bigint; readonly hash: string } }
  | {
      readonly case: 'nack';
      readonly value: {
        readonly sequence: bigint;
        readonly hash: string;
        readonly code: string;
        readonly reason: string;
      };
    }
  | { readonly case: 'heartbeat'; readonly value: Readonly<Record<string, never>> };

function readOffer({
  sequence,
  hash,
  encodedBytes,
  contentBytes,
}: Offer): ConstructorParameters<typeof IncomingSnapshot>[0] {
  if (!/^[0-9a-f]{64}$/.test(hash) || encodedBytes === 0n) throw outOfStep('an offer without hash or content');
  const bounded = (bytes: bigint): number => Number(bytes > 2n ** 52n ? 2n ** 52n : bytes);
  return { sequence, hash, encodedBytes: bounded(encodedBytes), contentBytes: bounded(contentBytes) };
}

function outOfStep(what: string): SnapshotError {
  return new SnapshotError('SNAPSHOT_STREAM_REFUSED', `expected an offer followed by its chunks, got ${what}`);
}
