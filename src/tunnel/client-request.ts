import { constants } from 'node:http2';
import type { ClientHttp2Stream, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { describeError } from '../core/index.js';
import { TunnelError } from './errors.js';
import { receivedHeaders } from './headers.js';
import type { TunnelHeaders } from './headers.js';
import type { ClientSession } from './client-session.js';
import type { SessionContext } from './session-info.js';
import { cancelStream } from './tunnel-stream.js';

export interface Answer {
  readonly stream: ClientHttp2Stream;
  readonly status: number;
  readonly headers: TunnelHeaders;
}

/**
 * Sends one request and waits for the header block of its answer.
 *
 * Rejects with `TUNNEL_SESSION_FAILED` when the session ended or would not take it (nothing was answered, so the caller may
 * try another session), `TUNNEL_STREAM_RESET`, `TUNNEL_RESPONSE_TIMEOUT`, or the signal's reason; the stream is reset in all
 * these cases.
 */
export function request(
  context: SessionContext,
  session: ClientSession,
  headers: OutgoingHttpHeaders,
  options: { readonly endStream: boolean; readonly signal?: AbortSignal | undefined },
): Promise<Answer> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    let stream: ClientHttp2Stream;
    try {
      if (session.http2.type === undefined) throw new Error('no session');
      stream = session.http2.request(headers, {
        endStream: options.endStream,
      });
    } catch (error) {
      reject(
        new TunnelError('TUNNEL_SESSION_FAILED', `the session took no request: ${describeError(error)}`, {
          cause: error,
        }),
      );
      return;
    }
    let cause: unknown;
    const { responseTimeoutMs } = context.limits;
    const timer = context.clock.timer(responseTimeoutMs, () =>
      fail(new TunnelError('TUNNEL_RESPONSE_TIMEOUT', `no answer within ${String(responseTimeoutMs)} ms`)),
    );
    const settle = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      stream.off('close', onClose);
    };
    const fail = (error: Error): void => {
      settle();
      cancelStream(stream);
      reject(error);
    };
    const onAbort = (): void => fail(signal?.reason as Error);
    const onClose = (): void => {
      const why: unknown = cause ?? session.closed.reason;
      // Node answers a stream beyond its limit with one or the other, depending on its version; neither was processed.
      const beyondLimit =
        stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || stream.rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM;
      const lost = session.draining || beyondLimit;
      const detail = why === undefined ? '' : `: ${describeError(why)}`;
      fail(
        new TunnelError(
          lost ? 'TUNNEL_SESSION_FAILED' : 'TUNNEL_STREAM_RESET',
          `the stream ended before its answer (HTTP/2 code ${String(stream.rstCode)})${detail}`,
          { cause: why },
        ),
      );
    };
    stream.on('error', (error) => {
      cause = error;
    });
    stream.once('close', onClose);
    stream.once('response', (block: IncomingHttpHeaders) => {
      settle();
      resolve({ stream, status: Number(block[':status']), headers: receivedHeaders(block) });
    });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}
