import type { Http2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { Duplex, addAbortSignal } from 'node:stream';
import { describeError } from '../core/index.js';
import { TunnelError } from './errors.js';

export type StreamOutcome = 'eof' | 'reset';

const alreadyAborted = AbortSignal.abort();
const bufferedBytes = 256 * 1024;

/**
 * Ends an HTTP/2 stream now, with RST_STREAM(CANCEL) alone on the wire.
 *
 * `close(CANCEL)` would first send an empty DATA frame with END_STREAM, which tells the other end that a cut-off upload
 * is complete; `destroy()` would send NO_ERROR. Being destroyed by an abort is Node's one way to a bare CANCEL.
 */
export function cancelStream(stream: Http2Stream): void {
  if (stream.destroyed) return;
  stream.on('error', () => undefined);
  addAbortSignal(alreadyAborted, stream);
}

/**
 * One end of a tunnelled connection, as a Duplex with half-close.
 *
 * - Only Buffers reach the HTTP/2 stream: strings written to one can leak freed memory in several Node versions.
 * - `end` means that the other end said so. A stream cut off in any other way is destroyed with `TUNNEL_STREAM_RESET`,
 *   even though Node's own stream would emit `end`.
 * - An `error` that nobody listens to is not thrown; `errored` keeps it.
 * - `destroy()` before both directions have ended resets the stream, so a truncation never looks complete.
 */
export class TunnelStream extends Duplex {
  /** Payload bytes so far. */
  receivedBytes = 0;
  sentBytes = 0;
  readonly #stream: Http2Stream;
  readonly #onDone: (outcome: StreamOutcome) => void;
  #remoteEnded = false;
  #localEnded = false;
  #cause: unknown;
  #resume: ((error?: Error | null) => void) | undefined;

  constructor(stream: Http2Stream, onDone: (outcome: StreamOutcome) => void) {
    super({ allowHalfOpen: true, readableHighWaterMark: bufferedBytes, writableHighWaterMark: bufferedBytes });
    this.#stream = stream;
    this.#onDone = onDone;
    // A peer can cut a stream at any moment, so one that nobody listens to yet must not take the process down with it.
    this.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('end', () => this.#remoteEnd());
    stream.on('drain', () => this.#release());
    stream.on('error', (error) => {
      this.#cause = error;
    });
    stream.on('close', () => this.#streamClosed());
    stream.pause();
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (chunk.length === 0) {
      done();
      return;
    }
    if (this.#stream.destroyed) {
      done(this.#resetError());
      return;
    }
    this.sentBytes += chunk.length;
    if (this.#stream.write(chunk)) done();
    else this.#resume = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#stream.destroyed) {
      done(this.#resetError());
      return;
    }
    this.#resume = done;
    this.#stream.end((error?: Error | null) => {
      this.#localEnded = error === undefined || error === null;
      this.#release(this.#localEnded ? undefined : this.#resetError());
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const complete = this.#remoteEnded && this.#localEnded;
    if (!complete) cancelStream(this.#stream);
    this.#release(error ?? (complete ? undefined : this.#resetError()));
    this.#onDone(complete ? 'eof' : 'reset');
    done(error);
  }

  /** As `net.Socket.resetAndDestroy`: here the same as `destroy()`, which resets whatever is not complete. */
  resetAndDestroy(): this {
    return this.destroy();
  }

  #remoteEnd(): void {
    const { closed, rstCode, aborted } = this.#stream;
    // Node emits `end` after a reset too; only the code and `aborted` tell the two apart.
    if (closed && (rstCode !== constants.NGHTTP2_NO_ERROR || aborted)) {
      this.destroy(this.#resetError());
      return;
    }
    this.#remoteEnded = true;
    this.push(null);
  }

  #streamClosed(): void {
    if (this.#remoteEnded && (this.#localEnded || this.#stream.writableFinished)) {
      this.#localEnded = true;
      this.#release();
      return;
    }
    this.destroy(this.#resetError());
  }

  #release(error?: Error): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.(error);
  }

  #resetError(): TunnelError {
    const code = this.#stream.rstCode;
    const why = this.#cause === undefined ? '' : `: ${describeError(this.#cause)}`;
    return new TunnelError(
      'TUNNEL_STREAM_RESET',
      `the tunnel stream was cut off before its end (HTTP/2 code ${String(code)})${why}`,
      {
        cause: this.#cause,
        fields: { code },
      },
    );
  }
}
