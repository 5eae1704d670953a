import type { Socket } from 'node:net';

/**
 * The descriptor under a `net.Socket`. Node has no public way to it; this is the one place that reads `_handle.fd`.
 * Undefined when the socket is closed or Node no longer has it there.
 */
export function socketFd(socket: Socket): number | undefined {
  const handle = (socket as unknown as { _handle?: { fd?: unknown } | null })._handle;
  const fd = handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
