/** HTTP through a virtual IP: a server for each node, and a client whose every request is a new connection. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from 'meshwright/testing';

const serveScript = fileURLToPath(new URL('./serve.mjs', import.meta.url));
const requestScript = fileURLToPath(new URL('./request.mjs', import.meta.url));
export const servePort = 8080;

export async function startServing(namespace: NetNamespace, name: string): Promise<ChildProcess> {
  const child = namespace.spawn(process.execPath, [serveScript, name, String(servePort)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

export interface Requested {
  /** How many each server answered. */
  readonly answered: Readonly<Record<string, number>>;
  /** What went wrong, one entry for each request. */
  readonly failures: readonly string[];
  /** Of the slowest that was answered. */
  readonly longestMs: number;
  /** How many of those that were answered took longer than half a second. */
  readonly waited: number;
}

export interface Load {
  readonly atOnce: number;
  /** How long the server takes for each. */
  readonly answeredAfterMs: number;
}

export class RequestingClient {
  readonly #child: ChildProcess;
  #output = '';

  constructor(namespace: NetNamespace, ip: string, { atOnce, answeredAfterMs }: Load) {
    const options = [ip, servePort, atOnce, answeredAfterMs].map(String);
    this.#child = namespace.spawn(process.execPath, [requestScript, ...options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
  }

  async end(): Promise<Requested> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await ended;
    return JSON.parse(this.#output) as Requested;
  }
}
