import type { Duplex } from 'node:stream';
import { resetStream } from './byte-stream.js';

export interface UpgradedEnd {
  readonly outcome: 'eof' | 'error';
  readonly error?: Error | undefined;
  /** From the client. */
  readonly receivedBytes: number;
  /** To the client. */
  readonly sentBytes: number;
}

/** Bytes both ways after a 101, with backpressure and half-close, until both sides have ended; a failure of one resets the other. */
export function spliceUpgraded(downstream: Duplex, upstream: Duplex): Promise<UpgradedEnd> {
  return new Promise((resolve) => {
    let receivedBytes = 0;
    let sentBytes = 0;
    let open = 2;
    let settled = false;
    const settle = (outcome: 'eof' | 'error', error?: Error): void => {
      if (settled) return;
      settled = true;
      resolve({ outcome, error, receivedBytes, sentBytes });
    };
    const join = (from: Duplex, to: Duplex, count: (bytes: number) => void): void => {
      from.on('data', (chunk: Buffer) => count(chunk.length));
      from.pipe(to);
      from.on('end', () => {
        open -= 1;
        if (open === 0) settle('eof');
      });
      from.on('error', (error: Error) => {
        resetStream(to, error);
        settle('error', error);
      });
      from.on('close', () => {
        if (from.readableEnded) return;
        const error = new Error('an upgraded connection was closed in its middle');
        resetStream(to, error);
        settle('error', error);
      });
    };
    join(downstream, upstream, (bytes) => (receivedBytes += bytes));
    join(upstream, downstream, (bytes) => (sentBytes += bytes));
  });
}
