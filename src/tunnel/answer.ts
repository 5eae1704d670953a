import { constants } from 'node:http2';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { notify } from '../core/index.js';
import type { TunnelError } from './errors.js';
import type { SessionCore } from './session.js';
import type { SessionContext } from './session-info.js';

/** Refuses one request with a status; the error is for our own log. */
export type Refusal = (status: number, error: TunnelError) => void;

/** HEADERS with END_STREAM and no reason: reasons are for our own log only. */
export function refuseRequest(
  context: SessionContext,
  session: SessionCore,
  stream: ServerHttp2Stream,
  block: IncomingHttpHeaders,
  status: number,
  error: TunnelError,
): void {
  const peer = session.peer.spiffeId.toString();
  const authority = block[':authority']?.slice(0, 320);
  notify(context.observer, {
    type: 'stream-refused',
    side: 'server',
    session: session.id,
    peer,
    authority,
    status,
    reason: error.code,
  });
  context.logger.warn('tunnel request refused', {
    session: session.id,
    peer,
    authority,
    status,
    code: error.code,
    reason: error.message,
  });
  if (stream.destroyed || stream.closed) return;
  endWith(stream, status, status === 405 ? { allow: 'CONNECT' } : {});
}

/** Answers with headers alone, and ends both halves of the stream. */
export function endWith(
  stream: ServerHttp2Stream,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  stream.respond({ ':status': status, ...headers }, { endStream: true });
  // The peer's half may be open still, and full of data that nobody will read. Not in the same turn: Node 22 sends the
  // RST_STREAM before the headers, and the answer is lost.
  setImmediate(() => {
    if (!stream.destroyed) stream.close(constants.NGHTTP2_NO_ERROR);
  });
}
