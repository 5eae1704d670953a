import type { Http2Session } from 'node:http2';
import { constants } from 'node:http2';
import type { TunnelSide } from './events.js';

/**
 * Ends a session to new streams, leaving open ones alone.
 *
 * A server cannot know which streams are on their way, so it first says GOAWAY with the highest stream id and closes when
 * a PING has come back (RFC 9113 section 6.8); the client's own answering GOAWAY usually ends it sooner.
 */
export function sayGoaway(session: Http2Session, side: TunnelSide): void {
  if (session.closed || session.destroyed) return;
  const close = (): void => {
    if (!session.closed && !session.destroyed) session.close();
  };
  if (side === 'client') {
    close();
    return;
  }
  try {
    session.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1);
    session.ping(close);
  } catch {
    close();
  }
}
