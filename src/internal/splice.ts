import type { Duplex } from 'node:stream';
import { resetSocket } from './reset-socket.js';

export type SpliceOutcome = 'eof' | 'reset' | 'error' | 'aborted';

export interface SpliceResult {
  readonly aToBBytes: number;
  readonly bToABytes: number;
  /** `eof`: both directions were ended by their senders. Anything else: something may be missing at either end. */
  readonly outcome: SpliceOutcome;
  /** What ended it, unless `eof`. */
  readonly error?: Error | undefined;
}

export interface SpliceOptions {
  /** Cuts both streams. */
  readonly signal?: AbortSignal | undefined;
  /** Called for each chunk passed on; be quick. */
  readonly onBytes?: ((direction: 'aToB' | 'bToA', bytes: number) => void) | undefined;
}

/**
 * Copies both ways until both directions have ended. An end is passed on while the other direction goes on (half-close);
 * a slow receiver holds back its sender. When either stream is cut off, both are destroyed, sockets with a TCP reset, so
 * that a truncation never reaches the far end as a clean end. Resolves when it is over; never rejects.
 *
 * Give sockets `allowHalfOpen: true`, and nobody else may read or write the two streams any more.
 */
export function splice(a: Duplex, b: Duplex, options: SpliceOptions = {}): Promise<SpliceResult> {
  const { signal, onBytes } = options;
  return new Promise((resolve) => {
    let open = 2;
    let settled = false;
    let aToBBytes = 0;
    let bToABytes = 0;
    const finish = (outcome: SpliceOutcome, error?: Error): void => {
      if (settled) return;
      settled = true;
      signal?.removeEventListener('abort', onAbort);
      if (outcome !== 'eof') {
        resetSocket(a);
        resetSocket(b);
      }
      resolve({ aToBBytes, bToABytes, outcome, error });
    };
    const onAbort = (): void => finish('aborted', toError(signal?.reason));
    const onFailure = (error: Error): void => finish(isReset(error) ? 'reset' : 'error', error);
    const onDirectionDone = (): void => {
      open -= 1;
      if (open === 0) finish('eof');
    };
    if (signal?.aborted === true) {
      // The streams are ours from here on: their errors must not be unhandled.
      a.on('error', ignore);
      b.on('error', ignore);
      onAbort();
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    copy(a, b, onDirectionDone, onFailure, (bytes) => {
      aToBBytes += bytes;
      onBytes?.('aToB', bytes);
    });
    copy(b, a, onDirectionDone, onFailure, (bytes) => {
      bToABytes += bytes;
      onBytes?.('bToA', bytes);
    });
  });
}

/** One direction: `onDone` once `from` has ended and `to` has flushed everything; otherwise `onFailure`. */
function copy(
  from: Duplex,
  to: Duplex,
  onDone: () => void,
  onFailure: (error: Error) => void,
  count: (bytes: number) => void,
): void {
  const resume = (): void => void from.resume();
  const end = (): void => {
    if (to.writableFinished) onDone();
    else if (to.writableLength === 0) to.end();
    // Ended when flushed: between its end and its flush a socket can no longer be reset.
    else to.write(nothing, () => void to.end());
  };
  from.on('error', onFailure);
  from.on('close', () => {
    if (!from.readableEnded) onFailure(new CutOff('a stream was closed before its end'));
    // Finished in that direction, but what the other side still had to say can no longer be delivered.
    else if (!from.writableFinished) onFailure(new CutOff('a stream was closed while it was being written'));
  });
  to.once('finish', onDone);
  to.on('drain', resume);
  from.on('end', end);
  from.on('data', (chunk: Buffer) => {
    count(chunk.length);
    if (!to.write(chunk)) from.pause();
  });
  if (from.destroyed) onFailure(from.errored ?? new CutOff('a stream was closed already'));
  else if (from.readableEnded) end();
  // A stream that is paused by hand stays so when a listener comes.
  else from.resume();
}

const nothing = Buffer.alloc(0);

/** The stream ended without an error and without an end. */
class CutOff extends Error {
  readonly code = 'ERR_STREAM_PREMATURE_CLOSE';
}

const resetCodes: ReadonlySet<unknown> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_DESTROYED',
  'TUNNEL_STREAM_RESET',
]);

function isReset(error: Error): boolean {
  return resetCodes.has((error as { code?: unknown }).code);
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function ignore(): void {
  // See where it is used.
}
