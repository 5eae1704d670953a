import type { Http2Session } from 'node:http2';
import { constants } from 'node:http2';

/** GOAWAY, after which open streams run to their end and the session ends with the last of them. */
export function closeGracefully(session: Http2Session): void {
  if (!session.closed && !session.destroyed) session.close();
}

/**
 * The same for a server with open streams. It cannot know which new ones are on their way, so it first says GOAWAY with the
 * highest stream id, and closes when a PING has come back (RFC 9113 section 6.8); the client's own answering GOAWAY usually
 * ends it sooner.
 *
 * Only while a stream is open: Node stops reading a session that has said GOAWAY and has none, so the PING would never be
 * seen to come back.
 */
export function announceGoaway(session: Http2Session): void {
  if (session.closed || session.destroyed) return;
  try {
    session.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1);
    session.ping(() => closeGracefully(session));
  } catch {
    closeGracefully(session);
  }
}
