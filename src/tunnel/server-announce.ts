import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { describeError, notify } from '../core/index.js';
import { endWith } from './answer.js';
import type { Refusal } from './answer.js';
import { TunnelError } from './errors.js';
import { receivedHeaders } from './headers.js';
import type { TunnelHeaders } from './headers.js';
import type { TunnelPeer } from './peer.js';
import type { SessionCore } from './session.js';
import type { SessionContext, TunnelSession } from './session-info.js';

/** Fresh evidence (a new token) for streams that are open. */
export interface TunnelAnnouncement {
  readonly headers: TunnelHeaders;
  readonly peer: TunnelPeer;
  readonly session: TunnelSession;
}

/** What judges fresh evidence: its status, 200 to 599, is the answer. */
export type AnnounceHandler = (announcement: TunnelAnnouncement) => number | Promise<number>;

/** Takes one evidence request of a session. */
export function serveAnnouncement(
  context: SessionContext,
  session: SessionCore,
  stream: ServerHttp2Stream,
  block: IncomingHttpHeaders,
  onAnnounce: AnnounceHandler,
  refusal: Refusal,
): void {
  const release = session.reserve();
  const deadline = context.clock.timer(context.limits.answerTimeoutMs, () =>
    answer(503, new TunnelError('TUNNEL_HANDLER_FAILED', 'onAnnounce did not answer in time')),
  );
  let answered = false;
  const answer = (status: number, error?: TunnelError): void => {
    if (answered) return;
    answered = true;
    deadline.cancel();
    const valid = Number.isInteger(status) && status >= 200 && status <= 599;
    const sent = valid ? status : 503;
    if (sent >= 300) {
      refusal(sent, error ?? new TunnelError('TUNNEL_REFUSED', `the evidence was refused with ${String(sent)}`));
    } else if (!stream.destroyed && !stream.closed) {
      endWith(stream, sent);
    }
    notify(context.observer, {
      type: 'evidence',
      side: 'server',
      session: session.id,
      peer: session.peer.spiffeId.toString(),
      status: sent,
    });
  };
  stream.once('close', () => {
    deadline.cancel();
    release();
  });
  const run = async (): Promise<void> => {
    try {
      answer(await onAnnounce(Object.freeze({ headers: receivedHeaders(block), peer: session.peer, session })));
    } catch (error) {
      const failure = new TunnelError('TUNNEL_HANDLER_FAILED', `onAnnounce failed: ${describeError(error)}`, {
        cause: error,
      });
      context.logger.error('tunnel handler failed', { session: session.id, reason: failure.message });
      answer(503, failure);
    }
  };
  void run();
}
