import { Duplex } from 'node:stream';
import type { Clock, Timer } from '../core/index.js';
import { resetSocket } from '../internal/reset-socket.js';

export interface ByteStreamOptions {
  readonly clock: Clock;
  /** After our side has ended: how long to read on and discard before the rest is cut, in ms. */
  readonly lingerMs: number;
  /** Told of every chunk that arrives, before it is read. */
  readonly onReceived?: ((bytes: number) => void) | undefined;
}

/**
 * What HTTP code gets instead of a connection's own stream.
 *
 * Node's HTTP code writes strings; written to an `Http2Stream` they can carry freed memory to the peer, so here every
 * chunk becomes a `Buffer` first. It also pulls bytes only while not held (the parser gets no further requests than we
 * are ready for), counts them, closes with a linger, and can let go of the inner stream untouched (for an upgrade).
 */
export class ByteStream extends Duplex {
  readonly #inner: Duplex;
  readonly #options: ByteStreamOptions;
  #wanted = false;
  #held = false;
  #discarding = false;
  #released = false;
  #innerEnded = false;
  #linger: Timer | undefined;
  #lastBytes = Buffer.alloc(0);
  receivedBytes = 0;
  sentBytes = 0;

  constructor(inner: Duplex, options: ByteStreamOptions) {
    super({ allowHalfOpen: true, decodeStrings: true, autoDestroy: true });
    this.#inner = inner;
    this.#options = options;
    inner.on('readable', this.#pump);
    inner.on('end', this.#onInnerEnd);
    inner.on('error', this.#onInnerError);
    inner.on('close', this.#onInnerClose);
    if (inner.destroyed) this.#onInnerClose();
  }

  /** Whether the bytes read so far end with an empty line, as they do right after a request without a body. */
  get endsWithEmptyLine(): boolean {
    return this.#lastBytes.equals(emptyLine);
  }

  /** Stops feeding the reader; what has been fed stays fed. */
  hold(): void {
    this.#held = true;
  }

  /** Undoes `hold`. */
  resumeFeeding(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#pump();
  }

  /** Lets go of the inner stream, in its present state, and returns it. This stream is of no more use; destroy it. */
  release(): Duplex {
    this.#released = true;
    this.#unlisten();
    // Until the new owner listens, an error must not become an uncaught one.
    this.#inner.on('error', () => undefined);
    return this.#inner;
  }

  /** Ends our side, then reads and discards for a while, so that a peer that is still sending gets to see our last bytes. */
  destroySoon(): void {
    if (this.#discarding || this.destroyed) return;
    this.#discarding = true;
    if (!this.writableEnded) this.end();
    this.#linger = this.#options.clock.timer(this.#options.lingerMs, () => this.destroy());
    this.#pump();
    if (this.#innerEnded) this.#destroyWhenFlushed();
  }

  /** Ends the connection so that the peer cannot take what it has for the whole. */
  reset(error: Error): void {
    if (this.destroyed) return;
    if (!this.#released) resetSocket(this.#inner, error);
    this.destroy(error);
  }

  /** As `net.Socket.resetAndDestroy`. */
  resetAndDestroy(): this {
    this.reset(Object.assign(new Error('the connection was reset from this side'), { code: 'ECONNRESET' }));
    return this;
  }

  override _read(): void {
    this.#wanted = true;
    this.#pump();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#send(chunk, callback);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#released || this.#inner.destroyed) callback();
    else this.#inner.end(() => callback());
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#linger?.cancel();
    if (!this.#released) {
      this.#inner.off('readable', this.#pump);
      this.#inner.destroy();
    }
    callback(error);
  }

  readonly #pump = (): void => {
    while (!this.#released && !this.destroyed) {
      if (!this.#discarding && (this.#held || !this.#wanted)) return;
      const chunk = this.#inner.read() as Buffer | null;
      if (chunk === null) return;
      this.receivedBytes += chunk.length;
      if (this.#discarding) continue;
      this.#lastBytes = Buffer.from(Buffer.concat([this.#lastBytes, chunk.subarray(-4)]).subarray(-4));
      this.#options.onReceived?.(chunk.length);
      if (!this.push(chunk)) this.#wanted = false;
    }
  };

  readonly #onInnerEnd = (): void => {
    this.#innerEnded = true;
    if (this.#discarding) this.#destroyWhenFlushed();
    else this.push(null);
  };

  readonly #onInnerError = (error: Error): void => {
    this.destroy(error);
  };

  readonly #onInnerClose = (): void => {
    if (this.destroyed) return;
    if (this.#discarding || (this.#innerEnded && this.writableFinished)) this.destroy();
    else this.destroy(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' }));
  };

  #send(bytes: Buffer, callback: (error?: Error | null) => void): void {
    if (this.#released || this.#inner.destroyed) {
      callback(Object.assign(new Error('the connection is closed'), { code: 'EPIPE' }));
      return;
    }
    this.sentBytes += bytes.length;
    if (this.#inner.write(bytes)) {
      callback();
      return;
    }
    const inner = this.#inner;
    const done = (): void => {
      inner.off('drain', done);
      inner.off('close', done);
      callback();
    };
    inner.on('drain', done);
    inner.on('close', done);
  }

  #destroyWhenFlushed(): void {
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  #unlisten(): void {
    this.#inner.off('readable', this.#pump);
    this.#inner.off('end', this.#onInnerEnd);
    this.#inner.off('error', this.#onInnerError);
    this.#inner.off('close', this.#onInnerClose);
  }
}

const emptyLine = Buffer.from('\r\n\r\n', 'latin1');
