import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Cuts a stream off so that the far end cannot take what it has for the whole: a TCP reset where there is a TCP connection
 * (a FIN would say that all had been sent), the stream's own `resetAndDestroy()` where it has one, else `destroy(error)`.
 * Safe in every state of the stream.
 *
 * libuv refuses to reset a socket between its `end()` and its `finish`, and Node then never closes it: the descriptor
 * stays open for the life of the process, and the process cannot end. Such a socket is destroyed instead. Whoever must not
 * have a truncation look like an end calls `end()` only once everything written before it is flushed.
 */
export function resetSocket(stream: Duplex, error?: Error): void {
  const { resetAndDestroy } = stream as { readonly resetAndDestroy?: () => unknown };
  if (typeof resetAndDestroy === 'function' && !stream.destroyed && !(stream instanceof Socket && isUnready(stream))) {
    try {
      resetAndDestroy.call(stream);
    } catch {
      // Sockets other than TCP have the method too, and throw.
    }
  }
  if (!stream.destroyed) stream.destroy(error);
}

/** Not yet connected, or shutting down. */
function isUnready(socket: Socket): boolean {
  return socket.connecting || (socket.writableEnded && !socket.writableFinished);
}
