import type { Duplex } from 'node:stream';
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { resetSocket } from '../internal/reset-socket.js';
import { detectProtocol, http1Refusal } from '../traffic/index.js';

/**
 * Tells an application that it was refused, in its own language: an HTTP/1 client gets the status and
 * `connection: close`; everyone else gets a reset, and so does a client that says nothing within `timeoutMs`
 * (default 2,000). No reason is given.
 */
export async function answerRefusal(
  socket: Duplex,
  status: number,
  options: { readonly clock?: Clock | undefined; readonly timeoutMs?: number | undefined } = {},
): Promise<void> {
  const clock = options.clock ?? systemClock;
  try {
    const { head } = await detectProtocol(socket, { timeoutMs: options.timeoutMs ?? 2_000, clock });
    const answer = http1Refusal(head, status);
    if (answer === undefined) {
      resetSocket(socket);
      return;
    }
    socket.end(answer);
    // Read on for a moment: closing with unread bytes would reset the connection and lose the answer.
    socket.resume();
    await closedWithin(socket, clock, 1_000);
    socket.destroy();
  } catch {
    resetSocket(socket);
  }
}

function closedWithin(stream: Duplex, clock: Clock, timeoutMs: number): Promise<void> {
  if (stream.closed) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = clock.timer(timeoutMs, resolve);
    stream.once('close', () => {
      timer.cancel();
      resolve();
    });
  });
}
