/**
 * The operator's door: JSON over HTTP on a Unix socket that only its owner may open (0600). Never TCP: whoever may
 * connect may read status and, on a controller, make join tokens.
 */
import { createServer, request } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { lstat, mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { describeError, isMeshwrightError, silentLogger } from '../core/index.js';
import type { Closable, Logger } from '../core/index.js';
import { MeshError } from './errors.js';

/** Takes the JSON body of the call (undefined without one), returns what is sent back as JSON. */
export type AdminHandler = (body: unknown) => unknown;

export interface AdminSocketOptions {
  /** Path of the socket; its directory is made (0700) when missing, a stale socket is replaced. */
  readonly path: string;
  /** Handlers by call name, such as `status`. */
  readonly calls: Readonly<Record<string, AdminHandler>>;
  readonly logger?: Logger | undefined;
}

const maxBodyBytes = 64 * 1024;
const maxAnswerBytes = 64 * 1024 * 1024;

export class AdminSocket implements Closable {
  readonly path: string;
  readonly #server: Server;
  #closed: Promise<void> | undefined;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  /** Binds eagerly. Rejects when something that is not a socket is at `path`, or another process listens there. */
  static async listen(options: AdminSocketOptions): Promise<AdminSocket> {
    const { path } = options;
    const logger = options.logger ?? silentLogger;
    const calls = new Map(Object.entries(options.calls));
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await removeStale(path);
    const server = createServer({ connectionsCheckingInterval: 1_000 }, (incoming, outgoing) => {
      void answer(incoming, outgoing, calls, logger);
    });
    server.headersTimeout = 5_000;
    server.requestTimeout = 10_000;
    server.maxConnections = 64;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // The mode of a socket is the umask's business at bind time, and binding is synchronous: nobody else may ever find
      // it open, and no other file of the process is made under this umask.
      const before = process.umask(0o177);
      try {
        server.listen(path, resolve);
      } finally {
        process.umask(before);
      }
    });
    const { mode } = await lstat(path);
    if ((mode & 0o777) !== 0o600) {
      server.close();
      throw new MeshError('MESH_ADMIN_PATH', `expected mode 0600 at ${path}, got ${(mode & 0o777).toString(8)}`, {
        fields: { path },
      });
    }
    return new AdminSocket(path, server);
  }

  /** Lets calls under way finish; a client that is slow to make one (5 s for the head, 10 s in all) is cut off. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
    });
    return this.#closed;
  }

  destroy(): void {
    void this.close();
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Makes one call to an admin socket and returns its JSON answer.
 * Throws `MESH_ADMIN_UNREACHABLE` when nobody listens there, `MESH_ADMIN_FAILED` when the call was refused or failed: the
 * code that the other side failed with, if it had one, is in the message and in `fields.remoteCode`.
 */
export function callAdmin(
  path: string,
  call: string,
  body?: unknown,
  options: { readonly timeoutMs?: number } = {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: path, path: `/${call}`, method: 'POST', timeout: options.timeoutMs ?? 10_000 },
      (incoming) => {
        readBody(incoming, maxAnswerBytes)
          .then((text) => {
            const answered: unknown = JSON.parse(text);
            if (incoming.statusCode === 200) resolve(answered);
            else throw refusal(call, answered);
          })
          .catch((cause: unknown) => {
            const message = `${call}: ${describeError(cause)}`;
            reject(
              cause instanceof MeshError
                ? cause
                : new MeshError('MESH_ADMIN_FAILED', message, { cause, fields: { call } }),
            );
          });
      },
    );
    outgoing.once('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.once('error', (cause) => {
      reject(
        new MeshError(
          'MESH_ADMIN_UNREACHABLE',
          `expected an agent or controller at ${path}, but ${cause.message}; is it running, and may you open its socket?`,
          { cause, fields: { path } },
        ),
      );
    });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** What the other side answered instead of a result. */
function refusal(call: string, answer: unknown): MeshError {
  const { error, code } = (answer ?? {}) as { readonly error?: unknown; readonly code?: unknown };
  const remoteCode = typeof code === 'string' ? code : undefined;
  const message = `${call}: ${remoteCode === undefined ? '' : `${remoteCode}: `}${String(error)}`;
  return new MeshError('MESH_ADMIN_FAILED', message, { fields: { call, remoteCode } });
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new MeshError('MESH_ADMIN_PATH', `expected no file, or an old socket, at ${path}`, { fields: { path } });
  // Only a refusal proves that nobody listens: one that is slow to answer, or that we may not ask, is alive.
  const answered = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve('CONNECTED');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (answered !== 'ECONNREFUSED' && answered !== 'ENOENT') {
    throw new MeshError('MESH_ADMIN_PATH', `another process already listens at ${path}`, { fields: { path } });
  }
  await rm(path, { force: true });
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  calls: ReadonlyMap<string, AdminHandler>,
  logger: Logger,
): Promise<void> {
  const send = (status: number, value: unknown): void => {
    // First of all, since it may throw: a handler may return what is no JSON.
    const text = JSON.stringify(value ?? null);
    outgoing.writeHead(status, { 'content-type': 'application/json' });
    outgoing.end(text);
  };
  const call = (incoming.url ?? '').slice(1);
  try {
    const handler = calls.get(call);
    if (incoming.method !== 'POST' || handler === undefined) {
      send(404, { error: `expected one of ${[...calls.keys()].join(', ')}` });
      return;
    }
    const text = await readBody(incoming, maxBodyBytes);
    send(200, await handler(text === '' ? undefined : JSON.parse(text)));
  } catch (error) {
    logger.warn('admin call failed', { call, error: describeError(error) });
    send(400, { error: describeError(error), code: isMeshwrightError(error) ? error.code : undefined });
  }
}

async function readBody(stream: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Not destroyed when we stop reading: the refusal still has to be sent.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    const buffer = chunk as Buffer;
    bytes += buffer.length;
    if (bytes > maxBytes) throw new MeshError('MESH_ADMIN_FAILED', `expected at most ${String(maxBytes)} bytes`);
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
