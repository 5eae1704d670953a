import { randomBytes } from 'node:crypto';
import { chmod, open } from 'node:fs/promises';
import * as net from 'node:net';
import { join } from 'node:path';

/**
 * Shows that a process lives, to processes that cannot see it: those of other PID namespaces, as the container that takes
 * the place of one that was killed. A Unix socket in the directory is connected to while its process lives, and refuses when
 * that is gone, however it went; the kernel sees to that, and a stopped process still counts as living.
 */
export interface LockPresence {
  /** File name of the socket. */
  readonly name: string;
  close(): Promise<void>;
}

/** Whether `name` is a file name as `showPresence` gives them, and no path. */
export function isPresenceName(name: unknown): name is string {
  return typeof name === 'string' && /^lock\.[0-9a-f]{16}\.sock$/.test(name);
}

/** `undefined` where the directory's file system takes no sockets. */
export async function showPresence(directory: string): Promise<LockPresence | undefined> {
  const name = `lock.${randomBytes(8).toString('hex')}.sock`;
  const place = await shortPath(directory);
  const server = net.createServer((socket) => socket.on('error', () => undefined).destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: join(place.path, name), exclusive: true }, resolve);
    });
    await chmod(join(place.path, name), 0o600);
  } catch {
    server.close();
    await place.close();
    return undefined;
  }
  // A failed accept changes nothing: the connection was made.
  server.on('error', () => undefined).unref();
  return {
    name,
    close: async () => {
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await place.close();
    },
  };
}

/** Whether the process that shows `name` lives; `undefined` when that cannot be told. */
export async function isPresent(directory: string, name: unknown): Promise<boolean | undefined> {
  if (!isPresenceName(name)) return undefined;
  const place = await shortPath(directory);
  try {
    return await new Promise<boolean | undefined>((resolve) => {
      const socket = net.connect({ path: join(place.path, name) }, () => {
        resolve(true);
        socket.destroy();
      });
      socket.once('error', ({ code }: NodeJS.ErrnoException) => {
        // A socket that is missing was removed by somebody, and says nothing of its process.
        resolve(code === 'ECONNREFUSED' ? false : undefined);
      });
    });
  } finally {
    await place.close();
  }
}

/** The address of a Unix socket has room for some hundred bytes; on Linux any directory has a short name while it is open. */
async function shortPath(directory: string): Promise<{ readonly path: string; close(): Promise<void> }> {
  if (process.platform !== 'linux') return { path: directory, close: () => Promise.resolve() };
  const handle = await open(directory);
  return { path: `/proc/self/fd/${String(handle.fd)}`, close: () => handle.close() };
}
