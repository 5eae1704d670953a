/** What the data-path tests share: policies as the NovaEdge guide writes them, raw sockets, and a logger that keeps its lines. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { LogFields, Logger } from '../../src/core/index.js';

export const policy = (
  name: string,
  service: string,
  action: string,
  rules: unknown[],
  namespace = 'production',
): Record<string, unknown> => ({
  apiVersion: 'novaedge.io/v1alpha1',
  kind: 'ProxyPolicy',
  metadata: { name, namespace },
  spec: {
    type: 'MeshAuthorization',
    targetRef: { kind: 'Service', name: service },
    meshAuthorization: { action, rules },
  },
});

/** Everything a socket says until it is over, and how it ended. */
export function transcript(socket: Socket): Promise<{ readonly text: string; readonly reset: boolean }> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let reset = false;
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => (reset = true));
    socket.once('end', () => socket.end());
    socket.once('close', () => resolve({ text: Buffer.concat(chunks).toString('latin1'), reset }));
  });
}

/** Resolves when the connection is over, by whatever way. */
export const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('end', () => socket.end());
    socket.once('close', () => resolve());
    socket.resume();
  });

/** The next bytes as text. */
export const next = async (socket: Socket): Promise<string> => String((await once(socket, 'data'))[0]);

/** Waits until `holds`, at most ten seconds. */
export async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`not within ten seconds: ${holds.toString()}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

export function recordingLogger(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields });
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return { logger, lines };
}
