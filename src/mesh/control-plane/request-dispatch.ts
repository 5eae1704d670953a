import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { Code, ConnectError, createConnectRouter, createContextValues } from '@connectrpc/connect';
import type { ConnectRouter } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import { describeError } from '../../core/index.js';
import type { Clock, Logger } from '../../core/index.js';
import type { ControlPlaneLimits } from './limits.js';
import { peerKey } from './peer.js';
import type { ControlPlanePeer } from './peer.js';
import type { ServerConnection } from './server-connection.js';

export interface DispatchOptions {
  readonly routes: readonly ((router: ConnectRouter) => void)[];
  /** Paths that need no client certificate; all others do. */
  readonly openMethods: readonly string[];
  /** Paths that a peer on the deny list may still call; no others. */
  readonly deniedMethods: readonly string[];
  readonly limits: ControlPlaneLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}

const unauthenticatedMessageBytes = 64 * 1024;

/**
 * Finds the gRPC method of a request and runs it. connect's own adapter would do for this, but not keep callers without
 * a certificate to the methods that are open to them, and it reports failures to the console.
 */
export class RequestDispatch {
  readonly #options: DispatchOptions;
  readonly #methods: ReadonlyMap<string, UniversalHandler>;
  readonly #openMethods: ReadonlyMap<string, UniversalHandler>;
  readonly #deniedMethods: ReadonlyMap<string, UniversalHandler>;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#methods = methodsOf(options, options.limits.maxMessageBytes);
    const bounded = methodsOf(options, Math.min(unauthenticatedMessageBytes, options.limits.maxMessageBytes));
    this.#openMethods = new Map([...bounded].filter(([path]) => options.openMethods.includes(path)));
    this.#deniedMethods = new Map([...bounded].filter(([path]) => options.deniedMethods.includes(path)));
  }

  handle(
    request: Http2ServerRequest,
    response: Http2ServerResponse,
    { peer, denied }: Pick<ServerConnection, 'peer' | 'denied'>,
  ): void {
    const certified = denied === undefined ? this.#methods : this.#deniedMethods;
    const method = (peer === undefined ? this.#openMethods : certified).get(request.url);
    if (method === undefined) {
      if (!this.#methods.has(request.url)) refuse(response, Code.Unimplemented, 'there is no such method');
      else if (peer === undefined) refuse(response, Code.Unauthenticated, 'this call needs a client certificate');
      else refuse(response, Code.PermissionDenied, 'this identity is on the deny list');
      return;
    }
    const cancelTimeout = this.#limitBody(request, method);
    this.#run(request, response, method, peer)
      .catch((error: unknown) => {
        // What a handler refuses has been answered by now; this is a client that went away, or a broken stream.
        this.#options.logger.debug('control-plane call ended early', {
          path: request.url,
          reason: describeError(error),
        });
        if (!response.stream.destroyed) response.stream.close();
      })
      .finally(cancelTimeout);
  }

  async #run(
    request: Http2ServerRequest,
    response: Http2ServerResponse,
    method: UniversalHandler,
    peer: ControlPlanePeer | undefined,
  ): Promise<void> {
    const values = createContextValues().set(peerKey, peer);
    const answer = await method(universalRequestFromNodeRequest(request, response, undefined, values));
    await universalResponseToNodeResponse(answer, response);
  }

  /** A request with one message must arrive whole in time; one that streams takes as long as it likes. */
  #limitBody(request: Http2ServerRequest, { method }: UniversalHandler): () => void {
    if (method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming') return () => undefined;
    const timer = this.#options.clock.timer(this.#options.limits.requestTimeoutMs, () => request.stream.close());
    request.once('end', () => timer.cancel());
    return () => timer.cancel();
  }
}

function methodsOf({ routes }: DispatchOptions, readMaxBytes: number): ReadonlyMap<string, UniversalHandler> {
  // gRPC alone, uncompressed: a compressed message is a bomb to guard against, and these are small.
  const router = createConnectRouter({
    grpc: true,
    grpcWeb: false,
    connect: false,
    acceptCompression: [],
    readMaxBytes,
  });
  for (const route of routes) route(router);
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** A gRPC status in a response without a body ("trailers-only"). */
function refuse(response: Http2ServerResponse, code: Code, message: string): void {
  const error = new ConnectError(message, code);
  response.writeHead(200, {
    'content-type': 'application/grpc',
    'grpc-status': String(error.code),
    'grpc-message': encodeURIComponent(error.rawMessage),
  });
  response.end();
}
