/** An HTTP server of a node, for clients of a virtual IP. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from 'meshwright/testing';

const serveScript = fileURLToPath(new URL('./serve.mjs', import.meta.url));
export const servePort = 8080;

export async function startServing(namespace: NetNamespace, name: string): Promise<ChildProcess> {
  const child = namespace.spawn(process.execPath, [serveScript, name, String(servePort)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}
