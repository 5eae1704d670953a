/**
 * Servers of Node's own that authenticate every client before they see it. What is returned is a plain `tls.Server`,
 * `https.Server` or HTTP/2 server: its timeouts, limits and `close()` are its own.
 *
 * Node offers no hook between the end of a handshake and the first byte of a protocol other than the event that hands the
 * socket on. So the one thing done to the server is that this event does not happen for a socket that is refused.
 */
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as tls from 'node:tls';
import type { RequestListener } from 'node:http';
import { MtlsIdentity } from './identity.js';
import type { MtlsOptions } from './options.js';
import { tlsIdentityOptions } from './tls-options.js';

/** What is not the caller's to choose: it would turn authentication off, or bring resumption or old protocols back. */
type Decided =
  | keyof tls.SecureContextOptions
  | 'requestCert'
  | 'rejectUnauthorized'
  | 'SNICallback'
  | 'pskCallback'
  | 'pskIdentityHint'
  | 'secureContext'
  | 'handshakeTimeout'
  | 'sessionTimeout'
  | 'ticketKeys';

export type MtlsTlsServerOptions = Omit<tls.TlsOptions, Decided>;
export type MtlsHttpsServerOptions = Omit<https.ServerOptions, Decided>;
/** HTTP/1.1 is not spoken beside it: make two servers. */
export type MtlsHttp2ServerOptions = Omit<http2.SecureServerOptions, Decided | 'ALPNProtocols' | 'allowHTTP1'>;

/**
 * A `tls.Server`. `onConnection` gets sockets whose client was verified and is welcome; `mtlsPeer(socket)` says who it is.
 *
 * Each handshake presents the SVID of that moment. Open connections go on through renewals of either end; one is ended
 * when its peer's certificate ends, or when it does not verify against a new bundle. Refusals go to `observer`.
 */
export function createMtlsServer(
  options: MtlsOptions,
  onConnection: (socket: tls.TLSSocket) => void,
  serverOptions: MtlsTlsServerOptions = {},
): tls.Server {
  const identity = new MtlsIdentity(options, 'server');
  return guard(tls.createServer({ ...serverOptions, ...decided(identity) }, onConnection), identity);
}

/** An `https.Server`, in the way of `createMtlsServer`: `mtlsPeer(request.socket)` says who asks. */
export function createMtlsHttpsServer(
  options: MtlsOptions,
  onRequest: RequestListener,
  serverOptions: MtlsHttpsServerOptions = {},
): https.Server {
  const identity = new MtlsIdentity(options, 'server');
  return guard(https.createServer({ ...serverOptions, ...decided(identity) }, onRequest), identity);
}

/** An HTTP/2 server, in the way of `createMtlsServer`: `mtlsPeer(request.socket)` or `mtlsPeer(stream.session.socket)`. */
export function createMtlsHttp2Server(
  options: MtlsOptions,
  onRequest?: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void,
  serverOptions: MtlsHttp2ServerOptions = {},
): http2.Http2SecureServer {
  const identity = new MtlsIdentity(options, 'server');
  const settings = { ...serverOptions, ...decided(identity), ALPNProtocols: ['h2'], allowHTTP1: false };
  return guard(http2.createSecureServer(settings, onRequest), identity);
}

function decided(identity: MtlsIdentity): tls.TlsOptions {
  const { svid, bundle, handshakeTimeoutMs } = identity.options;
  return {
    ...tlsIdentityOptions(svid.current, bundle.current),
    requestCert: true,
    // The check is ours, in `guard`, from the DER; Node's would judge by other rules.
    rejectUnauthorized: false,
    handshakeTimeout: handshakeTimeoutMs,
  };
}

function guard<Server extends tls.Server>(server: Server, identity: MtlsIdentity): Server {
  const { svid, bundle } = identity.options;
  let presented = { svid: svid.current, bundle: bundle.current };
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: readonly unknown[]) => boolean;
  const guarded = (event: string | symbol, ...args: readonly unknown[]): boolean => {
    if (event === 'connection' && (presented.svid !== svid.current || presented.bundle !== bundle.current)) {
      presented = { svid: svid.current, bundle: bundle.current };
      server.setSecureContext(tlsIdentityOptions(presented.svid, presented.bundle));
    }
    if (event !== 'secureConnection') return emit(event, ...args);
    try {
      identity.admit(args[0] as tls.TLSSocket, presented.svid);
    } catch {
      // Reported to the observer, with its code.
      return true;
    }
    return emit(event, ...args);
  };
  server.emit = guarded as Server['emit'];
  return server;
}
