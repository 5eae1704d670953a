/** Clients of Node's own HTTP modules, and of undici, on connections whose server was verified before any byte is sent. */
import type { ClientRequestArgs } from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { dial } from './dial.js';
import type { MtlsTarget } from './dial.js';
import { MtlsIdentity } from './identity.js';
import type { MtlsOptions } from './options.js';

export type MtlsAgentOptions = Pick<
  https.AgentOptions,
  'keepAlive' | 'keepAliveMsecs' | 'maxSockets' | 'maxTotalSockets' | 'maxFreeSockets' | 'scheduling'
>;

/**
 * An agent for `https.request`. A connection carries requests for as long as the SVID that it was made with is the current
 * one; the request under way when it is renewed ends undisturbed, and the next takes a new connection.
 *
 * TLS options of a request (`rejectUnauthorized`, `ca`, `servername`, `checkServerIdentity`, …) have no effect.
 */
export class MtlsAgent extends https.Agent {
  readonly #identity: MtlsIdentity;

  constructor(options: MtlsOptions, agentOptions: MtlsAgentOptions = {}) {
    super({ keepAlive: true, ...agentOptions });
    this.#identity = new MtlsIdentity(options, 'client', () => this.#dropIdle());
    // Before Node's own listener, which would give the socket to the next request in the queue: that one gets a new one.
    this.prependListener('free', (socket: TLSSocket) => {
      if (!this.#identity.live.isCurrent(socket)) socket.destroy();
    });
  }

  override createConnection(
    options: ClientRequestArgs & { readonly path?: string | null | undefined },
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const answer = callback as ((error: Error | null, stream?: Duplex) => void) | undefined;
    const target: MtlsTarget =
      typeof options.socketPath === 'string'
        ? { path: options.socketPath }
        : { host: options.host ?? undefined, port: Number(options.port ?? 443) };
    dial(this.#identity, target).then(
      (socket) => answer?.(null, socket),
      (error: unknown) => answer?.(error as Error),
    );
  }

  #dropIdle(): void {
    for (const socket of Object.values(this.freeSockets).flatMap((sockets) => sockets ?? [])) {
      if (!this.#identity.live.isCurrent(socket as TLSSocket)) socket.destroy();
    }
  }
}

export type MtlsHttp2SessionOptions = Omit<http2.ClientSessionOptions, 'createConnection' | 'protocol'>;

/**
 * An HTTP/2 session with a verified server. It lives until the server's certificate ends, or ours by the server's
 * judgement: after a renewal, open another for new requests and `close()` this one, which lets those under way finish.
 * Rejects as `connectMtls` does.
 */
export async function connectMtlsHttp2(
  options: MtlsOptions,
  authority: string | URL,
  sessionOptions: MtlsHttp2SessionOptions & { readonly signal?: AbortSignal | undefined } = {},
): Promise<http2.ClientHttp2Session> {
  const { signal, ...settings } = sessionOptions;
  const { hostname, port } = new URL(authority);
  const target = { host: bareHost(hostname), port: Number(port || 443), alpnProtocols: ['h2'], signal };
  const socket = await dial(new MtlsIdentity(options, 'client'), target);
  return http2.connect(authority, { ...settings, createConnection: () => socket });
}

/** What undici tells a connector, as far as it matters here. */
export interface MtlsConnectRequest {
  readonly hostname: string;
  readonly port: string;
}

type MtlsConnectCallback = (...result: [error: null, socket: TLSSocket] | [error: Error, socket: null]) => void;

/**
 * The `connect` option of undici's `Agent`, `Pool` and `Client`: `new Agent({ connect: mtlsConnector(identity) })`.
 *
 * A plain function and not an agent, so that this module does not load undici, whose version is the application's choice.
 * Every connection is TLS, whatever the scheme of the URL. undici closes idle connections by its own `keepAliveTimeout`
 * (4 s), after which the next has the renewed SVID; for connections that are never idle give its `clientTtl`, well under
 * the fifth of an SVID's lifetime that is left after renewal.
 */
export function mtlsConnector(
  options: MtlsOptions,
): (request: MtlsConnectRequest, callback: MtlsConnectCallback) => void {
  const identity = new MtlsIdentity(options, 'client');
  return ({ hostname, port }, callback) => {
    dial(identity, { host: bareHost(hostname), port: Number(port || 443), alpnProtocols: [] }).then(
      (socket) => callback(null, socket),
      (error: unknown) => callback(error as Error, null),
    );
  };
}

/** An IPv6 address of a URL without its brackets. */
function bareHost(hostname: string): string {
  const inner = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(inner) === 6 ? inner : hostname;
}
