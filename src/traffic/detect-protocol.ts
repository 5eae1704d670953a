import type { Duplex } from 'node:stream';
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { TrafficError } from './errors.js';
import { classifyHead } from './classify-head.js';

/**
 * What the first bytes of a connection are:
 * - `http1`: a request line of HTTP/1.x (RFC 9112 section 3);
 * - `http2`: the connection preface of HTTP/2 in the clear (RFC 9113 section 3.4);
 * - `tls`: a TLS ClientHello (RFC 8446 section 5.1);
 * - `opaque`: bytes that can be none of these;
 * - `silent`: no byte came in time, as with protocols in which the server speaks first;
 * - `closed`: the stream ended or failed before its first byte.
 */
export type DetectedProtocol = 'http1' | 'http2' | 'tls' | 'opaque' | 'silent' | 'closed';

export interface ProtocolDetection {
  readonly protocol: DetectedProtocol;
  /** A copy of the bytes seen so far; they are still in the stream. */
  readonly head: Buffer;
}

export interface DetectProtocolOptions {
  /** How long to wait for bytes that decide, in ms. 1 to 600,000. */
  readonly timeoutMs: number;
  /** Decide at the latest with this many bytes. Default 8192, 64 to 65,536; never more than the stream buffers. */
  readonly maxBytes?: number | undefined;
  readonly clock?: Clock | undefined;
  /** Ends the wait; the promise rejects with the signal's reason, the bytes stay in the stream. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits for the first bytes of `stream` and says what they are. Nothing is consumed: every byte is still in the stream
 * when the promise settles, which is paused then (attach a reader, or `pipe`).
 *
 * It decides as soon as it can: a first message that cannot become HTTP/1, HTTP/2 or TLS is `opaque` at its first
 * telling byte, however short. It never waits longer than `timeoutMs`: without any byte the answer is `silent`; with
 * some, `http1` if a method and a space were there, else `opaque`. Bytes that are there by then are looked at, also when this
 * process was too busy to read them in time.
 *
 * Not guaranteed: that the connection goes on to be valid. `http1` promises a request line's beginning, no more.
 * Rejects with `TRAFFIC_OPTION_INVALID`, or the reason of `signal`.
 *
 * @example
 * const { protocol } = await detectProtocol(socket, { timeoutMs: 200 });
 */
export async function detectProtocol(stream: Duplex, options: DetectProtocolOptions): Promise<ProtocolDetection> {
  const { timeoutMs, signal, clock = systemClock } = options;
  checkBound('timeoutMs', timeoutMs, 1, 600_000);
  const { maxBytes = 8192 } = options;
  checkBound('maxBytes', maxBytes, 64, 65_536);
  // A stream stops reading at its high-water mark: waiting for more than that would be waiting for the timeout.
  const limitBytes = Math.min(maxBytes, stream.readableHighWaterMark);

  return await new Promise((resolve, reject) => {
    let seen = -1;
    let lastLook: NodeJS.Immediate | undefined;

    const settle = (finish: () => void): void => {
      timer.cancel();
      clearImmediate(lastLook);
      signal?.removeEventListener('abort', onAbort);
      stream.off('readable', onReadable);
      stream.off('end', onClosed);
      stream.off('close', onClosed);
      stream.off('error', onClosed);
      finish();
    };
    const decide = (protocol: DetectedProtocol, head: Buffer): void => settle(() => resolve({ protocol, head }));
    const onAbort = (): void => settle(() => reject(signal?.reason as Error));
    const onClosed = (): void => decide('closed', Buffer.alloc(0));

    const onReadable = (): void => {
      // Giving bytes back fires `readable` again; only new bytes are worth another look.
      if (stream.readableLength === seen && seen > 0) return;
      const head = peek(stream);
      seen = head.length;
      if (seen === 0) return;
      const verdict = classifyHead(head);
      if (verdict.decided) decide(verdict.protocol, head);
      else if (seen >= limitBytes || hasEnded(stream)) decide(verdict.likely, head);
    };
    const onTimeout = (): void => {
      const head = peek(stream);
      if (head.length === 0) decide('silent', head);
      else {
        const verdict = classifyHead(head);
        decide(verdict.decided ? verdict.protocol : verdict.likely, head);
      }
    };

    // Timers go before sockets in a turn of the event loop: one that was late would not see what has come long since.
    const timer = clock.timer(timeoutMs, () => (lastLook = setImmediate(onTimeout)), { keepAlive: true });
    if (signal?.aborted === true) {
      onAbort();
      return;
    }
    if (stream.destroyed || stream.readableEnded) {
      onClosed();
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    stream.on('end', onClosed);
    stream.on('close', onClosed);
    stream.on('error', onClosed);
    stream.on('readable', onReadable);
  });
}

/** All bytes that are buffered, put back in the same turn: a stream that has ended would otherwise emit `end` and refuse them. */
function peek(stream: Duplex): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null)
    chunks.push(chunk);
  const head = Buffer.concat(chunks);
  if (head.length > 0) stream.unshift(head);
  return Buffer.from(head);
}

function hasEnded(stream: Duplex): boolean {
  return (stream as { _readableState?: { ended?: boolean } })._readableState?.ended === true;
}

function checkBound(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new TrafficError(
      'TRAFFIC_OPTION_INVALID',
      `${name} must be a whole number from ${String(least)} to ${String(most)}, got ${String(value)}`,
    );
  }
}
