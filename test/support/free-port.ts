/**
 * Ports for programs that must be told one before they bind it, such as a server that is started, killed and started again.
 * A port that the kernel chose and that was closed again is one that it gives to the next who asks: another test file, or the
 * client that dials it in the meantime. So these are below the range from which it chooses (32768 and up).
 */
import { createServer } from 'node:net';

const [first, count] = [20_000, 12_000];
const given = new Set<number>();

/** A port that nobody listens on, on any address, and that no other call gets. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * count);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
  });
}
